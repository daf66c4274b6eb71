//! Compares a traced network with the layout it must have.
//!
//! Input: a [`Traced`] network. Output: the [`ResNetConfig`] whose layout it has exactly: shapes,
//! strides, paddings and pooling. No weights are read yet, only their declared shapes.

use onnx_ir::{NodeProto, TensorProto};

use super::{
    error::{OnnxErrorKind, quote},
    graph::{float, int, ints, text, unsupported},
    head::Classifier,
    trace::{ConvUnit, Traced},
};
use crate::model::{
    config::{Architecture, ResNetConfig},
    layout::ConvSpec,
};

/// Infers the configuration from the structure and checks every convolution against it.
///
/// # Errors
/// The first part that differs from a published ResNet.
pub(super) fn verify(traced: &Traced) -> Result<ResNetConfig, OnnxErrorKind> {
    let config = infer(traced)?;
    config
        .validate()
        .map_err(|e| OnnxErrorKind::NotAResNet(e.to_string()))?;
    check_max_pool(traced.max_pool)?;
    let layout = config.layout();
    check_unit(&traced.stem, &layout.stem, &config)?;
    for (block, spec) in traced.blocks.iter().zip(layout.blocks()) {
        for (unit, spec) in block.convs.iter().zip(&spec.convs) {
            check_unit(unit, spec, &config)?;
        }
        match (&block.downsample, &spec.downsample) {
            (None, None) => {}
            (Some(unit), Some(spec)) => check_unit(unit, spec, &config)?,
            (Some(unit), None) => {
                return Err(unsupported(
                    unit.node,
                    "this shortcut must have no convolution",
                ));
            }
            (None, Some(spec)) => {
                let why = format!("the shortcut has no convolution `{}`", spec.conv);
                return Err(OnnxErrorKind::NotAResNet(why));
            }
        }
    }
    check_classifier(&traced.classifier, &config)?;
    Ok(config)
}

fn infer(traced: &Traced) -> Result<ResNetConfig, OnnxErrorKind> {
    let lengths: Vec<usize> = traced.blocks.iter().map(|b| b.convs.len()).collect();
    let all = |n| lengths.iter().all(|l| *l == n);
    let architecture = match lengths.len() {
        8 if all(2) => Architecture::Resnet18,
        16 if all(2) => Architecture::Resnet34,
        16 if all(3) => Architecture::Resnet50,
        n => {
            let why = format!("it has {n} residual blocks with {lengths:?} convolutions");
            return Err(OnnxErrorKind::NotAResNet(why));
        }
    };
    let width = dim(traced.stem.weight, 0);
    let classes = if traced.classifier.is_class_major {
        0
    } else {
        1
    };
    let first_of_stage_2 = &traced.blocks[architecture.stage_depths()[0]].convs[0];
    let norms = all_units(traced).filter_map(|u| u.norm.as_ref());
    let epsilon = norms.map(|n| float(n.node, "epsilon", 1e-5)).next();
    Ok(ResNetConfig {
        width,
        stride_in_1x1: architecture.has_bottlenecks()
            && ints(first_of_stage_2.node, "strides") == Some(&[2, 2]),
        // Through the decimal text: 1e-5 as f32 is 9.999999747378752e-6 as f64.
        bn_epsilon: epsilon
            .and_then(|e| e.to_string().parse().ok())
            .unwrap_or(1e-5),
        ..ResNetConfig::new(architecture, dim(traced.classifier.weight, classes))
    })
}

/// All convolutions in the order of the layout.
pub(super) fn all_units<'t, 'a>(traced: &'t Traced<'a>) -> impl Iterator<Item = &'t ConvUnit<'a>> {
    let blocks = traced
        .blocks
        .iter()
        .flat_map(|b| b.convs.iter().chain(&b.downsample));
    std::iter::once(&traced.stem).chain(blocks)
}

fn dim(tensor: &TensorProto, index: usize) -> usize {
    let dim = tensor.dims.get(index).copied().unwrap_or(0);
    usize::try_from(dim).unwrap_or(0)
}

fn check_unit(
    unit: &ConvUnit,
    spec: &ConvSpec,
    config: &ResNetConfig,
) -> Result<(), OnnxErrorKind> {
    check_shape(unit.weight, &spec.weight_shape(), &spec.conv)?;
    check_window(unit.node, spec.kernel, spec.stride)?;
    if int(unit.node, "group", 1) != 1 {
        return Err(unsupported(unit.node, "group must be 1"));
    }
    let channels = [spec.out_channels];
    if let Some(bias) = unit.bias {
        check_shape(bias, &channels, &spec.conv)?;
    }
    if let Some(norm) = &unit.norm {
        for tensor in [norm.gamma, norm.beta, norm.mean, norm.var] {
            check_shape(tensor, &channels, &spec.norm)?;
        }
        let epsilon = float(norm.node, "epsilon", 1e-5);
        if epsilon != config.bn_epsilon as f32 {
            let why = format!(
                "epsilon is {epsilon} here and {} elsewhere",
                config.bn_epsilon
            );
            return Err(unsupported(norm.node, why));
        }
    }
    Ok(())
}

fn check_max_pool(node: &NodeProto) -> Result<(), OnnxErrorKind> {
    if ints(node, "kernel_shape").is_none() {
        return Err(unsupported(node, "it has no kernel_shape"));
    }
    if int(node, "ceil_mode", 0) != 0 {
        return Err(unsupported(node, "ceil_mode must be 0"));
    }
    check_window(node, 3, 2)
}

/// Kernel, stride, dilation and padding of a convolution or pooling.
fn check_window(node: &NodeProto, kernel: usize, stride: usize) -> Result<(), OnnxErrorKind> {
    let check = |name: &str, found: &[i64], needed: usize| {
        if found.iter().all(|v| usize::try_from(*v) == Ok(needed)) {
            return Ok(());
        }
        let why = format!(
            "{name} is {:?}, a ResNet has {needed} here",
            &found[..found.len().min(8)]
        );
        Err(unsupported(node, why))
    };
    let pair = |name: &str, default: i64| match ints(node, name) {
        None => Ok([default; 2]),
        Some(&[h, w]) => Ok([h, w]),
        Some(_) => Err(unsupported(node, format!("{name} must have two values"))),
    };
    check(
        "kernel_shape",
        &pair("kernel_shape", kernel as i64)?,
        kernel,
    )?;
    check("strides", &pair("strides", 1)?, stride)?;
    check("dilations", &pair("dilations", 1)?, 1)?;
    let padding = kernel / 2;
    match text(node, "auto_pad").unwrap_or(b"NOTSET") {
        b"NOTSET" | b"" => match ints(node, "pads") {
            None => check("pads", &[0; 4], padding),
            Some(pads) if pads.len() == 4 => check("pads", pads, padding),
            Some(_) => Err(unsupported(node, "pads must have four values")),
        },
        b"VALID" => check("pads", &[0; 4], padding),
        // With stride 2, SAME pads an even image on one side only: not what a ResNet does.
        b"SAME_UPPER" | b"SAME_LOWER" if stride == 1 || kernel == 1 => Ok(()),
        other => {
            let why = format!("auto_pad is {}", quote(&String::from_utf8_lossy(other)));
            Err(unsupported(node, why))
        }
    }
}

fn check_classifier(classifier: &Classifier, config: &ResNetConfig) -> Result<(), OnnxErrorKind> {
    let (features, classes) = (config.num_features(), config.num_classes);
    let shape = match classifier.is_class_major {
        true => [classes, features],
        false => [features, classes],
    };
    check_shape(classifier.weight, &shape, "fc")?;
    if !classifier.alpha.is_finite() || !classifier.beta.is_finite() {
        return Err(unsupported(
            classifier.node,
            "alpha and beta must be finite",
        ));
    }
    match classifier.bias {
        // A bias may also be one row.
        Some(bias) if bias.dims.len() == 2 => check_shape(bias, &[1, classes], "fc"),
        Some(bias) => check_shape(bias, &[classes], "fc"),
        None => Ok(()),
    }
}

fn check_shape(tensor: &TensorProto, expected: &[usize], place: &str) -> Result<(), OnnxErrorKind> {
    let found = &tensor.dims;
    let is_equal = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(f, e)| usize::try_from(*f) == Ok(*e));
    match is_equal {
        true => Ok(()),
        false => Err(OnnxErrorKind::BadShape {
            name: quote(&tensor.name),
            place: place.to_owned(),
            expected: expected.to_vec(),
            found: found.iter().copied().take(8).collect(),
        }),
    }
}
