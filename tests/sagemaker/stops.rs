//! T4: SIGTERM at any moment ends in good order; a job that is started again goes on.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::job::{Job, printed};
use crate::main_job::{pictures, running::Running};

const ENDLESS: [(&str, &str); 3] = [
    ("epochs", "100000"),
    ("freeze", "false"),
    ("checkpoint-interval", "1"),
];

/// Sends SIGTERM a while after `line` came, and checks what the platform expects.
fn stopped_after(job: &Job, line: &str, wait: Duration) -> crate::main_job::run::Ended {
    let mut running = Running::start(job.command(&[]));
    assert!(running.wait_for(line), "{line}");
    thread::sleep(wait);
    let asked = Instant::now();
    running.signal("TERM");
    let ended = running.end().succeeded();
    assert!(
        asked.elapsed() < Duration::from_secs(20),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(job.failure(), None);
    job.predicts();
    let values = printed(&ended, "validation:accuracy");
    let best = values.iter().copied().fold(0.0, f64::max);
    assert_eq!(
        values.last().copied().unwrap_or(0.0),
        best,
        "{}",
        ended.stdout
    );
    ended
}

#[test]
fn at_any_moment_a_model_and_success() {
    let job = Job::with(&pictures::SMALL, &ENDLESS);
    for (line, wait_ms) in [
        ("channel train", 0),
        ("device:", 0),
        ("network:", 0),
        ("results:", 0),
        ("results:", 37),
        ("epoch=1", 0),
        ("epoch=2", 5),
        ("epoch=3", 11),
    ] {
        for folder in ["checkpoints", "model"] {
            let _ = std::fs::remove_dir_all(job.at(folder));
        }
        let ended = stopped_after(&job, line, Duration::from_millis(wait_ms));
        assert!(
            ended.stderr.contains("stopped by SIGTERM"),
            "{line}: {}",
            ended.stderr
        );
    }
}

const MANY: [(&str, usize); 3] = [("train", 120), ("valid", 4), ("test", 2)];

#[test]
fn the_moment_after_the_start() {
    let job = Job::with(&pictures::SMALL, &ENDLESS);
    for wait_us in (0..40).map(|step| step * 150) {
        let running = Running::start(job.command(&[]));
        thread::sleep(Duration::from_micros(wait_us));
        running.signal("TERM");
        let ended = running.end();
        // Before its first statement a process dies of the signal, which is not ours to change.
        if ended.code.is_some() {
            ended.succeeded();
        }
        assert_eq!(job.failure(), None, "after {wait_us} us");
    }
}

#[test]
fn a_job_that_has_no_epoch_left_still_prints_its_score() {
    let job = Job::new();
    let first = job.run().succeeded();
    for folder in ["model", "output"] {
        std::fs::remove_dir_all(job.at(folder)).unwrap();
    }
    let again = job.run().succeeded();
    assert!(again.epochs().is_empty());
    let best = printed(&first, "validation:accuracy")
        .into_iter()
        .fold(0.0, f64::max);
    assert_eq!(
        printed(&again, "validation:accuracy"),
        [best],
        "{}",
        again.stdout
    );
    job.predicts();
}

#[test]
fn best_weights_that_are_ahead_of_the_checkpoint_are_kept() {
    let job = Job::with(
        &pictures::SMALL,
        &[("freeze", "false"), ("learning-rate", "0.003")],
    );
    job.hyperparameters(&[
        ("epochs", "1"),
        ("freeze", "false"),
        ("learning-rate", "0.003"),
    ]);
    job.run().succeeded();
    let last = std::fs::read(job.at("checkpoints/last.safetensors")).unwrap();
    job.hyperparameters(&[
        ("epochs", "100000"),
        ("freeze", "false"),
        ("learning-rate", "0.003"),
        ("checkpoint-interval", "1"),
    ]);
    let first = stopped_after(&job, "epoch=6", Duration::ZERO);
    let best = printed(&first, "validation:accuracy")
        .into_iter()
        .fold(0.0, f64::max);
    std::fs::write(job.at("checkpoints/last.safetensors"), last).unwrap();
    let second = stopped_after(&job, "results:", Duration::ZERO);
    let values = printed(&second, "validation:accuracy");
    assert!(
        values.last().is_some_and(|last| *last >= best),
        "{best} {}",
        second.stdout
    );
}

#[test]
fn while_features_are_computed_and_they_are_kept() {
    let settings = [
        ("freeze", "true"),
        ("image-size", "224"),
        ("epochs", "3"),
        ("checkpoint-interval", "2"),
    ];
    let job = Job::with(&MANY, &settings);
    let mut running = Running::start(job.command(&[]));
    assert!(running.wait_for("results:"));
    let asked = Instant::now();
    while !job.at("checkpoints/features-train.safetensors").exists() {
        assert!(
            asked.elapsed() < Duration::from_secs(60),
            "no features are kept"
        );
        thread::sleep(Duration::from_millis(1));
    }
    running.signal("KILL");
    assert_eq!(
        running.end().code,
        None,
        "it was over before it could be killed"
    );
    let ended = job.run().succeeded();
    assert!(
        ended.stderr.contains("are here from before"),
        "{}",
        ended.stderr
    );
    assert!(!job.at("checkpoints/features-train.safetensors").exists());
    let model = std::fs::read(job.at("model/model.safetensors")).unwrap();

    for folder in ["checkpoints", "model", "output"] {
        std::fs::remove_dir_all(job.at(folder)).unwrap();
    }
    job.run().succeeded();
    assert!(model == std::fs::read(job.at("model/model.safetensors")).unwrap());
    for folder in ["checkpoints", "model"] {
        std::fs::remove_dir_all(job.at(folder)).unwrap();
    }
    stopped_after(&job, "results:", Duration::from_millis(50));
}

#[test]
fn within_a_group_of_batches() {
    let settings = [
        ("freeze", "false"),
        ("image-size", "224"),
        ("grad-accumulation", "1000"),
    ];
    let job = Job::with(&MANY, &settings);
    stopped_after(&job, "results:", Duration::from_millis(200));
}

#[test]
fn a_stopped_job_goes_on_where_it_was() {
    let job = Job::with(&pictures::SMALL, &ENDLESS);
    let first = stopped_after(&job, "epoch=3", Duration::ZERO);
    std::fs::remove_dir_all(job.at("output")).unwrap();
    let second = stopped_after(&job, "epoch=", Duration::ZERO);
    assert!(second.stderr.contains("resumed after"), "{}", second.stderr);
    let number = |line: &str| -> usize { line.split(['=', ' ']).nth(1).unwrap().parse().unwrap() };
    let (last, next) = (first.epochs(), second.epochs());
    assert_eq!(number(next[0]), number(last[last.len() - 1]) + 1);
    // The table of results is whole although its file was gone.
    let table = std::fs::read_to_string(job.at("output/data/results.csv")).unwrap();
    assert_eq!(
        table.lines().count(),
        number(next[next.len() - 1]) + 1,
        "{table}"
    );
}

#[test]
fn a_checkpoint_of_other_hyperparameters_or_images_is_refused() {
    let job = Job::new();
    job.run().succeeded();
    job.hyperparameters(&[("learning-rate", "0.5")]);
    job.fails(&[
        "--learning-rate 0.5",
        "same hyperparameters",
        "CheckpointConfig.S3Uri",
    ]);
    // Longer is no contradiction.
    job.hyperparameters(&[("epochs", "3")]);
    assert_eq!(job.run().succeeded().epochs().len(), 1);
    std::fs::remove_file(job.at("input/data/train/2.bee/0.jpg")).unwrap();
    job.fails(&["last.safetensors", "other images"]);
}
