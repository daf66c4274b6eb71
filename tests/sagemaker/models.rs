//! Going on from an earlier job's artifact: the channel `model`, as a folder and as `model.tar.gz`.

use std::{fs, process::Command};

use super::job::Job;

/// Moves the artifact of the job that was run into the channel `model`.
fn artifact_to_channel(job: &Job) {
    fs::rename(job.at("model"), job.at("input/data/model")).unwrap();
    for folder in ["checkpoints", "output", "input/data/weights"] {
        fs::remove_dir_all(job.at(folder)).unwrap();
    }
    job.channels(&["train", "validation", "test", "model"]);
}

#[test]
fn an_earlier_model_goes_on_with_its_last_layer() {
    let job = Job::new();
    job.hyperparameters(&[
        ("epochs", "10"),
        ("freeze", "false"),
        ("learning-rate", "0.003"),
    ]);
    let first = super::job::printed(&job.run().succeeded(), "validation:loss");
    artifact_to_channel(&job);
    let ended = job.run().succeeded();
    assert!(
        ended.stderr.contains("with its last layer"),
        "{}",
        ended.stderr
    );
    let second = super::job::printed(&ended, "validation:loss");
    assert!(
        second[0] < 0.7 * first[0],
        "goes on where it was: {first:?} {second:?}"
    );
}

#[test]
fn the_archive_is_read_and_other_classes_get_a_new_layer() {
    let job = Job::new();
    job.run().succeeded();
    artifact_to_channel(&job);
    let folder = job.at("input/data/model");
    let packed = Command::new("tar")
        .args([
            "-czf",
            "model.tar.gz",
            "manifest.json",
            "model.safetensors",
            "model.onnx",
        ])
        .current_dir(&folder)
        .status();
    assert!(packed.unwrap().success());
    for name in ["manifest.json", "model.safetensors", "model.onnx"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    for split in ["train", "validation", "test"] {
        let folder = job.at("input/data").join(split);
        fs::rename(folder.join("2.bee"), folder.join("2.bumblebee")).unwrap();
    }
    let ended = job.run().succeeded();
    assert!(
        ended.stderr.contains("model.tar.gz, with a new last layer"),
        "{}",
        ended.stderr
    );

    let archive = folder.join("model.tar.gz");
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, &whole[..whole.len() / 3]).unwrap();
    fs::remove_dir_all(job.at("checkpoints")).unwrap();
    job.fails(&["model.tar.gz"]);
}
