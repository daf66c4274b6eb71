//! Loads a ResNet from an ONNX file.
//!
//! Input: the path of a file. Output: an [`Imported`] network on a device. Width, number of classes
//! and the kind of ResNet are read from the file.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use burn::tensor::Device;
use onnx_ir::{Message, ModelProto, TensorProto};

use super::{
    FROZEN_STATISTICS, decode,
    error::{OnnxError, OnnxErrorKind},
    graph::Graph,
    head::Classifier,
    trace::{ConvUnit, Traced, trace},
    verify::{all_units, verify},
    wire,
};
use crate::model::{build::transpose, config::ResNetConfig, layout::ConvSpec, resnet::ResNet};

/// The largest file that protobuf allows.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// A network from an ONNX file.
#[derive(Debug)]
pub struct Imported {
    /// The network, with frozen batch norms where they were folded.
    pub model: ResNet,
    /// What it is, as read from the file.
    pub config: ResNetConfig,
    /// Whether the file still had its batch norms.
    pub batch_norm: BatchNormOrigin,
    /// The texts that came with the file, such as `classes` in our own exports.
    pub metadata: BTreeMap<String, String>,
}

/// What an exporter did with the batch norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchNormOrigin {
    /// They are in the file with their statistics.
    Kept,
    /// At least one is part of its convolution, or was when the network was first read.
    Folded,
}

/// Reads a network and puts it on `device`.
///
/// # Errors
/// Names the file, the node or the weights, and what to do. A broken or hostile file costs
/// milliseconds and no more memory than a few times its size.
pub fn load(path: &Path, device: &Device) -> Result<Imported, OnnxError> {
    let bytes = read(path).map_err(|kind| kind.at(path))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    parse(&bytes, folder, device).map_err(|kind| kind.at(path))
}

fn read(path: &Path) -> Result<Vec<u8>, OnnxErrorKind> {
    let metadata = std::fs::metadata(path).map_err(OnnxErrorKind::Io)?;
    if !metadata.is_file() {
        let why = std::io::Error::other("it is not a regular file");
        return Err(OnnxErrorKind::Io(why));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(OnnxErrorKind::TooLarge {
            what: "the size in bytes",
            found: metadata.len(),
            limit: MAX_FILE_BYTES,
        });
    }
    std::fs::read(path).map_err(OnnxErrorKind::Io)
}

/// [`load`] from bytes; `folder` is where external data may lie.
pub(super) fn parse(
    bytes: &[u8],
    folder: &Path,
    device: &Device,
) -> Result<Imported, OnnxErrorKind> {
    if bytes.is_empty() {
        return Err(OnnxErrorKind::Parse("it is empty".to_owned()));
    }
    wire::check(bytes)?;
    let proto =
        ModelProto::parse_from_bytes(bytes).map_err(|e| OnnxErrorKind::Parse(e.to_string()))?;
    let graph = Graph::new(&proto)?;
    let traced = trace(&graph)?;
    let config = verify(&traced)?;
    let mut weights = weights(&traced, &config, folder)?;
    let model = ResNet::build(&config, device, |spec| {
        weights
            .remove(&spec.name)
            .ok_or_else(|| OnnxErrorKind::MissingInitializer {
                node: spec.name.clone(),
                name: spec.name.clone(),
            })
    })?;
    let texts = proto.metadata_props.iter();
    let mut metadata: BTreeMap<_, _> = texts.map(|p| (p.key.clone(), p.value.clone())).collect();
    let was_folded = metadata.remove(FROZEN_STATISTICS).is_some();
    let (model, batch_norm) = match all_units(&traced).all(|u| u.norm.is_some()) && !was_folded {
        true => (model, BatchNormOrigin::Kept),
        false => (model.freeze_batch_norm(), BatchNormOrigin::Folded),
    };
    Ok(Imported {
        config: model.config().clone(),
        model,
        batch_norm,
        metadata,
    })
}

/// All weights under torchvision's names and in its layout.
fn weights(
    traced: &Traced,
    config: &ResNetConfig,
    folder: &Path,
) -> Result<HashMap<String, Vec<f32>>, OnnxErrorKind> {
    let mut weights = HashMap::new();
    let layout = config.layout();
    for (unit, spec) in all_units(traced).zip(layout.convs()) {
        let [weight, gamma, beta, mean, var] = spec.tensors().map(|t| t.name);
        weights.insert(weight, decode::floats(unit.weight, folder)?);
        let norm = norm_values(unit, spec, config, folder)?;
        weights.extend([gamma, beta, mean, var].into_iter().zip(norm));
    }
    let [weight, bias] = config.fc_tensors().map(|t| t.name);
    let (weight_values, bias_values) = classifier_values(&traced.classifier, config, folder)?;
    weights.extend([(weight, weight_values), (bias, bias_values)]);
    Ok(weights)
}

/// Scale, shift, mean and variance of the batch norm behind a convolution.
fn norm_values(
    unit: &ConvUnit,
    spec: &ConvSpec,
    config: &ResNetConfig,
    folder: &Path,
) -> Result<[Vec<f32>; 4], OnnxErrorKind> {
    let read = |tensor: &TensorProto| decode::floats(tensor, folder);
    let bias = unit.bias.map(read).transpose()?;
    let channels = spec.out_channels;
    let Some(norm) = &unit.norm else {
        // A variance of 1 - epsilon makes the divisor exactly 1.
        let var = (1.0 - config.bn_epsilon) as f32;
        let beta = bias.unwrap_or_else(|| vec![0.0; channels]);
        return Ok([
            vec![1.0; channels],
            beta,
            vec![0.0; channels],
            vec![var; channels],
        ]);
    };
    let mut mean = read(norm.mean)?;
    // A bias in front of a batch norm only shifts the mean that is subtracted.
    for (mean, bias) in mean.iter_mut().zip(bias.unwrap_or_default()) {
        *mean -= bias;
    }
    Ok([read(norm.gamma)?, read(norm.beta)?, mean, read(norm.var)?])
}

/// `fc.weight` as `[classes, features]` and `fc.bias`, with alpha and beta multiplied in.
fn classifier_values(
    classifier: &Classifier,
    config: &ResNetConfig,
    folder: &Path,
) -> Result<(Vec<f32>, Vec<f32>), OnnxErrorKind> {
    let (features, classes) = (config.num_features(), config.num_classes);
    let scaled = |values: Vec<f32>, factor: f32| match factor {
        1.0 => values,
        _ => values.into_iter().map(|v| v * factor).collect(),
    };
    let weight = scaled(decode::floats(classifier.weight, folder)?, classifier.alpha);
    let weight = match classifier.is_class_major {
        true => weight,
        false => transpose(&weight, features, classes),
    };
    let bias = match classifier.bias {
        Some(tensor) => scaled(decode::floats(tensor, folder)?, classifier.beta),
        None => vec![0.0; classes],
    };
    Ok((weight, bias))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What makes a folded network exact in evaluation.
    #[test]
    fn the_variance_of_a_folded_batch_norm_divides_by_exactly_one() {
        for epsilon in [1e-5f64, 1e-3, 2e-5, 1e-12] {
            let var = (1.0 - epsilon) as f32;
            assert_eq!((var + epsilon as f32).sqrt(), 1.0);
        }
    }

    #[test]
    fn an_empty_file_is_named_as_such() {
        let error = parse(&[], Path::new("."), &Device::flex()).unwrap_err();
        assert_eq!(error.to_string(), "not an ONNX file (it is empty)");
    }
}
