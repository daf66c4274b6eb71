use super::*;
use crate::profiler::{Event, Facts, Phase, Sample};

/// 400 moments of which each is what `at` says: loads of the CPU, its waiting, of the GPU and its memory.
fn machine(at: impl Fn(usize) -> [f64; 4]) -> Profile {
    let mut profile = Profile::default();
    for moment in 0..400 {
        let names = [
            ("cpu", "cpu0", "CPUUtilization"),
            ("cpu", "cpu0", "I/OWaitPercentage"),
            ("gpu", "gpu0", "GPUUtilization"),
            ("gpu", "gpu0", "GPUMemoryUtilization"),
        ];
        for ((kind, name, dimension), value) in names.into_iter().zip(at(moment)) {
            profile.samples.push(Sample {
                kind: kind.into(),
                name: name.into(),
                dimension: dimension.into(),
                value,
                time: moment as f64 * 0.5,
            });
        }
    }
    profile
}

fn steps(seconds: impl Fn(u64) -> f64, count: u64) -> Profile {
    let events = (0..count).map(|step| Event {
        phase: Phase::Train,
        start: 100.0 + step as f64,
        seconds: seconds(step),
        step,
    });
    Profile {
        events: events.collect(),
        started: 99.0,
        ..Default::default()
    }
}

/// The rules that fire.
fn fired(profile: &Profile) -> Vec<String> {
    let reports = evaluate(profile).into_iter();
    reports
        .filter(|report| report.triggered)
        .map(|report| report.rule)
        .collect()
}

#[test]
fn a_busy_gpu_is_left_alone() {
    assert_eq!(fired(&machine(|_| [60.0, 0.0, 95.0, 80.0])), [""; 0]);
}

#[test]
fn each_trouble_of_a_machine_fires_its_rule() {
    let low = machine(|_| [95.0, 0.0, 40.0, 80.0]);
    assert_eq!(fired(&low), ["LowGPUUtilization"]);
    let fits = machine(|moment| [60.0, 0.0, if moment % 5 == 0 { 0.0 } else { 100.0 }, 80.0]);
    assert_eq!(fired(&fits), ["LowGPUUtilization"]);
    let growing = machine(|moment| [60.0, 0.0, 95.0, 10.0 + moment as f64 * 0.2]);
    assert_eq!(fired(&growing), ["GPUMemoryIncrease"]);
    let cpu = machine(|_| [99.0, 0.0, 5.0, 80.0]);
    assert_eq!(fired(&cpu), ["LowGPUUtilization", "CPUBottleneck"]);
    let disk = machine(|_| [20.0, 70.0, 5.0, 80.0]);
    assert_eq!(fired(&disk), ["LowGPUUtilization", "IOBottleneck"]);
    let empty = machine(|_| [20.0, 0.0, 30.0, 10.0]);
    assert_eq!(fired(&empty), ["LowGPUUtilization", "BatchSize"]);
}

#[test]
fn the_start_of_a_run_is_not_judged() {
    let slow_start = machine(|moment| [60.0, 0.0, if moment < 190 { 0.0 } else { 95.0 }, 80.0]);
    assert_eq!(fired(&slow_start), [""; 0]);
}

#[test]
fn gpus_are_compared_with_each_other() {
    let two = |second: f64| {
        let mut profile = machine(|_| [60.0, 0.0, 95.0, 80.0]);
        let others: Vec<Sample> = profile
            .samples
            .iter()
            .filter(|s| s.kind == "gpu")
            .map(|s| Sample {
                name: "gpu1".into(),
                value: second,
                ..s.clone()
            })
            .collect();
        profile.samples.extend(others);
        profile
    };
    let report = |profile: &Profile| evaluate(profile).remove(5);
    assert_eq!(report(&two(94.0)).rule, "LoadBalancing");
    assert!(!report(&two(94.0)).triggered && report(&two(3.0)).triggered);
    assert!(
        report(&machine(|_| [0.0; 4]))
            .finding
            .contains("does not apply")
    );
}

#[test]
fn steps_that_stand_out() {
    // One step in twenty takes ten times as long.
    let uneven = steps(|step| if step % 20 == 7 { 1.0 } else { 0.1 }, 400);
    assert_eq!(fired(&uneven), ["StepOutlier"]);
    let report = &evaluate(&uneven)[6];
    assert_eq!((report.violations, report.datapoints), (20, 400));
    assert_eq!(report.details["step_details"]["outliers"][0], 7);
    assert_eq!(fired(&steps(|_| 0.1, 400)), [""; 0]);
    assert!(evaluate(&steps(|_| 0.1, 50))[6].finding.contains("too few"));
}

#[test]
fn a_slow_start_and_too_few_or_too_many_threads() {
    let mut late = steps(|_| 0.1, 10);
    late.started = 100.0 - 21.0 * 60.0;
    assert_eq!(fired(&late), ["MaxInitializationTime"]);
    for (workers, fires) in [(2, true), (8, false), (16, false), (17, true)] {
        let profile = Profile {
            facts: Some(Facts {
                workers,
                cores: 8,
                ..Default::default()
            }),
            ..steps(|_| 0.1, 10)
        };
        assert_eq!(!fired(&profile).is_empty(), fires, "{workers} threads");
    }
}

#[test]
fn reports_have_amazons_keys() {
    let dir = tempfile::tempdir().unwrap();
    write_reports(dir.path(), &evaluate(&machine(|_| [20.0, 0.0, 30.0, 10.0]))).unwrap();
    let folder = dir.path().join("profiler-reports");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 9);
    let text = std::fs::read_to_string(folder.join("BatchSize.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "RuleTriggered",
            "Violations",
            "Details",
            "Datapoints",
            "RuleParameters"
        ]
    );
    assert_eq!(
        (&report["RuleTriggered"], &report["Violations"]),
        (&1.into(), &1.into())
    );
    assert!(
        report["RuleParameters"]
            .as_str()
            .unwrap()
            .starts_with("cpu_threshold_p95:70\n")
    );
}
