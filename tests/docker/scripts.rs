//! scripts/build-image and scripts/push-ecr without an engine and without AWS: what they would run, and what they refuse.

use std::process::Command;

use crate::main_job::run::{Ended, Sandbox, finish, golden_onnx};

fn script(name: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new(format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR")));
    command
        .args(arguments)
        .env_remove("AWS_REGION")
        .env_remove("AWS_DEFAULT_REGION");
    finish(command)
}

#[test]
fn build_image_shows_what_it_would_run() {
    let weights = format!("resnet18={}", golden_onnx("resnet18-kept.onnx"));
    let arguments = [
        "cuda",
        "--weights",
        "resnet34-v1-7",
        "--weights",
        &weights,
        "--dry-run",
    ];
    let said = script("build-image", &arguments).succeeded().stdout;
    let build = said.lines().last().unwrap();
    assert!(
        build.starts_with("docker build --file docker/Dockerfile.cuda --tag sagemaker-burn:cuda"),
        "{said}"
    );
    assert!(
        build.contains("WEIGHTS=resnet34-v1-7") && build.contains("WEIGHTS_SHA256="),
        "{said}"
    );
    assert!(
        build.contains(concat!("VERSION=", env!("CARGO_PKG_VERSION"))),
        "{said}"
    );
}

#[test]
fn build_image_refuses_other_weights_than_were_meant() {
    let weights = format!("resnet18={}", golden_onnx("resnet18-kept.onnx"));
    let other = "0".repeat(64);
    script(
        "build-image",
        &[
            "--weights",
            &weights,
            "--weights-sha256",
            &other,
            "--dry-run",
        ],
    )
    .failed(1, &["sha256", &other, "resnet18-kept.onnx"]);
    script(
        "build-image",
        &["--weights", "resnet18=/nowhere.onnx", "--dry-run"],
    )
    .failed(1, &["/nowhere.onnx"]);
    script("build-image", &["--weight"]).failed(1, &["--weight", "--help"]);
    script("build-image", &["--max-mb", "many"]).failed(1, &["--max-mb"]);
}

#[test]
fn push_ecr_shows_what_it_would_run() {
    let arguments = [
        "--region",
        "eu-west-1",
        "--repository",
        "team/dogs",
        "--tag",
        "v1",
        "sagemaker-burn:cuda",
        "--dry-run",
    ];
    let said = script("push-ecr", &arguments).succeeded().stdout;
    for text in [
        "create-repository --repository-name team/dogs --image-scanning-configuration scanOnPush=true",
        "put-lifecycle-policy",
        "get-login-password | docker login --username AWS --password-stdin ACCOUNT.dkr.ecr.eu-west-1.amazonaws.com",
        "docker push ACCOUNT.dkr.ecr.eu-west-1.amazonaws.com/team/dogs:v1",
    ] {
        assert!(said.contains(text), "{text:?} in {said}");
    }
}

#[test]
fn push_ecr_says_what_is_missing() {
    script("push-ecr", &["--dry-run"]).failed(1, &["--region", "AWS_REGION"]);
    script("push-ecr", &["--keep"]).failed(1, &["--keep"]);
    let sandbox = Sandbox::new();
    let mut command = Command::new("/bin/bash");
    let path = format!("{}/scripts/push-ecr", env!("CARGO_MANIFEST_DIR"));
    command
        .args([&path, "--region", "eu-west-1"])
        .env("PATH", sandbox.root());
    finish(command).failed(1, &["the AWS CLI is missing"]);
}
