//! Trials that fail or are stopped early.

use super::jobs::jobs;
use super::{study, tune};
use crate::main_job::run::Sandbox;
use crate::main_job::running::Running;

#[test]
fn a_failed_trial_is_recorded_with_its_reason_and_the_study_goes_on() {
    let sandbox = Sandbox::with_pictures();
    let options =
        "--space learning-rate=0.001,1e30,0.01 --optimizer sgd --freeze false --max-jobs 3";
    let ended = tune(&sandbox, "study", options).succeeded();
    let jobs = jobs(&sandbox, "study");
    let statuses: Vec<&str> = jobs
        .iter()
        .map(|job| job["TrainingJobStatus"].as_str())
        .collect();
    assert_eq!(statuses, ["Completed", "Completed", "Failed"]);
    let failed = &jobs[2];
    assert_eq!(failed["learning-rate"], "1e30");
    assert!(failed["FailureReason"].contains("diverged"), "{failed:?}");
    assert!(
        ended.stderr.contains("failed: the training loss"),
        "{}",
        ended.stderr
    );
    assert!(sandbox.text("study/tune.html").contains("diverged"));
}

#[test]
fn a_trial_that_is_killed_costs_one_trial() {
    let sandbox = Sandbox::with_pictures();
    let options = "--freeze false --image-size 64 --epochs 20 --max-jobs 2";
    let mut running = Running::start(study(&sandbox, "study", options));
    assert!(running.wait_for("trial 1/2"));
    let children = format!("/proc/{0}/task/{0}/children", running.id());
    let child = loop {
        let children = std::fs::read_to_string(&children).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            break child.to_string();
        }
    };
    let kill = std::process::Command::new("sh")
        .args(["-c", &format!("kill -KILL {child}")])
        .status();
    assert!(kill.unwrap().success());
    let ended = running.end().succeeded();
    assert!(
        ended
            .stderr
            .contains("killed (SIGKILL), most likely because memory ran out"),
        "{}",
        ended.stderr
    );
    let jobs = jobs(&sandbox, "study");
    assert_eq!(jobs[0]["TrainingJobStatus"], "Completed");
    assert_eq!(jobs[1]["TrainingJobStatus"], "Failed");
}

#[test]
fn a_mistake_that_all_trials_share_ends_the_study_and_costs_nothing() {
    let sandbox = Sandbox::with_pictures();
    let (bad, good) = (
        sandbox.path("weights.onnx"),
        crate::main_job::run::narrow_resnet18(),
    );
    std::fs::write(&bad, "no ONNX").unwrap();
    let options = format!("--weights {}", bad.display());
    let ended = tune(&sandbox, "study", &options);
    ended.failed(
        1,
        &[
            "every trial failed with the same words",
            "weights.onnx",
            "same command again",
        ],
    );
    assert_eq!(sandbox.list("study/trials"), ["001", "002"]);
    std::fs::copy(good, &bad).unwrap();
    tune(&sandbox, "study", &options).succeeded();
    let jobs = jobs(&sandbox, "study");
    assert!(
        jobs.len() == 4
            && jobs
                .iter()
                .all(|job| job["TrainingJobStatus"] == "Completed"),
        "{jobs:?}"
    );
}

#[test]
fn trials_that_fall_behind_are_stopped_with_the_value_they_reached() {
    let sandbox = Sandbox::with_pictures();
    let space = "--space learning-rate=0.03,0.01,0.003,0.001,1e-6,1e-7,1e-8 --max-jobs 7 --epochs 6 --objective validation:loss";
    for (study, options) in [
        ("asha", "--strategy hyperband"),
        ("median", "--strategy grid --early-stopping auto"),
    ] {
        tune(&sandbox, study, &format!("{space} {options}")).succeeded();
        let jobs = jobs(&sandbox, study);
        let stopped: Vec<_> = jobs
            .iter()
            .filter(|job| job["TrainingJobStatus"] == "Stopped")
            .collect();
        assert!(!stopped.is_empty(), "{study}: {jobs:?}");
        assert_eq!(jobs[0]["TrainingJobStatus"], "Completed", "{study}");
        for job in stopped {
            let trial =
                job["TrainingJobName"].replace(&format!("{study}-"), &format!("{study}/trials/"));
            let losses = sandbox.column(&trial, "valid_loss");
            let value: f64 = job["FinalObjectiveValue"].parse().unwrap();
            let place = losses.iter().position(|loss| *loss == value);
            assert!(
                place.is_some_and(|epoch| epoch < 5),
                "{value} in {losses:?}"
            );
            if study == "asha" {
                assert!([0, 2].contains(&place.unwrap()), "{place:?}");
            }
        }
    }
}
