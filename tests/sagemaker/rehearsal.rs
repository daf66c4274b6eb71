//! `sagemaker init` lays a job out that runs as it is.

use crate::main_job::run::{Sandbox, finish, narrow_resnet18};

fn train(sandbox: &Sandbox) -> crate::main_job::run::Ended {
    let mut command = sandbox.command(&["train"]);
    command.env("SAGEMAKER_BASE_DIR", sandbox.path("job"));
    finish(command)
}

#[test]
fn a_rehearsal_runs_as_it_was_laid_out() {
    let sandbox = Sandbox::with_pictures();
    let weights = narrow_resnet18();
    let arguments = [
        "sagemaker",
        "init",
        "job",
        "--data",
        "data",
        "--weights",
        &weights,
        "-p",
        "epochs=3",
        "-p",
        "image-size=32",
        "--hyperparameter",
        "batch-size=\"8\"",
    ];
    let said = sandbox.run(&arguments).succeeded().stdout;
    assert!(
        said.contains("SAGEMAKER_BASE_DIR=job sagemaker-burn train"),
        "{said}"
    );
    assert!(said.contains("train, validation, test, weights"), "{said}");
    let config = sandbox.json("job/input/config/hyperparameters.json");
    assert_eq!(
        config,
        serde_json::json!({"epochs": "3", "image-size": "32", "batch-size": "\"8\""})
    );
    assert_eq!(train(&sandbox).succeeded().epochs().len(), 3);
    assert!(sandbox.path("job/model/manifest.json").is_file());
    // Again: the checkpoint says that all is done, and the model is made once more.
    std::fs::remove_dir_all(sandbox.path("job/model")).unwrap();
    assert_eq!(train(&sandbox).succeeded().epochs().len(), 0);
    assert!(sandbox.path("job/model/manifest.json").is_file());
    sandbox.run(&arguments).failed(1, &["job is there already"]);
}

#[test]
fn class_folders_alone_become_one_channel() {
    let sandbox = Sandbox::with_pictures();
    let said = sandbox
        .run(&["sagemaker", "init", "job", "--data", "data/train"])
        .succeeded();
    assert!(
        said.stdout.contains("with the channels train\n"),
        "{}",
        said.stdout
    );
    sandbox
        .run(&["sagemaker", "init", "other", "--data", "nowhere"])
        .failed(1, &["nowhere"]);
    assert!(!sandbox.path("other").exists());
    sandbox
        .run(&[
            "sagemaker",
            "init",
            "other",
            "--data",
            "data",
            "-p",
            "epochs",
        ])
        .failed(2, &["NAME=VALUE"]);
    sandbox
        .run(&["sagemaker", "env"])
        .failed(1, &["SAGEMAKER_BASE_DIR"]);
}
