//! `eval` and `predict` with a trained model.

use std::fs;

use serde_json::Value;

use super::{
    pictures::CLASSES,
    run::{Sandbox, finish, python},
};

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn eval_agrees_with_the_end_of_training() {
    let sandbox = Sandbox::with_model();
    let ended = sandbox
        .run(&["eval", "run/model", "--data", "data", "--json"])
        .succeeded();
    let scores: Value = serde_json::from_str(&ended.stdout).unwrap();
    let metrics = sandbox.json("run/model/manifest.json")["metrics"].clone();
    assert_eq!(scores["images"], 12);
    assert_eq!(scores["top1"], metrics["test:accuracy"]);
    let difference = scores["loss"].as_f64().unwrap() - metrics["test:loss"].as_f64().unwrap();
    assert!(difference.abs() < 1e-5, "{scores} {metrics}");

    let arguments = [
        "eval", "run", "--data", "data", "--split", "valid", "--output", "scores", "--top-k", "2",
    ];
    let text = sandbox.run(&arguments).succeeded().stdout;
    for part in ["precision", "recall", "f1", "confusion", "wild cat", "top2"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let kept = sandbox.json("scores/metrics.json");
    assert_eq!(kept["top1"], metrics["validation:accuracy"]);
    let rows = kept["confusion"].as_array().unwrap();
    let table = sandbox.text("scores/confusion.csv");
    assert_eq!(table.lines().count(), rows.len() + 1);
    for (line, row) in table.lines().skip(1).zip(rows) {
        let cells: Vec<Value> = line
            .split(',')
            .skip(1)
            .map(|cell| cell.parse::<u64>().unwrap().into())
            .collect();
        assert_eq!(cells, *row.as_array().unwrap());
    }
    sandbox
        .run(&["eval", "run", "--data", "data", "--split", "tset"])
        .failed(1, &["tset", "valid"]);
    sandbox
        .run(&["eval", "run", "--data", "nowhere"])
        .failed(1, &["nowhere"]);
}

#[test]
fn every_choice_of_kernels_gives_the_same_probabilities() {
    let sandbox = Sandbox::with_model();
    let predict = |kernels: &str| {
        let arguments = ["predict", "--model", "run", "--json", "data/test/2.bee"];
        let mut command = sandbox.command(&arguments);
        command.env("SAGEMAKER_BURN_KERNELS", kernels);
        finish(command).succeeded()
    };
    let probabilities = |text: &str| -> Vec<f64> {
        let lines = json_lines(text);
        let guesses = lines
            .iter()
            .flat_map(|line| line["predictions"].as_array().unwrap());
        guesses
            .map(|guess| guess["probability"].as_f64().unwrap())
            .collect()
    };
    let best = probabilities(&predict("").stdout);
    assert!(best.len() >= 12);
    for kernels in ["direct", "plain", "plain,direct"] {
        let found = probabilities(&predict(kernels).stdout);
        let pairs = best.iter().zip(&found);
        let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(
            found.len() == best.len() && difference < 1e-4,
            "{kernels}: {difference:e}"
        );
    }
    let nonsense = predict("abacus");
    assert!(
        nonsense
            .stderr
            .contains("SAGEMAKER_BURN_KERNELS: abacus is ignored")
    );
    assert_eq!(probabilities(&nonsense.stdout), best);
}

#[test]
fn predict_gives_what_eval_counts() {
    let sandbox = Sandbox::with_model();
    let ended = sandbox
        .run(&["eval", "run", "--data", "data", "--json"])
        .succeeded();
    let scores: Value = serde_json::from_str(&ended.stdout).unwrap();
    let mut confusion = vec![vec![0; CLASSES.len()]; CLASSES.len()];
    for (index, (class, _)) in CLASSES.iter().enumerate() {
        let folder = format!("data/test/{class}");
        let ended = sandbox
            .run(&["predict", "--model", "run", "--json", &folder])
            .succeeded();
        let lines = json_lines(&ended.stdout);
        assert_eq!(lines.len(), 4, "{class}");
        for line in lines {
            let best = &line["predictions"][0];
            let predicted = best["index"].as_u64().unwrap() as usize;
            assert_eq!(best["class"], CLASSES[predicted].0);
            confusion[index][predicted] += 1;
        }
    }
    assert_eq!(scores["confusion"], serde_json::json!(confusion));
}

#[test]
fn probabilities_are_sorted_and_add_up() {
    let sandbox = Sandbox::with_model();
    let image = "data/test/wild cat/1.png";
    let predictions = |top_k: &str| {
        let arguments = [
            "predict", "--json", "--model", "run", "--top-k", top_k, image,
        ];
        let line = json_lines(&sandbox.run(&arguments).succeeded().stdout).remove(0);
        assert_eq!(line["image"], image);
        line["predictions"].as_array().unwrap().clone()
    };
    let probabilities = |found: &[Value]| -> Vec<f64> {
        found
            .iter()
            .map(|guess| guess["probability"].as_f64().unwrap())
            .collect()
    };
    let all = probabilities(&predictions("5"));
    assert_eq!(all.len(), CLASSES.len());
    assert!(all.is_sorted_by(|a, b| a >= b), "{all:?}");
    assert!((all.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{all:?}");
    assert_eq!(probabilities(&predictions("2")), all[..2]);

    let text = sandbox
        .run(&["predict", "--model", "run", image])
        .succeeded()
        .stdout;
    assert!(text.starts_with(image), "{text}");
    assert!(text.contains(&format!("{:.2} %", all[0] * 100.0)), "{text}");
}

#[test]
fn predict_finds_the_newest_model_and_names_what_is_missing() {
    let sandbox = Sandbox::with_pictures();
    let image = "data/test/2.bee/0.jpg";
    sandbox
        .run(&["predict", image])
        .failed(1, &["--model", "runs"]);
    sandbox.train("runs/mine", "--epochs 1").succeeded();
    let ended = sandbox.run(&["predict", image]).succeeded();
    assert!(ended.stderr.contains("runs/mine"), "{}", ended.stderr);
    sandbox
        .run(&["predict", "nowhere.jpg"])
        .failed(1, &["nowhere.jpg"]);
    fs::create_dir(sandbox.path("bare")).unwrap();
    sandbox
        .run(&["predict", "bare"])
        .failed(1, &["bare", "no images"]);
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8_are_no_obstacle() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};

    let sandbox = Sandbox::with_pictures();
    let odd = |name: &[u8]| OsString::from_vec(name.to_vec());
    let source = sandbox.path("data/test/2.bee/0.jpg");
    let Ok(_) = fs::copy(&source, sandbox.root().join(odd(b"pho\xffto.jpg"))) else {
        println!("skipped: this file system takes UTF-8 only");
        return;
    };
    fs::copy(
        &source,
        sandbox.path("data/train/2.bee").join(odd(b"\xff\n0.jpg")),
    )
    .unwrap();
    fs::write(
        sandbox.path("data/train/2.bee").join(odd(b"\xffbad.jpg")),
        "x",
    )
    .unwrap();
    let mut command = sandbox.training("run", "--epochs 1");
    // Ignored, but part of the command line that is kept.
    command.arg("--hyperparameters").arg(odd(b"h\xff.json"));
    fs::write(sandbox.root().join(odd(b"h\xff.json")), "{}").unwrap();
    let ended = finish(command).succeeded();
    assert_eq!(
        ended.stderr.matches("warning: ").count(),
        1,
        "{}",
        ended.stderr
    );

    let mut command = sandbox.command(&["predict", "--json", "--model", "run"]);
    command
        .arg(odd(b"pho\xffto.jpg"))
        .arg(odd(b"not h\xffere.jpg"));
    let lines = json_lines(&finish(command).failed(1, &[]).stdout);
    assert!(lines[0]["predictions"].is_array(), "{lines:?}");
    assert!(lines[1]["error"].is_string(), "{lines:?}");
}

#[cfg(unix)]
#[test]
fn nobody_reading_is_no_panic() {
    let sandbox = Sandbox::with_model();
    let commands: [&[&str]; 6] = [
        &["predict", "--model", "run", "data/test/2.bee"],
        &["eval", "run", "--data", "data"],
        &["inspect", "data", "--json"],
        &["zoo", "list"],
        &["completions", "bash"],
        &["--dry-run"],
    ];
    for arguments in commands {
        let mut command = sandbox.command(arguments);
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
    // Training goes on without its reader.
    let mut command = sandbox.training("unread", "--epochs 3");
    command.stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(sandbox.results("unread").len(), 3);
}

/// The expected calibration error and the Brier score, from what `predict` says of each photo.
const CALIBRATION: &str = r#"
import json, sys
import numpy
lines, classes = [open(path) for path in sys.argv[1:]]
classes = json.load(classes)
rows, targets = [], []
for line in map(json.loads, lines):
    by_class = {each["class"]: each["probability"] for each in line["predictions"]}
    rows.append([by_class[name] for name in classes])
    folder = line["image"].split("/")[-2]
    targets.append(classes.index(folder))
p, y = numpy.array(rows), numpy.array(targets)
confidence, right = p.max(1), p.argmax(1) == y
bins = numpy.clip(numpy.ceil(confidence * 15).astype(int), 1, 15)
ece = sum(abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in range(1, 16) if (bins == b).any())
print(json.dumps({"ece": ece, "top1": right.mean(), "images": len(y)}))
"#;

#[test]
fn numpy_computes_the_same_calibration() {
    let sandbox = Sandbox::with_model();
    let scores = sandbox.run(&["eval", "run", "--data", "data", "--json"]);
    let scores: Value = serde_json::from_str(&scores.succeeded().stdout).unwrap();
    let folders = CLASSES.map(|(class, _)| format!("data/test/{class}"));
    let mut predict = vec!["predict", "--model", "run", "--json", "--top-k", "3"];
    predict.extend(folders.iter().map(String::as_str));
    let answers = sandbox.run(&predict).succeeded().stdout;
    fs::write(sandbox.path("answers"), answers).unwrap();
    let classes = sandbox.json("run/model/manifest.json")["classes"].to_string();
    fs::write(sandbox.path("classes"), classes).unwrap();
    let files = [sandbox.path("answers"), sandbox.path("classes")];
    let Some(found) = python(&["numpy"], CALIBRATION, &[&files[0], &files[1]]) else {
        return;
    };
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["images"], scores["images"]);
    assert_eq!(found["top1"], scores["top1"]);
    let difference = found["ece"].as_f64().unwrap() - scores["ece"].as_f64().unwrap();
    assert!(difference.abs() < 1e-5, "{found} {scores}");
}
