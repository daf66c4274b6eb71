//! T2: every form in which the clients write hyperparameters means the same, and who wins.

use serde_json::json;

use super::job::Job;
use crate::main_job::run::finish;

#[test]
fn every_encoding_means_the_same() {
    let job = Job::empty();
    let forms = [
        // SageMaker Python SDK 2, Estimator with an own image.
        json!({"epochs": "3", "freeze": "True", "optimizer": "adam", "learning-rate": "0.001", "batch-size": "16",
               "classes": "[\"a\", \"b\"]"}),
        // The PyTorch estimator and a tuner: JSON in strings, and keys of their own.
        json!({"epochs": "\"3\"", "freeze": "\"true\"", "optimizer": "\"adam\"", "learning_rate": "\"0.001\"",
               "batch_size": "\"16\"", "classes": "\"[\\\"a\\\", \\\"b\\\"]\"",
               "_tuning_objective_metric": "validation:accuracy", "sagemaker_job_name": "\"j\"",
               "sagemaker_region": "\"eu-west-1\"", "sagemaker_program": "train.py"}),
        // JSON values, the built-in algorithm's names, floats for integers.
        json!({"epochs": 3.0, "freeze": 1, "optimizer": "adam", "lr": 1e-3, "mini_batch_size": "16.0",
               "classes": ["a", "b"]}),
    ];
    let settings = forms.map(|form| {
        job.config("hyperparameters.json", &form);
        let ended = finish(job.command(&["--dry-run"])).succeeded();
        assert!(!ended.stderr.contains("warning"), "{}", ended.stderr);
        ended.stdout
    });
    assert!(settings[0].contains("epochs") && settings[0].contains("hyperparameters.json"));
    for other in &settings[1..] {
        let values = |text: &str| -> Vec<String> {
            let lines = text.lines().map(|line| {
                line.split_whitespace()
                    .take(2)
                    .collect::<Vec<_>>()
                    .join(" ")
            });
            // The one is shown as it was typed, the other follows the memory that is free at the moment.
            let varies =
                |line: &String| line.starts_with("classes") || line.starts_with("cache-mb");
            lines.filter(|line| !varies(line)).collect()
        };
        assert_eq!(values(&settings[0]), values(other));
    }
    assert!(!job.at("model").exists(), "a dry run writes nothing");
}

#[test]
fn the_command_line_comes_first_then_the_file_then_the_environment() {
    let job = Job::empty();
    job.config(
        "hyperparameters.json",
        &json!({"epochs": "4", "batch-size": "16"}),
    );
    let mut command = job.command(&["--dry-run", "--epochs", "3"]);
    command
        .env("SM_HP_EPOCHS", "5")
        .env("SM_HP_BATCH-SIZE", "6")
        .env("SM_HP_SEED", "7");
    let ended = finish(command).succeeded();
    for (name, value, source) in [
        ("epochs", "3", "command line"),
        ("batch-size", "16", "hyperparameters.json"),
        ("seed", "7", "environment"),
        ("checkpoint-interval", "5m", "SageMaker job"),
    ] {
        let line = ended
            .stdout
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap();
        assert!(
            line.split_whitespace().nth(1) == Some(value) && line.contains(source),
            "{line}"
        );
    }
}

#[test]
fn unknown_keys_warn_with_a_suggestion_and_bad_values_fail_by_name() {
    let job = Job::new();
    job.hyperparameters(&[("epoch", "3"), ("gamma", "0.7")]);
    let ended = job.run().succeeded();
    assert!(
        ended
            .stderr
            .contains("unknown hyperparameter 'epoch' is ignored: did you mean 'epochs'?"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("unknown hyperparameter 'gamma'"));
    job.hyperparameters(&[("batch-size", "many")]);
    job.fails(&["hyperparameters.json", "batch-size", "many", "whole number"]);
    // What came right is not held against a job any more.
    job.hyperparameters(&[]);
    std::fs::remove_dir_all(job.at("checkpoints")).unwrap();
    job.run().succeeded();
    assert_eq!(job.failure(), None);
}

#[test]
fn extra_arguments_of_the_container_are_tolerated() {
    let job = Job::new();
    std::fs::create_dir_all(job.at("output")).unwrap();
    std::fs::write(job.at("output/failure"), "of an earlier attempt").unwrap();
    let ended = finish(job.command(&["--sm-whatever", "7", "--epochs", "1"])).succeeded();
    assert!(
        ended.stderr.contains("--sm-whatever is unknown"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.epochs().len(), 1);
    let ended = finish(job.command(&["--epochs", "none"]));
    assert_eq!(ended.code, Some(2));
    assert!(job.failure().unwrap().contains("--epochs"));
    let ended = finish(job.command(&["--output", "elsewhere"]));
    assert_eq!(ended.code, Some(1));
}
