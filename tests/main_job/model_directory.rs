//! The model directory and the commands that start from it: `eval`, `predict`, `export`.

use std::{fs, path::Path};

use burn::tensor::{Device, Tensor, TensorData};
use sagemaker_burn::{
    artifact::Artifact,
    model::{Mode, ResNet, onnx, read_safetensors},
};
use serde_json::Value;

use super::{
    pictures::CLASSES,
    run::{Sandbox, python},
};

/// A sandbox with a trained model in `run`.
fn trained() -> Sandbox {
    let sandbox = Sandbox::with_pictures();
    sandbox
        .train("run", "--freeze false --learning-rate 0.003 --epochs 3")
        .succeeded();
    sandbox
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Some images as a network takes them.
fn inputs() -> TensorData {
    let values = (0..2 * 3 * 32 * 32).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0);
    TensorData::new(values.collect::<Vec<f32>>(), [2, 3, 32, 32])
}

fn logits(model: &ResNet) -> Vec<f32> {
    let images = Tensor::<4>::from_data(inputs(), &Device::flex());
    model
        .forward(images, Mode::Eval)
        .into_data()
        .iter::<f32>()
        .collect()
}

fn onnx_logits(path: &Path) -> Vec<f32> {
    logits(&onnx::load(path, &Device::flex()).unwrap().model)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn eval_agrees_with_the_end_of_training() {
    let sandbox = trained();
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
fn predict_gives_what_eval_counts() {
    let sandbox = trained();
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
    let sandbox = trained();
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

#[test]
fn the_onnx_file_is_the_same_network() {
    let sandbox = trained();
    let artifact = Artifact::load(&sandbox.path("run"), &Device::flex()).unwrap();
    let expected = logits(&artifact.model);
    let found = onnx_logits(&sandbox.path("run/model/model.onnx"));
    assert!(largest_difference(&expected, &found) <= 1e-5);
}

#[test]
fn exports_compute_the_same() {
    let sandbox = trained();
    let expected = logits(
        &Artifact::load(&sandbox.path("run"), &Device::flex())
            .unwrap()
            .model,
    );
    let export = |more: &[&str]| {
        let mut arguments = vec!["export", "--model", "run"];
        arguments.extend(more);
        sandbox.run(&arguments)
    };
    export(&["--output", "kept.onnx"]).succeeded();
    export(&["--output", "folded.onnx", "--fold-batch-norm"]).succeeded();
    export(&["--output", "named", "--format", "onnx"]).succeeded();
    for (file, tolerance) in [("kept.onnx", 1e-5), ("named", 1e-5), ("folded.onnx", 1e-4)] {
        let difference = largest_difference(&expected, &onnx_logits(&sandbox.path(file)));
        assert!(difference <= tolerance, "{file}: {difference}");
    }
    assert!(sandbox.read("folded.onnx").len() < sandbox.read("kept.onnx").len());

    export(&["--output", "weights.safetensors"]).succeeded();
    let (tensors, metadata) = read_safetensors(&sandbox.path("weights.safetensors")).unwrap();
    let names = ["conv1.weight", "layer4.1.bn2.running_var", "fc.bias"];
    assert!(
        names
            .iter()
            .all(|name| tensors.iter().any(|(found, _)| found == name))
    );
    let classes: Vec<String> = serde_json::from_str(&metadata["classes"]).unwrap();
    assert_eq!(classes, CLASSES.map(|(name, _)| name));

    export(&["--output", "model.bin"]).failed(1, &["model.bin", ".onnx", ".safetensors"]);
    export(&["--output", "x.safetensors", "--fold-batch-norm"]).failed(1, &["--fold-batch-norm"]);
    assert!(!sandbox.path("x.safetensors").exists());
}

#[test]
fn onnxruntime_computes_the_same() {
    let sandbox = trained();
    sandbox
        .run(&[
            "export",
            "--model",
            "run",
            "--output",
            "folded.onnx",
            "--fold-batch-norm",
        ])
        .succeeded();
    fs::write(sandbox.path("inputs.bin"), inputs().as_bytes()).unwrap();
    let program = "
import json, sys, numpy, onnxruntime
images = numpy.fromfile(sys.argv[2], numpy.float32).reshape(2, 3, 32, 32)
session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
one = session.run(['logits'], {'input': images[:1]})[0]
both = session.run(['logits'], {'input': images})[0]
assert abs(one[0] - both[0]).max() < 1e-4
print(json.dumps(both.ravel().tolist()))
";
    let expected = logits(
        &Artifact::load(&sandbox.path("run"), &Device::flex())
            .unwrap()
            .model,
    );
    for file in ["run/model/model.onnx", "folded.onnx"] {
        let arguments = [sandbox.path(file), sandbox.path("inputs.bin")];
        let arguments = arguments.each_ref().map(|path| path.as_path());
        let Some(text) = python(&["onnxruntime"], program, &arguments) else {
            return;
        };
        let found: Vec<f32> = serde_json::from_str(&text).unwrap();
        let difference = largest_difference(&expected, &found);
        assert!(difference <= 1e-4, "{file}: {difference}");
    }
}

#[test]
fn a_damaged_directory_is_refused_by_every_command() {
    let sandbox = trained();
    let refused = |said: &[&str]| {
        sandbox
            .run(&["predict", "--model", "run", "data/test/2.bee/0.jpg"])
            .failed(1, said);
        sandbox
            .run(&["eval", "run", "--data", "data"])
            .failed(1, said);
        sandbox
            .run(&["export", "--model", "run", "--output", "x.onnx"])
            .failed(1, said);
        assert!(!sandbox.path("x.onnx").exists());
    };
    for (name, said) in [
        ("model.safetensors", "damaged"),
        ("model.onnx", "damaged"),
        ("manifest.json", "manifest"),
    ] {
        let path = sandbox.path("run/model").join(name);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        if name == "manifest.json" {
            changed.truncate(middle);
        } else {
            changed[middle] ^= 1;
        }
        fs::write(&path, &changed).unwrap();
        refused(&[name, said]);
        fs::write(&path, &whole[..0]).unwrap();
        refused(&[name]);
        fs::remove_file(&path).unwrap();
        refused(&[if name == "manifest.json" {
            "no model here"
        } else {
            name
        }]);
        fs::write(&path, &whole).unwrap();
    }
    sandbox
        .run(&["predict", "--model", "data", "data/test/2.bee/0.jpg"])
        .failed(1, &["no model here"]);
    sandbox.run(&["eval", "run", "--data", "data"]).succeeded();
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let sandbox = trained();
    let whole = sandbox.json("run/model/manifest.json");
    let refused = |change: fn(&mut Value), said: &str| {
        let mut manifest = whole.clone();
        change(&mut manifest);
        fs::write(
            sandbox.path("run/model/manifest.json"),
            manifest.to_string(),
        )
        .unwrap();
        sandbox
            .run(&["predict", "--model", "run", "data/test/2.bee/0.jpg"])
            .failed(1, &["manifest.json", said]);
    };
    refused(|m| m["format"] = "something else".into(), "something else");
    refused(|m| m["classes"] = serde_json::json!(["a"]), "classes");
    refused(|m| m["files"] = serde_json::json!({}), "model.safetensors");
    refused(
        |m| m["files"] = serde_json::json!({"../x": {"bytes": 1, "sha256": ""}}),
        "../x",
    );
    refused(|m| m["preprocess"] = Value::Null, "manifest");
}
