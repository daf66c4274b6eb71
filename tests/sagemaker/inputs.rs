//! T6 and the other ways in which photos arrive: pipes, RecordIO, augmented manifests, image lists, a read-only folder.
//!
//! Every form is made from the same pictures, so every form must lead to a network that tells them apart, and those that carry
//! class names to the very same classes.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::json;

use super::job::{Job, printed};
use crate::main_job::{
    pictures::CLASSES,
    run::{Ended, finish},
    running::Running,
};

/// What every job here trains: enough to learn three colours.
const LEARN: [(&str, &str); 3] = [
    ("epochs", "8"),
    ("freeze", "false"),
    ("learning-rate", "0.003"),
];

fn job() -> Job {
    Job::with(&crate::main_job::pictures::SMALL, &LEARN)
}

/// A record as RecordIO frames it.
fn record(payload: &[u8]) -> Vec<u8> {
    let mut out = 0xced7_230a_u32.to_le_bytes().to_vec();
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(payload);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// What im2rec puts in front of an image.
fn im2rec(label: usize, image: &[u8]) -> Vec<u8> {
    let mut out = 0_u32.to_le_bytes().to_vec();
    out.extend((label as f32).to_le_bytes());
    out.extend([0; 16]);
    out.extend(image);
    out
}

/// The pictures of a channel in an order that mixes the classes: class index, class name, path.
fn pictures_of(job: &Job, channel: &str) -> Vec<(usize, &'static str, PathBuf)> {
    let mut found = Vec::new();
    for (index, (class, _)) in CLASSES.iter().enumerate() {
        let folder = job.at("input/data").join(channel).join(class);
        for entry in fs::read_dir(folder).unwrap() {
            found.push((index, *class, entry.unwrap().path()));
        }
    }
    found.sort_by_key(|(_, _, path)| path.file_name().unwrap().to_owned());
    found
}

/// Moves the class folders of a channel out of the way.
fn hide(job: &Job, channel: &str) {
    let folder = job.at("input/data").join(channel);
    fs::rename(folder, job.sandbox.path(&format!("hidden-{channel}"))).unwrap();
}

/// An augmented manifest as the platform streams it: image, label, image, label.
fn augmented(job: &Job, channel: &str) -> Vec<u8> {
    let pairs = pictures_of(job, channel)
        .into_iter()
        .map(|(_, class, path)| {
            [
                record(&fs::read(path).unwrap()),
                record(json!(class).to_string().as_bytes()),
            ]
            .concat()
        });
    pairs.collect::<Vec<_>>().concat()
}

/// A `.rec` file as im2rec writes it.
fn rec(job: &Job, channel: &str) -> Vec<u8> {
    let records = pictures_of(job, channel)
        .into_iter()
        .map(|(index, _, path)| record(&im2rec(index, &fs::read(path).unwrap())));
    records.collect::<Vec<_>>().concat()
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Makes a channel's pipe after `late` and writes `content` into it, once.
fn stream(path: PathBuf, content: Vec<u8>, late: Duration) {
    thread::spawn(move || {
        thread::sleep(late);
        make_fifo(&path);
        // Ends with an error if the reader leaves early, which is its right.
        let _ = File::create(path).and_then(|mut pipe| pipe.write_all(&content));
    });
}

fn pipe_mode(wrapper: &str) -> serde_json::Value {
    json!({"TrainingInputMode": "Pipe", "RecordWrapperType": wrapper, "S3DistributionType": "FullyReplicated"})
}

/// The network learned to tell the pictures apart, which it cannot with labels in another order.
fn learned(ended: &Ended) {
    let best = printed(ended, "validation:accuracy")
        .into_iter()
        .fold(0.0, f64::max);
    assert!(best > 0.8, "{}", ended.stdout);
}

fn classes(job: &Job) -> serde_json::Value {
    let manifest = fs::read(job.at("model/manifest.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&manifest).unwrap()["classes"].clone()
}

#[test]
fn augmented_manifests_come_through_late_pipes() {
    let job = job();
    for (channel, late) in [("train", 2000), ("validation", 10)] {
        let content = augmented(&job, channel);
        hide(&job, channel);
        stream(
            job.at(&format!("input/data/{channel}_0")),
            content,
            Duration::from_millis(late),
        );
    }
    let mode = pipe_mode("RecordIO");
    job.config(
        "inputdataconfig.json",
        &json!({"train": mode, "validation": mode, "test": {}, "weights": {}}),
    );
    let ended = job.run().succeeded();
    learned(&ended);
    assert_eq!(classes(&job), json!(["2.bee", "10.ant", "wild cat"]));
    assert!(
        ended.stdout.contains("test:accuracy="),
        "names fit the folder of test images"
    );
}

#[test]
fn a_restarted_pipe_job_goes_on_although_the_order_is_another() {
    let job = Job::with(
        &crate::main_job::pictures::SMALL,
        &[
            ("epochs", "100000"),
            ("freeze", "false"),
            ("checkpoint-interval", "1"),
        ],
    );
    let pairs: Vec<u8> = augmented(&job, "train");
    let mut shuffled = pictures_of(&job, "train");
    shuffled.reverse();
    let shuffled: Vec<Vec<u8>> = shuffled
        .into_iter()
        .map(|(_, class, path)| {
            [record(&fs::read(path).unwrap()), record(class.as_bytes())].concat()
        })
        .collect();
    hide(&job, "train");
    job.config(
        "inputdataconfig.json",
        &json!({"train": pipe_mode("RecordIO"), "validation": {}, "weights": {}}),
    );
    let fifo = job.at("input/data/train_0");
    stream(fifo.clone(), pairs, Duration::ZERO);
    let mut running = Running::start(job.command(&[]));
    assert!(running.wait_for("epoch=2"));
    running.signal("KILL");
    running.end();
    fs::remove_file(&fifo).unwrap();
    stream(fifo, shuffled.concat(), Duration::ZERO);
    let mut running = Running::start(job.command(&[]));
    assert!(running.wait_for("resumed after"));
    running.signal("TERM");
    running.end().succeeded();
}

#[test]
fn a_pipe_that_ends_early_or_never_comes_is_the_cause() {
    let job = job();
    let content = augmented(&job, "train");
    hide(&job, "train");
    job.config(
        "inputdataconfig.json",
        &json!({"train": pipe_mode("RecordIO"), "validation": {}, "weights": {}}),
    );
    let fifo = job.at("input/data/train_0");
    stream(
        fifo.clone(),
        content[..content.len() / 2 + 3].to_vec(),
        Duration::ZERO,
    );
    job.fails(&["train_0", "record"]);
    fs::remove_file(&fifo).unwrap();
    // Waiting for it, a job can be stopped.
    let mut running = Running::start(job.command(&[]));
    assert!(running.wait_for("reading the train images from the pipe"));
    running.signal("TERM");
    let ended = running.end().succeeded();
    assert!(
        ended.stderr.contains("stopped by SIGTERM"),
        "{}",
        ended.stderr
    );
}

#[test]
fn record_files_are_read_through_a_pipe_and_from_a_folder() {
    let job = job();
    let contents = ["train", "validation"].map(|channel| (channel, rec(&job, channel)));
    for (channel, content) in &contents {
        hide(&job, channel);
        stream(
            job.at(&format!("input/data/{channel}_0")),
            content.clone(),
            Duration::ZERO,
        );
    }
    let mode = pipe_mode("None");
    job.config(
        "inputdataconfig.json",
        &json!({"train": mode, "validation": mode, "weights": {}}),
    );
    learned(&job.run().succeeded());
    assert_eq!(classes(&job), json!(["0", "1", "2"]));

    fs::remove_dir_all(job.at("checkpoints")).unwrap();
    for (channel, content) in &contents {
        fs::create_dir(job.at("input/data").join(channel)).unwrap();
        let file = job
            .at("input/data")
            .join(channel)
            .join(format!("{channel}.rec"));
        fs::write(file, content).unwrap();
    }
    let file = json!({"ContentType": "application/x-recordio", "TrainingInputMode": "File"});
    job.config(
        "inputdataconfig.json",
        &json!({"train": file, "validation": file, "weights": {}}),
    );
    let ended = finish(job.command(&["--classes", "bee,ant,cat"])).succeeded();
    learned(&ended);
    assert_eq!(classes(&job), json!(["bee", "ant", "cat"]));
}

#[test]
fn image_lists_of_the_built_in_algorithm_are_read() {
    let job = job();
    for channel in ["train", "validation"] {
        let folder = job.at(&format!("input/data/{channel}_lst"));
        fs::create_dir(&folder).unwrap();
        let root = job.at("input/data").join(channel);
        let lines =
            pictures_of(&job, channel)
                .into_iter()
                .enumerate()
                .map(|(number, (index, _, path))| {
                    let path = path.strip_prefix(&root).unwrap().display().to_string();
                    format!("{number}\t{index}.000000\t{path}\n")
                });
        fs::write(folder.join("images.lst"), lines.collect::<String>()).unwrap();
    }
    job.channels(&[
        "train",
        "validation",
        "train_lst",
        "validation_lst",
        "weights",
    ]);
    learned(&job.run().succeeded());
    assert_eq!(classes(&job), json!(["2.bee", "10.ant", "wild cat"]));
}

#[test]
fn fast_file_mode_reads_a_folder_that_cannot_be_written() {
    let job = job();
    let fast = json!({"TrainingInputMode": "FastFile", "S3DistributionType": "FullyReplicated"});
    job.config(
        "inputdataconfig.json",
        &json!({"train": fast, "validation": fast, "test": fast, "weights": fast}),
    );
    let data = job.at("input/data");
    let bind = |options: &str| {
        let mounted = Command::new("mount")
            .args(["-o", options])
            .arg(&data)
            .arg(&data)
            .output();
        mounted.is_ok_and(|output| output.status.success())
    };
    let read_only = bind("bind") && bind("remount,ro,bind");
    if !read_only {
        println!("skipped: the folder cannot be mounted read-only here");
    }
    let ended = job.run();
    while Command::new("umount")
        .arg(&data)
        .output()
        .unwrap()
        .status
        .success()
    {}
    learned(&ended.succeeded());
}

#[test]
fn a_restarted_pipe_job_that_is_stopped_while_it_waits_keeps_its_model() {
    let job = job();
    let content = augmented(&job, "train");
    hide(&job, "train");
    job.config(
        "inputdataconfig.json",
        &json!({"train": pipe_mode("RecordIO"), "validation": {}, "test": {}, "weights": {}}),
    );
    let fifo = job.at("input/data/train_0");
    stream(fifo.clone(), content, Duration::ZERO);
    let first = job.run().succeeded();
    let best = printed(&first, "validation:accuracy")
        .into_iter()
        .fold(0.0, f64::max);
    fs::remove_file(&fifo).unwrap();
    for folder in ["model", "output"] {
        fs::remove_dir_all(job.at(folder)).unwrap();
    }
    let mut running = Running::start(job.command(&[]));
    assert!(running.wait_for("reading the train images from the pipe"));
    running.signal("TERM");
    let ended = running.end().succeeded();
    assert!(
        ended.stderr.contains("the model is that of epoch"),
        "{}",
        ended.stderr
    );
    assert_eq!(printed(&ended, "validation:accuracy"), [best]);
    job.predicts();
}
