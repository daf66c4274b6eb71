//! T5: the printed definitions find exactly one value of each metric and epoch, in Python's dialect and in Rust's.

use std::fs;

use regex::Regex;
use serde_json::Value;

use super::job::Job;
use crate::main_job::run::{Ended, finish, python};

const EPOCHS: usize = 4;

/// The log of a job, both streams as CloudWatch mixes them, and its metric definitions.
fn log_and_definitions(job: &Job) -> (Ended, String, Vec<(String, String)>) {
    job.hyperparameters(&[("epochs", "4"), ("top-k", "2"), ("freeze", "false")]);
    let ended = job.run().succeeded();
    let log = format!("{}{}", ended.stderr, ended.stdout);
    let shown = job
        .sandbox
        .run(&["metric-definitions", "--top-k", "2"])
        .succeeded()
        .stdout;
    fs::write(job.sandbox.path("definitions.json"), &shown).unwrap();
    let definitions: Value = serde_json::from_str(&shown).unwrap();
    let text = |d: &Value, key: &str| d[key].as_str().unwrap().to_owned();
    let definitions = definitions.as_array().unwrap().iter();
    let definitions = definitions
        .map(|d| (text(d, "Name"), text(d, "Regex")))
        .collect();
    (ended, log, definitions)
}

/// How many values a metric should have in the log.
fn expected(name: &str, best_again: bool) -> usize {
    match name {
        _ if name.starts_with("test:") => 1,
        "validation:accuracy" => EPOCHS + usize::from(best_again),
        _ => EPOCHS,
    }
}

#[test]
fn one_value_per_metric_and_epoch() {
    let job = Job::new();
    let (ended, log, definitions) = log_and_definitions(&job);
    let best_again = ended.stdout.contains("best epoch=");
    // The platform takes 20 for a tuning job, names of 255 and expressions of 500 characters.
    assert!(definitions.len() <= 20);
    for (name, regex) in &definitions {
        assert!(name.len() <= 255 && regex.len() <= 500);
        let values: Vec<f64> = Regex::new(regex)
            .unwrap()
            .captures_iter(&log)
            .map(|found| found[1].parse().unwrap())
            .collect();
        assert_eq!(values.len(), expected(name, best_again), "{name} in {log}");
    }
    let program = "import json, re, sys\n\
                   log = open(sys.argv[1]).read()\n\
                   for d in json.load(open(sys.argv[2])):\n\
                   \u{20}   print(d['Name'], len([float(v) for v in re.findall(d['Regex'], log)]))";
    fs::write(job.sandbox.path("log"), &log).unwrap();
    let (log, file) = (
        job.sandbox.path("log"),
        job.sandbox.path("definitions.json"),
    );
    let Some(counts) = python(&["re"], program, &[&log, &file]) else {
        return;
    };
    assert_eq!(counts.lines().count(), definitions.len());
    for line in counts.lines() {
        let (name, count) = line.rsplit_once(' ').unwrap();
        assert_eq!(
            count.parse::<usize>().unwrap(),
            expected(name, best_again),
            "{line}"
        );
    }
}

#[test]
fn the_best_value_is_the_last_one_unless_it_was_turned_off() {
    // A learning rate at which the first epochs are better than the last.
    let diverging = [
        ("epochs", "6"),
        ("freeze", "false"),
        ("learning-rate", "0.3"),
        ("optimizer", "sgd"),
    ];
    let job = Job::with(&crate::main_job::pictures::SMALL, &diverging);
    let ended = job.run().succeeded();
    let values = super::job::printed(&ended, "validation:accuracy");
    let best = values.iter().copied().fold(0.0, f64::max);
    assert_eq!(*values.last().unwrap(), best, "{}", ended.stdout);

    fs::remove_dir_all(job.at("checkpoints")).unwrap();
    let ended = finish(job.command(&["--report-best", "false"])).succeeded();
    assert_eq!(
        super::job::printed(&ended, "validation:accuracy").len(),
        6,
        "{}",
        ended.stdout
    );
}
