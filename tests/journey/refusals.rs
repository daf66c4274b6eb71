//! What goes wrong in a cloud, and what users are told.

use super::cloud::{Cloud, QUICK, ROLE, uploaded};
use crate::main_job::{run::finish, running::Running};

#[test]
fn a_role_or_an_image_that_is_not_there_is_explained() {
    let Some(cloud) = Cloud::shared() else { return };
    let sandbox = uploaded(&cloud, "refused");
    let bad_role = "arn:aws:iam::123456789012:role/nobody";
    let ended = cloud.step(&sandbox, &["tune", "--role", bad_role, "--no-wait"]);
    let ended = ended.failed(
        1,
        &[
            "Could not assume role",
            bad_role,
            "execution-role-trust.json",
        ],
    );
    // What was refused costs nothing.
    assert!(
        !ended.stderr.contains("stop-hyper-parameter-tuning-job"),
        "{ended:#?}"
    );

    std::fs::write(
        sandbox.path("journey/image"),
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/nothing:1",
    )
    .unwrap();
    let missing = [
        "Cannot find repository: nothing",
        "scripts/create-repository",
    ];
    cloud
        .step(&sandbox, &["tune", "--role", ROLE, "--no-wait"])
        .failed(1, &missing);
    let tag = "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-burn:never";
    std::fs::write(sandbox.path("journey/image"), tag).unwrap();
    let missing = [
        &format!("Requested image {tag} not found"),
        "scripts/create-repository",
    ];
    cloud
        .step(
            &sandbox,
            &[
                "train-best",
                "--role",
                ROLE,
                "--hyperparameters",
                "/dev/null",
            ],
        )
        .failed(1, &["/dev/null"]);
    std::fs::write(sandbox.path("best.json"), "{}").unwrap();
    cloud
        .step(
            &sandbox,
            &[
                "train-best",
                "--role",
                ROLE,
                "--hyperparameters",
                "best.json",
            ],
        )
        .failed(1, &missing);
    cloud
        .step(&sandbox, &["delete-everything", "--yes"])
        .succeeded();
}

#[test]
fn what_comes_too_fast_is_tried_again_and_then_explained() {
    let Some(cloud) = Cloud::shared() else { return };
    let sandbox = uploaded(&cloud, "throttled");
    let start = |attempts: &str| {
        let mut command = cloud.script(
            &sandbox,
            &[
                "deploy",
                "--role",
                ROLE,
                "--model-data",
                "s3://throttled/none/model.tar.gz",
            ],
        );
        finish({
            command.env("AWS_MAX_ATTEMPTS", attempts);
            command
        })
    };
    cloud.throttle("CreateModel", 2);
    // The third try is answered, with what is wrong otherwise.
    start("4").failed(1, &["Could not find model data"]);
    cloud.throttle("CreateModel", 9);
    start("2").failed(
        1,
        &[
            "ThrottlingException",
            "Rate exceeded",
            "turned the call away 2 times",
            "AWS_MAX_ATTEMPTS",
        ],
    );
    cloud.calm("CreateModel");
}

#[test]
fn a_job_that_fails_says_why() {
    let Some(cloud) = Cloud::shared() else { return };
    let sandbox = uploaded(&cloud, "failed");
    // The weights have another form than the one that is asked for; only training can tell.
    let mut line = vec![
        "tune",
        "--role",
        ROLE,
        "--space",
        "batch-size=8,32",
        "--strategy",
        "grid",
        "-p",
        "model=resnet50",
    ];
    line.extend(QUICK);
    let ended = cloud.step(&sandbox, &line).failed(
        1,
        &[
            "AlgorithmError",
            "resnet50",
            "The last lines of its log",
            "No objective metrics found",
        ],
    );
    assert!(ended.stdout.contains("Failed"), "{ended:#?}");
    std::fs::write(sandbox.path("best.json"), r#"{"model": "resnet50"}"#).unwrap();
    let line = [
        "train-best",
        "--hyperparameters",
        "best.json",
        "--no-debugger",
    ];
    cloud.step(&sandbox, &line).failed(
        1,
        &["AlgorithmError", "resnet50", "The last lines of its log"],
    );
    // A prefix without an object.
    std::fs::write(
        sandbox.path("journey/channels"),
        "train=s3://failed/nothing/\n",
    )
    .unwrap();
    cloud
        .step(&sandbox, &line)
        .failed(1, &["No S3 objects found", "s3://failed/nothing/"]);
    cloud
        .step(&sandbox, &["delete-everything", "--yes"])
        .succeeded();
}

#[test]
fn ctrl_c_names_what_still_costs_money() {
    let Some(cloud) = Cloud::shared() else { return };
    let sandbox = uploaded(&cloud, "interrupted");
    let mut line = vec!["tune", "--role", ROLE, "--max-jobs", "4"];
    line.extend(QUICK);
    // Enough epochs that it cannot have ended by then.
    line.extend(["-p", "epochs=20000"]);
    let mut running = Running::start(cloud.script(&sandbox, &line));
    assert!(running.line_with("InProgress").is_some());
    running.signal("TERM");
    let ended = running.end();
    assert_eq!(ended.code, Some(143), "{ended:#?}");
    assert!(
        ended.stderr.contains("stop-hyper-parameter-tuning-job"),
        "{ended:#?}"
    );
    let deleted = cloud
        .step(&sandbox, &["delete-everything", "--yes"])
        .succeeded();
    assert!(!deleted.stderr.contains("This costs money"), "{deleted:#?}");
    let name = sandbox.text("journey/tuning-job");
    let line = "sagemaker describe-hyper-parameter-tuning-job --query HyperParameterTuningJobStatus --output text --hyper-parameter-tuning-job-name";
    let words: Vec<&str> = line.split(' ').chain([name.trim()]).collect();
    let mut status = String::new();
    for _ in 0..60 {
        status = cloud.aws(&words).succeeded().stdout;
        if status.trim() == "Stopped" {
            return;
        }
    }
    panic!("{status}");
}
