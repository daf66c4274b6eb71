//! Broken and hostile ONNX files give a named error, quickly and without a panic.

use std::{fs, path::Path};

use burn::tensor::Device;
use onnx_ir::{Message, ModelProto, NodeProto};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sagemaker_burn::model::onnx::{Imported, OnnxError, OnnxErrorKind, load};

use crate::model_golden::path;

fn load_bytes(bytes: &[u8], folder: &Path) -> Result<Imported, OnnxError> {
    let file = folder.join("model.onnx");
    // Writing over an old file would wait for the disk.
    let _ = fs::remove_file(&file);
    fs::write(&file, bytes).unwrap();
    load(&file, &Device::flex())
}

/// Loads a golden file after `change`, which must fail.
fn refused(golden: &str, change: impl FnOnce(&mut ModelProto)) -> OnnxErrorKind {
    let folder = tempfile::tempdir().unwrap();
    let mut model = ModelProto::parse_from_bytes(&fs::read(path(golden)).unwrap()).unwrap();
    change(&mut model);
    let error = load_bytes(&model.write_to_bytes().unwrap(), folder.path()).unwrap_err();
    println!("{}", error.kind);
    error.kind
}

fn nodes<'a>(model: &'a mut ModelProto, op: &'a str) -> impl Iterator<Item = &'a mut NodeProto> {
    let graph = model.graph.as_mut().unwrap();
    graph.node.iter_mut().filter(move |n| n.op_type == op)
}

fn set_ints(node: &mut NodeProto, name: &str, values: &[i64]) {
    let attribute = node.attribute.iter_mut().find(|a| a.name == name).unwrap();
    attribute.ints = values.to_vec();
}

#[test]
fn random_damage_never_panics() {
    let mut rng = StdRng::seed_from_u64(1);
    let folder = tempfile::tempdir().unwrap();
    for golden in ["mxnet-resnet18v1.onnx", "constants-matmul-softmax.onnx"] {
        let whole = fs::read(path(golden)).unwrap();
        let (mut loaded, mut refused) = (0, 0);
        for round in 0..1500 {
            let mut bytes = whole.clone();
            if round % 3 == 0 {
                bytes.truncate(rng.random_range(0..whole.len()));
            }
            for _ in 0..rng.random_range(1..8) {
                let n = bytes.len();
                // Most of a file is weights; half of the damage goes to the names and sizes in front.
                let range = if round % 2 == 0 { n } else { n.min(12_000) };
                if range > 0 {
                    bytes[rng.random_range(0..range)] = rng.random();
                }
            }
            match load_bytes(&bytes, folder.path()) {
                Ok(_) => loaded += 1,
                Err(_) => refused += 1,
            }
        }
        println!("{golden}: {loaded} loaded, {refused} refused");
        assert!(loaded > 0 && refused > 0);
    }
}

#[test]
fn huge_dimensions_cost_nothing() {
    let kind = refused("resnet18-kept.onnx", |model| {
        for tensor in &mut model.graph.as_mut().unwrap().initializer {
            tensor.dims.iter_mut().for_each(|d| *d = i64::MAX / 2);
        }
    });
    assert!(matches!(kind, OnnxErrorKind::NotAResNet(_)), "{kind}");
    // A consistent network of width 1024 whose weights are not there.
    let kind = refused("resnet18-kept.onnx", |model| {
        for tensor in &mut model.graph.as_mut().unwrap().initializer {
            tensor
                .dims
                .iter_mut()
                .filter(|d| **d % 4 == 0)
                .for_each(|d| *d *= 256);
        }
    });
    assert!(matches!(kind, OnnxErrorKind::BadWeights { .. }), "{kind}");
}

#[test]
fn deep_nesting_is_refused() {
    // The input is a sequence of sequences of ..., ten thousand deep.
    let nested = [0x0a, 0x22].repeat(10_000);
    let mut bytes = Vec::new();
    for tag in nested.into_iter().chain([0x12, 0x5a, 0x3a]) {
        let mut message = vec![tag];
        let mut length = bytes.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.append(&mut bytes);
        bytes = message;
    }
    let folder = tempfile::tempdir().unwrap();
    let kind = load_bytes(&bytes, folder.path()).unwrap_err().kind;
    assert!(matches!(kind, OnnxErrorKind::Parse(_)), "{kind}");
    println!("{kind}");
}

#[test]
fn cycles_are_refused() {
    let kind = refused("resnet18-kept.onnx", |model| {
        let relu = nodes(model, "Relu").next().unwrap();
        relu.op_type = "Identity".to_owned();
        relu.input = relu.output.clone();
    });
    assert!(matches!(kind, OnnxErrorKind::NotAResNet(_)), "{kind}");
    let kind = refused("resnet18-kept.onnx", |model| {
        let last = nodes(model, "Add").last().unwrap().output.clone();
        nodes(model, "Conv").next().unwrap().input[0] = last[0].clone();
    });
    assert!(
        matches!(
            kind,
            OnnxErrorKind::Preprocessing { .. } | OnnxErrorKind::NotAResNet(_)
        ),
        "{kind}"
    );
}

#[test]
fn external_data_stays_in_the_folder_of_the_model() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), vec![0; 1 << 20]).unwrap();
    let absolute = secret.path().to_str().unwrap().to_owned();
    for location in [
        absolute.as_str(),
        "../external.bin",
        "a/../../external.bin",
        "",
    ] {
        let kind = refused("external.onnx", |model| {
            for tensor in &mut model.graph.as_mut().unwrap().initializer {
                tensor.external_data[0].value = location.to_owned();
            }
        });
        let text = kind.to_string();
        assert!(matches!(kind, OnnxErrorKind::ExternalData { .. }), "{text}");
        assert!(text.contains("outside"), "{text}");
    }
    // The right name, but the file isn't there.
    let kind = refused("external.onnx", |_| {});
    assert!(matches!(kind, OnnxErrorKind::ExternalData { .. }), "{kind}");
}

#[cfg(unix)]
#[test]
fn external_data_is_not_followed_through_links() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(path("external.bin"), folder.path().join("external.bin")).unwrap();
    let error = load_bytes(&fs::read(path("external.onnx")).unwrap(), folder.path()).unwrap_err();
    assert!(error.to_string().contains("outside"), "{error}");
}

#[test]
fn cut_off_external_data_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(path("external.bin")).unwrap();
    fs::write(
        folder.path().join("external.bin"),
        &whole[..whole.len() / 2],
    )
    .unwrap();
    let error = load_bytes(&fs::read(path("external.onnx")).unwrap(), folder.path()).unwrap_err();
    assert!(error.to_string().contains("cut off"), "{error}");
}

#[test]
fn other_strides_paddings_and_poolings_are_refused() {
    type Change = fn(&mut ModelProto);
    let changes: [(&str, Change); 7] = [
        ("strides", |m| {
            set_ints(nodes(m, "Conv").nth(3).unwrap(), "strides", &[2, 2])
        }),
        ("pads", |m| {
            set_ints(nodes(m, "Conv").next().unwrap(), "pads", &[2, 2, 3, 3])
        }),
        ("dilations", |m| {
            set_ints(nodes(m, "Conv").nth(2).unwrap(), "dilations", &[2, 2])
        }),
        ("kernel_shape", |m| {
            set_ints(nodes(m, "MaxPool").next().unwrap(), "kernel_shape", &[2, 2])
        }),
        ("kernel_shape", |m| {
            set_ints(nodes(m, "Conv").next().unwrap(), "kernel_shape", &[])
        }),
        ("epsilon", |m| {
            let norm = nodes(m, "BatchNormalization").nth(5).unwrap();
            norm.attribute
                .iter_mut()
                .find(|a| a.name == "epsilon")
                .unwrap()
                .f = 0.001;
        }),
        ("group", |m| {
            let conv = nodes(m, "Conv").nth(2).unwrap();
            conv.attribute
                .iter_mut()
                .find(|a| a.name == "group")
                .unwrap()
                .i = 2;
        }),
    ];
    for (word, change) in changes {
        let kind = refused("resnet18-kept.onnx", change);
        assert!(matches!(kind, OnnxErrorKind::Unsupported { .. }), "{kind}");
        assert!(kind.to_string().contains(word), "{kind}");
    }
}

#[test]
fn nodes_in_front_of_the_network_are_named() {
    let kind = refused("resnet18-kept.onnx", |model| {
        let divide = NodeProto {
            op_type: "Div".to_owned(),
            name: "normalise".to_owned(),
            input: vec!["input".to_owned(), "input".to_owned()],
            output: vec!["scaled".to_owned()],
            ..Default::default()
        };
        nodes(model, "Conv").next().unwrap().input[0] = "scaled".to_owned();
        model.graph.as_mut().unwrap().node.push(divide);
    });
    let OnnxErrorKind::Preprocessing { node, op } = kind else {
        panic!("{kind}");
    };
    assert_eq!((node.as_str(), op.as_str()), ("normalise", "Div"));
}

#[test]
fn missing_and_short_weights_are_named() {
    let kind = refused("resnet18-kept.onnx", |model| {
        let weights = &mut model.graph.as_mut().unwrap().initializer;
        weights.retain(|t| t.name != "layer3.0.conv2.weight");
    });
    assert!(
        matches!(kind, OnnxErrorKind::MissingInitializer { .. }),
        "{kind}"
    );
    assert!(kind.to_string().contains("layer3.0.conv2.weight"), "{kind}");
    let kind = refused("float-data.onnx", |model| {
        model.graph.as_mut().unwrap().initializer[0]
            .float_data
            .pop();
    });
    assert!(matches!(kind, OnnxErrorKind::BadWeights { .. }), "{kind}");
    let kind = refused("float-data.onnx", |model| {
        model.graph.as_mut().unwrap().initializer[0].data_type = 3;
    });
    assert!(kind.to_string().contains("quantized"), "{kind}");
}

#[test]
fn weights_that_are_computed_are_named() {
    let kind = refused("resnet18-kept.onnx", |model| {
        let expand = NodeProto {
            op_type: "Expand".to_owned(),
            name: "expand_0".to_owned(),
            input: vec!["bn1.weight".to_owned(), "shape".to_owned()],
            output: vec!["expanded".to_owned()],
            ..Default::default()
        };
        nodes(model, "BatchNormalization").next().unwrap().input[1] = "expanded".to_owned();
        model.graph.as_mut().unwrap().node.push(expand);
    });
    let OnnxErrorKind::Unsupported { node, why, .. } = kind else {
        panic!("{kind}");
    };
    assert_eq!(node, "expand_0");
    assert!(why.contains("constant folding"), "{why}");
}

#[test]
fn old_opsets_and_foreign_operators_are_refused() {
    let kind = refused("resnet18-kept.onnx", |m| m.opset_import[0].version = 6);
    assert!(matches!(kind, OnnxErrorKind::OldOpset(6)), "{kind}");
    let kind = refused("resnet18-kept.onnx", |m| m.opset_import.clear());
    assert!(matches!(kind, OnnxErrorKind::OldOpset(1)), "{kind}");
    let kind = refused("resnet18-kept.onnx", |model| {
        nodes(model, "Relu").next().unwrap().domain = "com.example".to_owned();
    });
    assert!(matches!(kind, OnnxErrorKind::Unsupported { .. }), "{kind}");
}

#[test]
fn other_depths_and_shared_parts_are_not_resnets() {
    // The block 1.1 removed: its output is replaced by its input.
    let kind = refused("resnet18-kept.onnx", |model| {
        let sums: Vec<String> = nodes(model, "Add").map(|n| n.output[0].clone()).collect();
        let mut relus = Vec::new();
        for relu in nodes(model, "Relu") {
            if sums.contains(&relu.input[0]) {
                relus.push(relu.output[0].clone());
            }
        }
        for node in &mut model.graph.as_mut().unwrap().node {
            let is_in_block = node.name.contains("layer1.1");
            for input in node
                .input
                .iter_mut()
                .filter(|i| !is_in_block && **i == relus[1])
            {
                *input = relus[0].clone();
            }
        }
    });
    assert!(kind.to_string().contains("7 residual blocks"), "{kind}");
    let kind = refused("resnet18-kept.onnx", |model| {
        // A branch that starts from the images instead of the block's input.
        let conv = nodes(model, "Conv").nth(3).unwrap();
        conv.input[0] = "input".to_owned();
    });
    assert!(matches!(kind, OnnxErrorKind::NotAResNet(_)), "{kind}");
}
