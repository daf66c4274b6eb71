//! The debugger in a training job: SageMaker's file, its folders, its way to say that a job has ended.

use sagemaker_burn::debugger::Trial;
use serde_json::json;

use crate::main_job::run::finish;
use crate::sagemaker::job::Job;

#[test]
fn tensors_go_where_the_job_says() {
    let job = Job::with(&crate::main_job::pictures::SMALL, &[("freeze", "false")]);
    job.config(
        "debughookconfig.json",
        &json!({
            "S3OutputPath": "s3://bucket/debug", "LocalPath": "/opt/ml/output/tensors",
            "HookParameters": null,
            "CollectionConfigurations": [
                {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "6", "save_raw_tensor": "True"}}]
        }),
    );
    let mut command = job.command(&[]);
    command.env("TRAINING_JOB_NAME", "a-job");
    finish(command).succeeded();
    let trial = Trial::open(&job.at("output/tensors")).unwrap();
    let steps: Vec<_> = trial.steps().map(Result::unwrap).collect();
    // Two epochs of six steps and three of validation; the losses by Amazon's interval of 500.
    let positions: Vec<usize> = steps.iter().map(|step| step.global_step).collect();
    assert_eq!(positions, [0, 6, 9]);
    assert!(steps[2].entry("gradient/ResNet_conv1.weight").is_some());
    assert!(steps[2].entry("CrossEntropyLoss_output_0").is_none());
    assert!(
        !trial.is_complete(),
        "in a job its state says so, and no file"
    );
}

#[test]
fn a_job_that_asks_for_nothing_gets_nothing() {
    let job = Job::new();
    std::fs::write(job.at("input/config/debughookconfig.json"), "null").unwrap();
    finish(job.command(&[])).succeeded();
    assert!(!job.at("output/tensors").exists());
    // The rules look all the same.
    assert!(job.at("output/data/rules.json").exists());
}

#[test]
fn a_file_that_is_broken_fails_the_job_with_its_name() {
    let job = Job::new();
    std::fs::write(job.at("input/config/debughookconfig.json"), "{").unwrap();
    let ended = finish(job.command(&[]));
    assert_ne!(ended.code, Some(0));
    let failure = std::fs::read_to_string(job.at("output/failure")).unwrap();
    assert!(failure.contains("debughookconfig.json"), "{failure}");
}

#[test]
fn the_variable_of_amazons_hook_names_another_file() {
    let job = Job::new();
    let file = job.sandbox.path("mine.json");
    std::fs::write(&file, r#"{"LocalPath":"/opt/ml/output/mine"}"#).unwrap();
    let mut command = job.command(&[]);
    command.env("SMDEBUG_CONFIG_FILE_PATH", &file);
    finish(command).succeeded();
    assert!(!Trial::open(&job.at("output/mine")).unwrap().is_empty());
}
