//! T1: a job with nothing but the three documented files ends well, writes where it may and opens no socket.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use super::job::Job;
use crate::main_job::run::finish;

/// Every file below `folder`.
fn files(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, root, found),
            false => {
                found.insert(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
}

#[test]
fn three_files_are_enough_and_nothing_else_is_written() {
    let job = Job::new();
    let everything = || {
        let mut found = BTreeSet::new();
        files(job.sandbox.root(), job.sandbox.root(), &mut found);
        found
    };
    let before = everything();
    job.run().succeeded();
    let written: BTreeSet<String> = everything().difference(&before).cloned().collect();
    let (events, written): (Vec<String>, Vec<String>) = written
        .into_iter()
        .partition(|name| name.contains("tfevents"));
    assert_eq!(
        written,
        [
            "ml/checkpoints/args.json",
            "ml/checkpoints/best.safetensors",
            "ml/checkpoints/last.safetensors",
            "ml/model/examples/0000-1.jpg",
            "ml/model/examples/0000-2.jpg",
            "ml/model/examples/0001-1.jpg",
            "ml/model/examples/0001-2.jpg",
            "ml/model/examples/0002-1.jpg",
            "ml/model/examples/0002-2.jpg",
            "ml/model/manifest.json",
            "ml/model/model.onnx",
            "ml/model/model.safetensors",
            "ml/output/data/args.json",
            "ml/output/data/confusion.csv",
            "ml/output/data/report.html",
            "ml/output/data/results.csv",
            "ml/output/data/rules.json",
        ]
    );
    assert_eq!(events.len(), 1);
    assert!(events[0].starts_with("ml/output/data/events"));
    job.predicts();
}

#[test]
fn no_socket_is_opened() {
    let traced = Command::new("strace").arg("-V").output();
    if !traced.is_ok_and(|output| output.status.success()) {
        println!("skipped: strace is not installed");
        return;
    }
    let job = Job::new();
    let trace = job.sandbox.path("trace");
    let program = job.command(&[]);
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-e", "trace=socket,connect,execve", "-o"])
        .arg(&trace)
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(job.sandbox.root())
        .env_clear()
        .envs(
            program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    finish(command).succeeded();
    let trace = fs::read_to_string(trace).unwrap();
    let starts = trace
        .lines()
        .filter(|line| line.contains("execve("))
        .count();
    assert!(
        starts >= 2,
        "the trace holds the supervisor and the training: {trace}"
    );
    let sockets: Vec<&str> = trace
        .lines()
        .filter(|line| line.contains("socket(") || line.contains("connect("))
        .collect();
    assert!(sockets.is_empty(), "{sockets:?}");
}

#[test]
fn a_channel_with_split_folders_inside_works_and_so_does_the_old_name() {
    let job = Job::new();
    fs::create_dir(job.at("input/data/training")).unwrap();
    for (from, to) in [
        ("train", "train"),
        ("validation", "valid"),
        ("test", "test"),
    ] {
        let to = job.at("input/data/training").join(to);
        fs::rename(job.at("input/data").join(from), to).unwrap();
    }
    // Lies next to the channel's folder on the real platform, and is none.
    fs::write(job.at("input/data/training-manifest"), "[]").unwrap();
    job.channels(&["training", "pretrained"]);
    fs::rename(
        job.at("input/data/weights"),
        job.at("input/data/pretrained"),
    )
    .unwrap();
    let ended = job.run().succeeded();
    assert!(
        ended
            .stderr
            .contains("3 classes; 48 images to train on, 18 to validate, 12 to test"),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.contains("test:accuracy="));
}

#[test]
fn variables_of_the_toolkit_are_honoured_and_can_be_shown() {
    let job = Job::new();
    let elsewhere = job.sandbox.path("elsewhere");
    fs::rename(job.at("input/data/train"), &elsewhere).unwrap();
    let mut command = job.command(&[]);
    command
        .env("SM_CHANNEL_TRAIN", &elsewhere)
        .env("SM_MODEL_DIR", job.sandbox.path("my-model"));
    finish(command).succeeded();
    assert!(job.sandbox.path("my-model/manifest.json").is_file());
    assert!(!job.at("model").exists());

    job.hyperparameters(&[("batch-size", "16")]);
    let mut command = job.sandbox.command(&["sagemaker", "env"]);
    command
        .env("SAGEMAKER_BASE_DIR", job.at(""))
        .env("SM_NUM_GPUS", "4");
    let shown = finish(command).succeeded().stdout;
    for line in [
        "SM_HP_BATCH-SIZE=16",
        "SM_NUM_GPUS=4",
        "SM_CURRENT_HOST=algo-1",
        "SM_HOSTS=[\"algo-1\"]",
        "SM_CHANNELS=[\"train\",\"validation\",\"test\",\"weights\"]",
        &format!("SM_CHANNEL_TEST={}", job.at("input/data/test").display()),
        &format!("SM_MODEL_DIR={}", job.at("model").display()),
    ] {
        assert!(shown.lines().any(|l| l == line), "{line} in {shown}");
    }
}

#[test]
fn the_demo_can_try_the_platform_out() {
    let job = Job::empty();
    let ended = finish(job.command(&["--demo", "--epochs", "1", "--image-size", "32"])).succeeded();
    assert_eq!(ended.epochs().len(), 1);
    assert!(job.at("model/manifest.json").is_file());
    assert!(
        !job.at("output/data/data").exists(),
        "the pictures are no result"
    );
}

#[test]
fn tensorboards_files_go_where_the_job_says() {
    let job = Job::new();
    job.config(
        "tensorboardoutputconfig.json",
        &serde_json::json!({"LocalPath": "/opt/ml/output/tensorboard", "S3OutputPath": "s3://b/p"}),
    );
    job.config(
        "debughookconfig.json",
        &serde_json::json!({"HookParameters": {"save_interval": "1"}, "CollectionConfigurations": [{"CollectionName": "biases"}]}),
    );
    job.run().succeeded();
    let mut written = BTreeSet::new();
    files(&job.at("output"), &job.at("output"), &mut written);
    let events: Vec<&String> = written
        .iter()
        .filter(|name| name.contains("events.out.tfevents"))
        .collect();
    assert_eq!(events.len(), 3, "{events:?}");
    for (file, folder) in events.iter().zip(["debugger/eval/", "debugger/train/", ""]) {
        let place = format!("tensorboard/{folder}events");
        assert!(file.starts_with(&place), "{file} in {place}");
    }
}
