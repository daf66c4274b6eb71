//! What the profiler leaves of real runs, and what it says of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use crate::main_job::{
    pictures,
    run::{Sandbox, finish},
    running::Running,
};
use crate::sagemaker::job::Job;

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// The events of a timeline's only file.
fn events(root: &Path) -> Vec<Value> {
    let files = files(&root.join("framework/pevents"));
    assert_eq!(files.len(), 1, "{files:?}");
    serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap()
}

fn named<'a>(events: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    let of_name = move |event: &&Value| event["ph"] == "X" && event["name"] == name;
    events.iter().filter(of_name)
}

#[test]
fn a_run_leaves_a_timeline_samples_and_reports() {
    let sandbox = Sandbox::with_pictures();
    let ended = sandbox
        .train("run", "--freeze false --epochs 3")
        .succeeded();
    assert!(ended.stderr.contains("\n  time: "), "{ended:#?}");
    let root = sandbox.path("run/profiler");
    let events = events(&root);
    let steps: Vec<&Value> = named(&events, "Step:ModeKeys.TRAIN").collect();
    // Eighteen steps, of which very short ones may be left out.
    assert!(!steps.is_empty() && steps.len() <= 18);
    for step in &steps {
        assert!(step["args"]["step_num"].is_string() && step["dur"].as_u64().unwrap() > 0);
    }
    for phase in [
        "Forward",
        "Backward",
        "Optimizer",
        "DataIterator",
        "Step:ModeKeys.EVAL",
        "Checkpoint",
    ] {
        assert!(named(&events, phase).next().is_some(), "{phase}");
    }
    // What is within a step takes no longer than the step.
    let sum = |name| {
        named(&events, name)
            .map(|event| event["dur"].as_u64().unwrap())
            .sum::<u64>()
    };
    let inside = sum("Forward") + sum("Backward") + sum("Optimizer");
    assert!(inside <= sum("Step:ModeKeys.TRAIN"), "{inside}");
    for file in files(&root.join("system")) {
        for line in fs::read_to_string(file).unwrap().lines() {
            let sample: Value = serde_json::from_str(line).unwrap();
            assert!(
                sample["Value"].is_f64() && sample["NodeId"] == "algo-1",
                "{line}"
            );
        }
    }
    assert_eq!(files(&root.join("profiler-reports")).len(), 9);
    let shown = sandbox.run(&["profile", "run"]).succeeded();
    assert!(shown.stdout.contains("training step") && shown.stdout.contains("StepOutlier"));
    let json = sandbox.run(&["profile", "run", "--json"]).succeeded();
    let summary: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(summary["rules"].as_array().unwrap().len(), 9);
    let report = sandbox.text("run/report.html");
    assert!(report.contains("Where the time went") && report.contains("backward"));
}

#[test]
fn it_can_be_left_out_and_says_where_there_is_nothing() {
    let sandbox = Sandbox::with_pictures();
    let ended = sandbox.train("run", "--profiler false").succeeded();
    assert!(!sandbox.path("run/profiler").exists() && !ended.stderr.contains("  time: "));
    sandbox
        .run(&["profile", "run"])
        .failed(1, &["framework/", "run"]);
}

#[test]
fn features_of_a_frozen_backbone_are_a_phase() {
    let sandbox = Sandbox::with_pictures();
    sandbox
        .train("run", "--freeze true --augmentation none")
        .succeeded();
    assert!(
        named(&events(&sandbox.path("run/profiler")), "FeatureExtraction")
            .next()
            .is_some()
    );
}

#[test]
fn waiting_for_photos_is_told_with_its_remedy() {
    let sandbox = Sandbox::new();
    for split in ["train", "valid"] {
        for (class, colour) in pictures::CLASSES {
            let folder = sandbox.path("data").join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for number in 0..4u32 {
                // Large, and of a kind that takes long to decode.
                let photo = RgbImage::from_fn(1600, 1200, |x, y| {
                    let noise = ((x * 31 + y * 17 + number * 7) % 97) as u8;
                    Rgb(colour.map(|value| value.wrapping_add(noise)))
                });
                photo
                    .save(folder.join(format!("{split}-{number}.jpg")))
                    .unwrap();
            }
        }
    }
    let options = "--freeze false --workers 1 --cache-mb 0 --batch-size 2";
    let ended = sandbox.train("run", options).succeeded();
    let line = ended
        .stderr
        .lines()
        .find(|line| line.starts_with("  time: "))
        .unwrap();
    for part in [
        "training waited",
        "ms each to decode on 1 threads",
        "expected up to",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

const ON: &str = r#"{"ProfilingIntervalInMilliseconds":"100","ProfilingParameters":{"LocalPath":"/opt/ml/output/profiler"}}"#;

#[test]
fn a_job_is_profiled_where_its_configuration_says_so() {
    let job = Job::new();
    finish(job.command(&[])).succeeded();
    assert!(
        !job.at("output/profiler").exists(),
        "nobody asked for files"
    );
    let job = Job::new();
    job.config(
        "profilerconfig.json",
        &serde_json::from_str::<Value>(ON).unwrap(),
    );
    finish(job.command(&[])).succeeded();
    assert!(!events(&job.at("output/profiler")).is_empty());
}

#[test]
fn a_configuration_that_changes_takes_effect_while_the_job_runs() {
    let job = Job::with(
        &pictures::SMALL,
        &[("epochs", "100000"), ("freeze", "false")],
    );
    job.config(
        "profilerconfig.json",
        &serde_json::from_str::<Value>(ON).unwrap(),
    );
    let mut run = Running::start(job.command(&[]));
    assert!(run.wait_for("epoch=2"));
    job.config("profilerconfig.json", &json!({"DisableProfiler": true}));
    assert!(run.line_with("profiler files: off").is_some());
    run.signal("TERM");
    run.end().succeeded();
    assert!(!files(&job.at("output/profiler/system")).is_empty());
}

#[test]
fn a_killed_run_leaves_what_can_be_read() {
    let sandbox = Sandbox::with_pictures();
    let mut run = Running::start(sandbox.training("run", "--freeze false --epochs 100000"));
    assert!(run.wait_for("epoch=2"));
    while files(&sandbox.path("run/profiler/system")).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    run.signal("KILL");
    run.end();
    let shown = sandbox.run(&["profile", "run"]).succeeded();
    assert!(shown.stdout.contains("Dataloader"), "{shown:#?}");
}

/// Amazon's readers, see the debugger's test of the same kind.
const PROGRAM: &str = r#"
import json, sys
out, sys.stdout = sys.stdout, sys.stderr
from smdebug.profiler.algorithm_metrics_reader import LocalAlgorithmMetricsReader
from smdebug.profiler.system_metrics_reader import LocalSystemMetricsReader
seen = []
for reader in (LocalAlgorithmMetricsReader(sys.argv[1]), LocalSystemMetricsReader(sys.argv[1])):
    reader.refresh_event_file_list()
    seen.append(len(reader.get_events(0, 9_000_000_000_000_000)))
json.dump(seen, out)
"#;

#[test]
fn amazons_readers_open_a_real_profile() {
    let Ok(python) = std::env::var("SAGEMAKER_BURN_SMDEBUG_PYTHON") else {
        println!("skipped: SAGEMAKER_BURN_SMDEBUG_PYTHON names no Python with smdebug");
        return;
    };
    let sandbox = Sandbox::with_pictures();
    sandbox
        .train("run", "--freeze false --epochs 12")
        .succeeded();
    let mut reader = Command::new(python);
    reader
        .args(["-c", PROGRAM])
        .arg(sandbox.path("run/profiler"));
    let seen: Vec<usize> = serde_json::from_str(&finish(reader).succeeded().stdout).unwrap();
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}
