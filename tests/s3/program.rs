//! The program itself with data, weights and results in S3.

use std::{fs, path::Path, process::Command};

use super::{client, go_on, server::Server, uri};
use crate::main_job::{
    pictures,
    run::{Sandbox, finish, narrow_resnet18},
};

/// The program with the settings that every AWS tool reads.
fn command(sandbox: &Sandbox, server: &Server, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    command
        .env("AWS_ENDPOINT_URL", &server.endpoint)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// A bucket with pictures below `data` and the narrow network.
fn filled(server: &Server, bucket: &str, sandbox: &Sandbox) {
    server.make_bucket(bucket);
    pictures::draw(&sandbox.path("local"), &pictures::SMALL);
    client(&server.endpoint)
        .upload_folder(
            &sandbox.path("local"),
            &uri(&format!("s3://{bucket}/data")),
            &mut go_on,
        )
        .unwrap()
        .unwrap();
    server.put(bucket, "narrow.onnx", fs::read(narrow_resnet18()).unwrap());
}

#[test]
fn data_weights_and_results_in_a_bucket() {
    let Some(server) = Server::shared() else {
        return;
    };
    let sandbox = Sandbox::new();
    filled(&server, "whole-run", &sandbox);
    let arguments = [
        "--local-data",
        "s3://whole-run/data",
        "--weights",
        "s3://whole-run/narrow.onnx",
        "--output",
        "s3://whole-run/results",
        "--image-size",
        "32",
        "--epochs",
        "2",
    ];
    let first = finish(command(&sandbox, &server, &arguments)).succeeded();
    assert!(
        first.stderr.contains("78 objects: 78 fetched"),
        "{}",
        first.stderr
    );
    for name in ["report.html", "results.csv", "model/model.safetensors"] {
        let here = fs::read(sandbox.path("runs/train-1").join(name)).unwrap();
        assert!(
            server.get("whole-run", &format!("results/{name}")) == here,
            "{name}"
        );
    }
    let second = finish(command(&sandbox, &server, &arguments[..4])).succeeded();
    assert!(
        second.stderr.contains("0 fetched") && second.stderr.contains("78 were here already"),
        "{}",
        second.stderr
    );
}

#[test]
fn what_cannot_be_had_is_said_before_anything_is_trained() {
    let Some(server) = Server::shared() else {
        return;
    };
    let sandbox = Sandbox::new();
    filled(&server, "refused-run", &sandbox);
    let cases: [(&[&str], &[&str]); 4] = [
        (
            &["--local-data", "s3://refused-run/dta"],
            &["nothing is below s3://refused-run/dta/"],
        ),
        (
            &["--local-data", "s3://no-such-bucket-here/data"],
            &["no bucket no-such-bucket-here"],
        ),
        (
            &[
                "--local-data",
                "local",
                "--weights",
                "s3://refused-run/wide.onnx",
            ],
            &["there is no s3://refused-run/wide.onnx"],
        ),
        (
            &[
                "--local-data",
                "local",
                "--output",
                "s3://no-such-bucket-here/x",
            ],
            &["no bucket no-such-bucket-here"],
        ),
    ];
    for (arguments, said) in cases {
        finish(command(&sandbox, &server, arguments)).failed(1, said);
    }
    let mut without = command(
        &sandbox,
        &server,
        &["--local-data", "s3://refused-run/data"],
    );
    without
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    finish(without).failed(1, &["no AWS credentials", "AWS_PROFILE"]);
    assert!(!Path::new(&sandbox.path("runs")).exists());
}
