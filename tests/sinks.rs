//! What other people's readers make of the sinks' output.
//!
//! Each test needs Python and says so where it is missing; `SAGEMAKER_BURN_PYTHON` names another interpreter than `python3`.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use sagemaker_burn::sinks::{
    CsvSink, EpochMetrics, Event, MetricLineSink, RunStarted, Sink, StepMetrics, TensorBoardSink,
    TestMetrics, metric_definitions,
};

const STEPS_PER_EPOCH: usize = 4;

fn epoch(epoch: usize) -> EpochMetrics {
    EpochMetrics {
        epoch,
        epochs: 3,
        global_step: epoch * STEPS_PER_EPOCH,
        learning_rate: 1e-5,
        train_loss: 0.912,
        train_accuracy: 0.771,
        valid_loss: 1.0 / epoch as f64,
        valid_accuracy: 0.783,
        valid_top_k: Some((5, 0.9375)),
        train_images_per_second: 52.1,
        valid_images_per_second: 151.0,
        seconds: 61.25,
        peak_memory_bytes: Some(1_234_567_890),
    }
}

fn step(global_step: usize) -> StepMetrics {
    StepMetrics {
        epoch: (global_step - 1) / STEPS_PER_EPOCH + 1,
        epochs: 3,
        step: (global_step - 1) % STEPS_PER_EPOCH + 1,
        steps_per_epoch: STEPS_PER_EPOCH,
        global_step,
        loss: Some(1.0 / global_step as f64),
        learning_rate: 1e-5,
        images_per_second: 52.1,
    }
}

fn test_metrics() -> TestMetrics {
    TestMetrics {
        loss: 0.75,
        accuracy: 0.8,
        top_k: Some((5, 0.95)),
        images: 120,
        seconds: 2.0,
    }
}

/// A run from `first_epoch` to `last_epoch`, without an end.
fn unfinished_run(first_epoch: usize, last_epoch: usize) -> Vec<Event> {
    let steps_before = (first_epoch - 1) * STEPS_PER_EPOCH;
    let mut events = vec![Event::RunStarted(RunStarted {
        config: serde_json::json!({"epochs": 3}),
        classes: vec!["ant".into(), "bee".into()],
        counts: vec![("train".into(), 32)],
        epochs: 3,
        first_epoch,
        global_step: steps_before,
        history: (1..first_epoch).map(epoch).collect(),
    })];
    for number in first_epoch..=last_epoch {
        let steps = (number - 1) * STEPS_PER_EPOCH + 1..=number * STEPS_PER_EPOCH;
        events.extend(steps.map(|global_step| Event::Step(step(global_step))));
        events.push(Event::EpochEnded(epoch(number)));
    }
    events
}

/// Runs a Python program; `None` where Python or one of `modules` is missing, with a line that says so.
fn python(modules: &[&str], program: &str, arguments: &[&Path]) -> Option<Output> {
    let python = std::env::var("SAGEMAKER_BURN_PYTHON").unwrap_or_else(|_| "python3".into());
    for module in modules {
        let found = Command::new(&python)
            .args(["-c", &format!("import {module}")])
            .output();
        if !found.is_ok_and(|output| output.status.success()) {
            println!("skipped: {python} cannot import {module}");
            return None;
        }
    }
    Some(
        Command::new(python)
            .arg("-c")
            .arg(program)
            .args(arguments)
            .output()
            .expect("Python was there a moment ago"),
    )
}

#[test]
fn python_finds_each_metric_exactly_once_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut lines = MetricLineSink::to(fs::File::create(&log).unwrap());
    for event in [
        Event::EpochEnded(epoch(1)),
        Event::TestEnded(test_metrics()),
    ] {
        lines.event(&event).unwrap();
    }
    let definitions = folder.path().join("definitions.json");
    fs::write(&definitions, metric_definitions(Some(5)).to_string()).unwrap();
    let program = "
import json, re, sys
log = open(sys.argv[1]).read()
for d in json.load(open(sys.argv[2])):
    found = re.findall(d['Regex'], log)
    print(d['Name'], len(found), float(found[0]))
";
    let Some(output) = python(&["re"], program, &[&log, &definitions]) else {
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(text.lines().count(), 11, "{text}");
    assert!(
        text.lines().all(|line| line.split(' ').nth(1) == Some("1")),
        "{text}"
    );
    assert!(
        text.contains("validation:accuracy 1 0.783") && text.contains("learning_rate 1 1e-05"),
        "{text}"
    );
}

#[test]
fn tensorboard_reads_an_interrupted_and_resumed_run() {
    let folder = tempfile::tempdir().unwrap();
    // Two steps of epoch 2 were taken, then the run began again at epoch 2.
    let mut events = unfinished_run(1, 1);
    events.extend([5, 6].map(|global_step| {
        Event::Step(StepMetrics {
            loss: Some(99.0),
            ..step(global_step)
        })
    }));
    let mut first = TensorBoardSink::new(folder.path());
    events.iter().for_each(|event| first.event(event).unwrap());
    drop(first);
    let mut second = TensorBoardSink::new(folder.path());
    let mut events = unfinished_run(2, 3);
    events.extend([Event::TestEnded(test_metrics()), Event::RunEnded]);
    events.iter().for_each(|event| second.event(event).unwrap());

    let program = "
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
for tag in sorted(events.Tags()['scalars']):
    print(tag, ' '.join(f'{s.step}:{s.value:.4g}' for s in events.Scalars(tag)))
print('text', events.Tags()['tensors'])
";
    let Some(output) = python(&["tensorboard"], program, &[folder.path()]) else {
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let line = |tag: &str| {
        text.lines()
            .find(|line| line.starts_with(&format!("{tag} ")))
            .unwrap_or_default()
    };
    assert_eq!(
        line("batch/loss"),
        "batch/loss 1:1 2:0.5 3:0.3333 4:0.25 5:0.2 6:0.1667 7:0.1429 8:0.125 9:0.1111 10:0.1 11:0.09091 12:0.08333"
    );
    assert_eq!(
        line("validation/loss"),
        "validation/loss 4:1 8:0.5 12:0.3333"
    );
    assert_eq!(line("test/top5"), "test/top5 12:0.95");
    assert_eq!(line("text"), "text ['configuration']");
}

#[test]
fn python_reads_results_csv_of_a_running_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.csv");
    let mut sink = CsvSink::new(&path);
    unfinished_run(1, 2)
        .iter()
        .for_each(|event| sink.event(event).unwrap());
    let program = "
import csv, sys
for row in csv.DictReader(open(sys.argv[1])):
    print(row['epoch'], float(row['learning_rate']), float(row['valid_top_k']), int(row['peak_memory_bytes']))
";
    let Some(output) = python(&["csv"], program, &[&path]) else {
        return;
    };
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "1 1e-05 0.9375 1234567890\n2 1e-05 0.9375 1234567890\n"
    );
}
