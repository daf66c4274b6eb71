//! `--resume` goes on as if nothing had happened: on the CPU every weight is the same, bit for bit.

use std::{fs, thread, time::Duration};

use sagemaker_burn::model::read_safetensors;

use super::{
    run::{Sandbox, finish},
    running::Running,
};

/// Columns of `results.csv` that do not measure time or memory.
const EXACT_COLUMNS: [&str; 9] = [
    "epoch",
    "global_step",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
    "top_k",
    "valid_top_k",
];

/// The line to wait for, and how long to wait after it.
type Moment = (&'static str, Duration);

const fn after(line: &'static str, wait_ms: u64) -> Moment {
    (line, Duration::from_millis(wait_ms))
}

/// Starts a training, and ends and resumes it at each of `moments`, until it is done. Returns how often it was ended.
fn interrupted(sandbox: &Sandbox, run: &str, options: &str, moments: &[Moment]) -> usize {
    let mut command = sandbox.training(run, options);
    for (count, (line, wait)) in moments.iter().enumerate() {
        let mut running = Running::start(command);
        running.wait_for(line);
        thread::sleep(*wait);
        running.signal("INT");
        let ended = running.end();
        if ended.code == Some(0) {
            return count;
        }
        let hint = format!("train --resume {run}");
        let ended = ended.failed(130, &["interrupted in epoch", &hint]);
        println!("{}", ended.stderr.lines().last().unwrap());
        command = sandbox.command(&["--resume", run]);
    }
    finish(command).succeeded();
    moments.len()
}

/// Everything that depends on the weights is equal in two runs.
fn assert_same(sandbox: &Sandbox, one: &str, other: &str) {
    for file in [
        "model/model.safetensors",
        "model/model.onnx",
        "weights/best.safetensors",
        "confusion.csv",
    ] {
        let [a, b] = [one, other].map(|run| sandbox.read(&format!("{run}/{file}")));
        assert!(a == b, "{file} of {one} and {other} differ");
    }
    let [a, b] = [one, other].map(|run| sandbox.results(run));
    assert_eq!(a.len(), b.len(), "rows of results.csv");
    for (a, b) in a.iter().zip(&b) {
        for column in EXACT_COLUMNS {
            assert_eq!(a[column], b[column], "{column} of {one} and {other}");
        }
    }
    assert_same_checkpoint(sandbox, one, other);
}

fn assert_same_checkpoint(sandbox: &Sandbox, one: &str, other: &str) {
    let read = |run: &str| {
        let path = sandbox.path(&format!("{run}/weights/last.safetensors"));
        let (mut tensors, _) = read_safetensors(&path).unwrap();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    };
    let (a, b) = (read(one), read(other));
    assert_eq!(a.len(), b.len());
    assert!(a.iter().any(|(name, _)| name == "optimizer"));
    for ((name, a), (other_name, b)) in a.iter().zip(&b) {
        assert_eq!(name, other_name);
        let same = match name.as_str() {
            "optimizer" => optimizer_values(a.as_bytes()) == optimizer_values(b.as_bytes()),
            _ => a.as_bytes() == b.as_bytes(),
        };
        assert!(same, "{name} of {one} and {other} differs");
    }
}

/// The numbers in an optimizer record, sorted: Burn writes its tensors in no particular order.
fn optimizer_values(record: &[u8]) -> Vec<u32> {
    // 4 bytes magic number, 2 version, 4 length of the description; then, after padding, the tensors.
    let length = u32::from_le_bytes(record[6..10].try_into().unwrap()) as usize;
    let start = (10 + length).next_multiple_of(4);
    let words = record[start..].chunks_exact(4);
    let mut values: Vec<u32> = words
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    // Padding between tensors depends on their order.
    values.retain(|value| *value != 0);
    assert!(values.len() > 10, "nothing to compare");
    values.sort_unstable();
    values
}

#[test]
fn everything_at_once_with_adamw() {
    let sandbox = Sandbox::with_pictures();
    let options = "--epochs 12 --freeze false --image-size 96 --augmentation crop --mixup 0.2 \
                   --ema-decay 0.9 --grad-accumulation 2 --grad-clip 1 --learning-rate 0.002";
    sandbox.train("whole", options).succeeded();
    let moments = [
        after("results:", 20),
        after("results:", 0),
        after("epoch=2", 30),
        after("results:", 10),
    ];
    let times = interrupted(&sandbox, "parts", options, &moments);
    assert!(times > 0, "the run was over before it could be interrupted");
    assert_same(&sandbox, "whole", "parts");
}

#[test]
fn momentum_and_colours_with_sgd() {
    let sandbox = Sandbox::with_pictures();
    let options = "--epochs 12 --freeze false --image-size 96 --augmentation crop-color --optimizer sgd \
                   --momentum 0.8 --lr-scheduler step --label-smoothing 0.1 --class-weights balanced";
    sandbox.train("whole", options).succeeded();
    let moments = [
        after("epoch=1", 0),
        after("epoch=2", 20),
        after("results:", 20),
    ];
    let times = interrupted(&sandbox, "parts", options, &moments);
    assert!(times > 0, "the run was over before it could be interrupted");
    assert_same(&sandbox, "whole", "parts");
}

#[test]
fn in_the_middle_of_validation() {
    let sandbox = Sandbox::new();
    // So much to validate that an interruption hardly falls elsewhere.
    super::pictures::draw(&sandbox.path("data"), &[("train", 4), ("valid", 60)]);
    let options = "--epochs 8 --freeze false --image-size 96 --optimizer adam";
    sandbox.train("whole", options).succeeded();
    let moments = [after("epoch=1", 20), after("epoch=2", 40)];
    let times = interrupted(&sandbox, "parts", options, &moments);
    assert!(times > 0, "the run was over before it could be interrupted");
    assert_same(&sandbox, "whole", "parts");
}

#[test]
fn frozen_with_and_without_computed_features() {
    let sandbox = Sandbox::with_pictures();
    for (name, options) in [
        ("features", "--epochs 300"),
        (
            "images",
            "--epochs 6 --image-size 96 --augmentation crop --optimizer rmsprop",
        ),
    ] {
        let [whole, parts] = ["whole", "parts"].map(|part| format!("{name}-{part}"));
        sandbox.train(&whole, options).succeeded();
        // On the way back `resumed` comes before the features are computed again.
        let moments = [
            after("epoch=2", 0),
            after("results:", 0),
            after("epoch=4", 1),
        ];
        let times = interrupted(&sandbox, &parts, options, &moments);
        assert!(times > 0, "the run was over before it could be interrupted");
        assert_same(&sandbox, &whole, &parts);
    }
}

#[test]
fn after_a_crash_the_last_checkpoint_counts() {
    let sandbox = Sandbox::with_pictures();
    let options = "--epochs 12 --freeze false --image-size 96 --ema-decay 0.5";
    sandbox.train("whole", options).succeeded();

    let mut running = Running::start(sandbox.training("parts", options));
    assert!(running.wait_for("epoch=1"));
    running.signal("INT");
    running.end().failed(130, &["--resume parts"]);
    for moment in [
        after("results:", 30),
        after("epoch=3", 0),
        after("epoch=4", 5),
    ] {
        let mut running = Running::start(sandbox.command(&["--resume", "parts"]));
        assert!(running.wait_for(moment.0));
        thread::sleep(moment.1);
        running.signal("KILL");
        assert_eq!(
            running.end().code,
            None,
            "the run was over before it could be killed"
        );
    }
    sandbox.run(&["--resume", "parts"]).succeeded();
    assert_same(&sandbox, "whole", "parts");
}

#[test]
fn after_sigterm_the_model_is_made_again_from_all_epochs() {
    let sandbox = Sandbox::with_pictures();
    let options = "--epochs 12 --freeze false --image-size 96 --augmentation trivial";
    sandbox.train("whole", options).succeeded();
    let mut running = Running::start(sandbox.training("parts", options));
    assert!(running.wait_for("epoch=2"));
    running.signal("TERM");
    let ended = running.end().succeeded();
    assert!(ended.stderr.contains("stopped by SIGTERM"), "{ended:?}");
    assert!(sandbox.results("parts").len() < 12);
    sandbox.run(&["--resume", "parts"]).succeeded();
    assert_same(&sandbox, "whole", "parts");
}

#[test]
fn a_run_that_died_before_its_first_checkpoint_says_so() {
    let sandbox = Sandbox::with_pictures();
    let options = "--epochs 1000 --freeze false --image-size 96";
    let mut running = Running::start(sandbox.training("run", options));
    assert!(running.wait_for("epoch=1"));
    running.signal("KILL");
    assert_eq!(running.end().code, None);
    sandbox
        .run(&["--resume", "run"])
        .failed(1, &["--resume run", "no checkpoint"]);
}

#[test]
fn a_finished_run_stays_as_it_is_and_can_be_made_longer() {
    let sandbox = Sandbox::with_pictures();
    let options = "--freeze false --augmentation crop --lr-scheduler constant --warmup-epochs 0";
    sandbox
        .train("whole", &format!("{options} --epochs 4"))
        .succeeded();
    sandbox
        .train("parts", &format!("{options} --epochs 2"))
        .succeeded();
    let before = sandbox.read("parts/model/model.safetensors");
    let ended = sandbox.run(&["--resume", "parts"]).succeeded();
    assert!(ended.epochs().is_empty(), "{}", ended.stdout);
    assert!(before == sandbox.read("parts/model/model.safetensors"));
    assert_eq!(sandbox.results("parts").len(), 2);

    let ended = sandbox
        .run(&["--resume", "parts", "--epochs", "4"])
        .succeeded();
    assert_eq!(ended.epochs().len(), 2, "{}", ended.stdout);
    assert_same(&sandbox, "whole", "parts");
}

#[test]
fn what_cannot_be_resumed_is_named() {
    let sandbox = Sandbox::with_pictures();
    sandbox
        .run(&["--resume"])
        .failed(1, &["--resume", "no run", "runs"]);
    sandbox
        .run(&["--resume", "nowhere"])
        .failed(1, &["nowhere"]);
    sandbox.train("runs/mine", "--epochs 1").succeeded();
    // Without a name the newest run is taken.
    sandbox.run(&["--resume"]).succeeded();
    sandbox
        .run(&["--resume", "runs/mine", "--output", "x"])
        .failed(1, &["--output"]);

    let added = sandbox.path("data/train/2.bee/added.jpg");
    fs::copy(sandbox.path("data/train/2.bee/0.jpg"), &added).unwrap();
    sandbox
        .run(&["--resume", "runs/mine"])
        .failed(1, &["last.safetensors", "other images"]);
    fs::remove_file(added).unwrap();

    let path = sandbox.path("runs/mine/weights/last.safetensors");
    let whole = fs::read(&path).unwrap();
    for length in [0, 7, 200, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        sandbox
            .run(&["--resume", "runs/mine"])
            .failed(1, &["last.safetensors"]);
    }
    fs::write(&path, &whole).unwrap();
    fs::write(sandbox.path("runs/mine/args.json"), "{").unwrap();
    sandbox
        .run(&["--resume", "runs/mine"])
        .failed(1, &["args.json"]);
}
