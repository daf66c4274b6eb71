//! The model directory: its files are one network, exports compute the same, and damage is noticed.

use std::{fs, path::Path};

use burn::tensor::{Device, Tensor, TensorData};
use sagemaker_burn::{
    artifact::{Artifact, Examples},
    model::{Mode, ResNet, onnx, read_safetensors},
};
use serde_json::Value;

use crate::model_golden::largest_difference;

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

/// The mean colour of the example photo with this name.
fn colour(examples: &Examples, name: &str) -> [u64; 3] {
    let bytes = examples.read(name).unwrap();
    let image = image::load_from_memory(&bytes).unwrap().to_rgb8();
    assert_eq!(image.dimensions(), (112, 112), "{name}");
    let sum = |channel: usize| {
        image
            .pixels()
            .map(|pixel| u64::from(pixel[channel]))
            .sum::<u64>()
    };
    [0, 1, 2].map(|channel| sum(channel) / (112 * 112))
}

#[test]
fn examples_of_each_class_lie_in_the_directory_and_in_its_archive() {
    let sandbox = Sandbox::with_pictures();
    // Passed over, in favour of the next.
    fs::write(sandbox.path("data/train/2.bee/0.jpg"), "broken").unwrap();
    sandbox.train("run", "--epochs 1").succeeded();
    let expected: Vec<String> = (0..3)
        .flat_map(|class| (1..3).map(move |n| format!("000{class}-{n}.jpg")))
        .collect();
    assert_eq!(sandbox.list("run/model/examples"), expected);
    let manifest = sandbox.json("run/model/manifest.json");
    assert_eq!(manifest["examples"], serde_json::json!([2, 2, 2]));
    let packed = std::process::Command::new("tar")
        .args(["-czf", "model.tar.gz", "-C", "run/model", "."])
        .current_dir(sandbox.root())
        .status();
    assert!(packed.unwrap().success());
    for place in ["run", "model.tar.gz"] {
        let artifact = Artifact::load(&sandbox.path(place), &Device::flex()).unwrap();
        let examples = artifact.into_examples();
        let found: Vec<(usize, String)> = examples.names().collect();
        assert_eq!(found.len(), expected.len());
        for ((class, name), expected) in found.iter().zip(&expected) {
            assert_eq!(name, expected);
            // The pictures are noise around their class's colour.
            for (found, expected) in colour(&examples, name).iter().zip(CLASSES[*class].1) {
                let apart = found.abs_diff(expected.into());
                assert!(apart < 20, "{place} {name}: {apart}");
            }
        }
        assert!(examples.read("../manifest.json").is_err());
    }
}

#[test]
fn examples_can_be_left_out_and_are_not_needed() {
    let sandbox = Sandbox::with_pictures();
    sandbox.train("run", "--epochs 1 --examples 3").succeeded();
    assert_eq!(sandbox.list("run/model/examples").len(), 9);
    // The model is whole without them.
    fs::remove_dir_all(sandbox.path("run/model/examples")).unwrap();
    sandbox.run(&["eval", "run", "--data", "data"]).succeeded();
    let resume = |examples: &str| {
        let options = ["--resume", "run", "--epochs", "2", "--examples", examples];
        sandbox.run(&options).succeeded()
    };
    resume("1");
    assert_eq!(sandbox.list("run/model/examples").len(), 3);
    resume("0");
    let without = ["manifest.json", "model.onnx", "model.safetensors"];
    assert_eq!(sandbox.list("run/model"), without);
    assert!(sandbox.json("run/model/manifest.json")["examples"].is_null());
}

#[test]
fn a_class_without_readable_photos_has_no_example_and_is_named() {
    let sandbox = Sandbox::with_pictures();
    for entry in fs::read_dir(sandbox.path("data/train/wild cat")).unwrap() {
        fs::write(entry.unwrap().path(), "broken").unwrap();
    }
    let ended = sandbox.train("run", "--epochs 1").succeeded();
    let warning = "no example photo of class \"wild cat\"";
    assert_eq!(ended.stderr.matches(warning).count(), 1, "{}", ended.stderr);
    let manifest = sandbox.json("run/model/manifest.json");
    assert_eq!(manifest["examples"], serde_json::json!([2, 2, 0]));
}
