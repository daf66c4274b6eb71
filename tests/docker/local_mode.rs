//! The SageMaker Python SDK's local mode trains and serves with the image, where the SDK and Docker Compose are installed.

use std::{path::Path, process::Command};

use super::engine::image;
use crate::main_job::run::{Sandbox, narrow_resnet18, python};

const PROGRAM: &str = include_str!("../../scripts/local_mode.py");

#[test]
fn fit_deploy_and_predict() {
    let Some(image) = image() else { return };
    let answers = |program: &str, argument: &str| {
        let output = Command::new(program).args(argument.split(' ')).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !answers("docker", "compose version") && !answers("docker-compose", "version") {
        println!("skipped: there is no Docker Compose");
        return;
    }
    let sandbox = Sandbox::with_pictures();
    let photos = sandbox.path("data");
    std::fs::rename(photos.join("valid"), photos.join("validation")).unwrap();
    let weights = narrow_resnet18();
    let mut arguments = vec![Path::new(image), &photos, Path::new(&weights)];
    let hyperparameters = [
        "epochs=4",
        "image-size=32",
        "batch-size=8",
        "freeze=false",
        "learning-rate=0.003",
    ];
    arguments.extend(hyperparameters.map(Path::new));
    let Some(said) = python(&["sagemaker.local", "docker", "yaml"], PROGRAM, &arguments) else {
        return;
    };
    // What the SDK prints does not always end with a line feed.
    let answers: Vec<serde_json::Value> = said
        .lines()
        .filter_map(|line| line.find("{\"photo\"").map(|at| &line[at..]))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 18, "{said}");
    let right = |answer: &&serde_json::Value| {
        let class = answer["best"]["class"].as_str().unwrap();
        answer["photo"]
            .as_str()
            .unwrap()
            .starts_with(&format!("validation/{class}/"))
    };
    // Chance is right 6 times.
    assert!(answers.iter().filter(right).count() >= 12, "{said}");
}
