//! The model directory: its files are one network, exports compute the same, and damage is noticed.

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
fn the_onnx_file_is_the_same_network() {
    let sandbox = Sandbox::with_model();
    let artifact = Artifact::load(&sandbox.path("run"), &Device::flex()).unwrap();
    let expected = logits(&artifact.model);
    let found = onnx_logits(&sandbox.path("run/model/model.onnx"));
    assert!(largest_difference(&expected, &found) <= 1e-5);
}

#[test]
fn exports_compute_the_same() {
    let sandbox = Sandbox::with_model();
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
    let sandbox = Sandbox::with_model();
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
    let sandbox = Sandbox::with_model();
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
    let sandbox = Sandbox::with_model();
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
