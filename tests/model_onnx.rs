//! ONNX files of every exporter give onnxruntime's logits, and our own exports read back bit for bit.

use std::{collections::BTreeMap, path::PathBuf};

use burn::tensor::Device;
use sagemaker_burn::artifact::{self, Artifact, Manifest};
use sagemaker_burn::data::Preprocess;
use sagemaker_burn::model::{
    Mode, ResNet, ResNetConfig,
    config::Architecture,
    onnx::{BatchNormOrigin, ExportOptions, OnnxErrorKind, export, load},
    state_dict,
};

use crate::model_golden::{difference, golden, images, path, shape};

/// Stated tolerance of the logits.
const TOLERANCE: f32 = 1e-4;

#[test]
fn every_kind_of_file_gives_the_logits_of_onnxruntime() {
    let device = Device::flex();
    for case in golden()["cases"].as_array().unwrap() {
        let file = case["file"].as_str().unwrap();
        let imported = load(&path(file), &device).unwrap();
        let config = &imported.config;
        assert_eq!(config.architecture.name(), case["architecture"], "{file}");
        assert_eq!(config.width, case["width"], "{file}");
        assert_eq!(config.num_classes, case["num_classes"], "{file}");
        assert_eq!(config.stride_in_1x1, case["stride_in_1x1"], "{file}");
        assert_eq!(config.bn_epsilon, 1e-5, "{file}");
        let is_folded = case["batch_norm"] == "folded";
        assert_eq!(
            imported.batch_norm == BatchNormOrigin::Folded,
            is_folded,
            "{file}"
        );
        assert_eq!(imported.model.has_frozen_batch_norm(), is_folded, "{file}");
        let input = images(shape(&case["input"]), &device);
        let found = difference(imported.model.forward(input, Mode::Eval), &case["logits"]);
        println!("{file}: largest difference {found:.1e}");
        assert!(found <= TOLERANCE, "{file}: {found}");
    }
}

#[test]
fn the_published_resnet18_gives_the_logits_of_onnxruntime() {
    let shared = std::env::var_os("SAGEMAKER_BURN_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let file = shared.join("model-zoo/resnet18-imagenet.onnx");
    if !file.exists() {
        println!("skipped: no pretrained resnet18-imagenet.onnx");
        return;
    }
    let device = Device::flex();
    let imported = load(&file, &device).unwrap();
    assert_eq!(imported.config.architecture, Architecture::Resnet18);
    assert_eq!(
        (imported.config.width, imported.config.num_classes),
        (64, 1000)
    );
    let case = &golden()["pretrained"];
    let input = images(shape(&case["input"]), &device);
    let found = difference(imported.model.forward(input, Mode::Eval), &case["logits"]);
    println!("largest difference {found:.1e}");
    assert!(found <= TOLERANCE, "{found}");
}

#[test]
fn folded_and_kept_batch_norms_are_the_same_network() {
    let device = Device::flex();
    let logits = |file: &str| {
        let imported = load(&path(file), &device).unwrap();
        let input = images([2, 3, 32, 40], &device);
        // Folded files must not see the statistics of a batch, whatever the mode.
        let mode = match imported.batch_norm {
            BatchNormOrigin::Kept => Mode::Eval,
            BatchNormOrigin::Folded => Mode::Train,
        };
        imported.model.forward(input, mode)
    };
    let difference = logits("resnet18-kept.onnx") - logits("resnet18-folded.onnx");
    assert!(difference.abs().max().into_scalar::<f32>() < 1e-5);
}

/// Training on the statistics of a batch would change what a folded network computes, however often it was written and
/// read in between.
#[test]
fn folded_batch_norms_stay_frozen_through_every_file() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let origin = load(&path("resnet18-folded.onnx"), &device).unwrap();
    assert_eq!(origin.config, *origin.model.config());
    let mut model = origin.model.with_new_head(2, 1).unwrap();
    let input = images([2, 3, 32, 40], &device);
    let expected = model.forward(input.clone(), Mode::Eval).into_data();

    let classes = ["ant", "bee"].map(String::from).to_vec();
    for round in 0..2 {
        let manifest = Manifest::new(
            model.config().clone(),
            classes.clone(),
            Preprocess::imagenet(32),
            None,
            BTreeMap::new(),
            Vec::new(),
        );
        let place = folder.path().join(round.to_string());
        artifact::save(&place, &model, manifest).unwrap();
        let exported = load(&place.join(artifact::ONNX), &device).unwrap();
        assert_eq!(exported.batch_norm, BatchNormOrigin::Folded);
        assert_eq!(exported.config, *model.config());
        assert!(!exported.metadata.contains_key("batch_norm_frozen"));
        model = Artifact::load(&place, &device).unwrap().model;
        for reloaded in [&model, &exported.model] {
            assert!(reloaded.has_frozen_batch_norm());
            let found = reloaded.forward(input.clone(), Mode::Train).into_data();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn an_export_reads_back_bit_for_bit() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for (architecture, stride_in_1x1) in [
        (Architecture::Resnet18, false),
        (Architecture::Resnet34, false),
        (Architecture::Resnet50, true),
    ] {
        let config = ResNetConfig {
            width: 2,
            stride_in_1x1,
            bn_epsilon: 2e-5,
            ..ResNetConfig::new(architecture, 3)
        };
        let model = ResNet::new(&config, 7, &device).unwrap();
        // Training gives statistics that are not those of a fresh network.
        model.forward(images([2, 3, 64, 64], &device), Mode::Train);
        let metadata = BTreeMap::from([("classes".to_owned(), r#"["ant","bee"]"#.to_owned())]);
        let options = ExportOptions {
            metadata: metadata.clone(),
            ..ExportOptions::default()
        };
        export(&model, &path, &options).unwrap();
        let imported = load(&path, &device).unwrap();
        assert_eq!(imported.config, config);
        assert_eq!(imported.metadata, metadata);
        assert_eq!(imported.batch_norm, BatchNormOrigin::Kept);
        assert_eq!(state_dict(&imported.model), state_dict(&model));
    }
}

#[test]
fn a_folded_export_computes_the_same() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("folded.onnx");
    let model = load(&path("resnet50-kept.onnx"), &device).unwrap().model;
    let options = ExportOptions {
        fold_batch_norm: true,
        image_size: None,
        ..ExportOptions::default()
    };
    export(&model, &file, &options).unwrap();
    let folded = load(&file, &device).unwrap();
    assert_eq!(folded.batch_norm, BatchNormOrigin::Folded);
    let logits = |m: &ResNet| m.forward(images([2, 3, 64, 64], &device), Mode::Eval);
    let difference = (logits(&model) - logits(&folded.model)).abs().max();
    assert!(difference.into_scalar::<f32>() < 1e-5);
}

#[test]
fn a_missing_folder_is_named() {
    let model = ResNet::new(
        &ResNetConfig {
            width: 1,
            ..ResNetConfig::new(Architecture::Resnet18, 2)
        },
        0,
        &Device::flex(),
    )
    .unwrap();
    let path = path("no-such-folder/model.onnx");
    let error = export(&model, &path, &ExportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no-such-folder"), "{error}");
}

/// The kind of error of a golden file, and its text.
fn refusal(file: &str) -> (OnnxErrorKind, String) {
    let error = load(&path(file), &Device::flex()).unwrap_err();
    let text = error.to_string();
    println!("{text}");
    assert!(text.contains(file), "the error must name the file: {text}");
    (error.kind, text)
}

#[test]
fn says_what_is_wrong_with_a_file() {
    let (kind, text) = refusal("refused-v2.onnx");
    assert!(matches!(kind, OnnxErrorKind::PreActivation { .. }));
    assert!(text.contains("v1"), "{text}");
    let (kind, text) = refusal("refused-small-cnn.onnx");
    assert!(matches!(kind, OnnxErrorKind::NotAResNet(_)));
    assert!(text.contains("MaxPool"), "{text}");
    let (kind, text) = refusal("refused-training.onnx");
    assert!(matches!(kind, OnnxErrorKind::TrainingMode { .. }));
    assert!(text.contains("model.eval()"), "{text}");
    let (kind, _) = refusal("refused-truncated.onnx");
    assert!(matches!(kind, OnnxErrorKind::Truncated(_)));
    let (kind, _) = refusal("no-such-file.onnx");
    assert!(matches!(kind, OnnxErrorKind::Io(_)));
    let (kind, _) = refusal("golden.json");
    assert!(matches!(
        kind,
        OnnxErrorKind::Parse(_) | OnnxErrorKind::Truncated(_)
    ));
}

/// Writes exports and their logits for `scripts/check_onnx_export.py`.
#[test]
#[ignore = "run by scripts/check_onnx_export.py"]
fn writes_exports_for_onnxruntime() {
    let folder = PathBuf::from(std::env::var_os("SAGEMAKER_BURN_EXPORTS").unwrap());
    let device = Device::flex();
    for golden in [
        "resnet18-kept.onnx",
        "resnet34-folded.onnx",
        "mxnet-resnet50v1.onnx",
    ] {
        let model = load(&path(golden), &device).unwrap().model;
        let logits = model.forward(images([3, 3, 96, 96], &device), Mode::Eval);
        let logits = logits.into_data().try_into_vec::<f32>().unwrap();
        for fold_batch_norm in [false, true] {
            let options = ExportOptions {
                image_size: (!fold_batch_norm).then_some([96, 96]),
                fold_batch_norm,
                metadata: BTreeMap::from([("classes".to_owned(), "[]".to_owned())]),
                ..ExportOptions::default()
            };
            let file = folder.join(format!("{fold_batch_norm}-{golden}"));
            export(&model, &file, &options).unwrap();
            let json = serde_json::to_string(&logits).unwrap();
            std::fs::write(file.with_extension("json"), json).unwrap();
        }
    }
}
