//! The weights of a network as named tensors, in torchvision's names and layouts.
//!
//! Input and output: a [`ResNet`] and a [`StateDict`]. The round trip is exact.

use std::collections::HashMap;

use burn::module::Param;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{
    block::{Block, ConvNorm},
    config::{ConfigError, ResNetConfig},
    resnet::ResNet,
};

/// Names and float32 values, in traversal order.
pub type StateDict = Vec<(String, TensorData)>;

/// Weights that don't fit the network.
#[derive(Debug, thiserror::Error)]
pub enum StateDictError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "the weights have no tensor `{name}`, which a {architecture} needs; are they of another network?"
    )]
    Missing { name: String, architecture: String },
    #[error(
        "the weights have a tensor `{name}`, which a {architecture} doesn't have; are they of another network?"
    )]
    Unexpected { name: String, architecture: String },
    #[error("tensor `{name}` has the shape {found:?}, but the network needs {expected:?}")]
    Shape {
        name: String,
        expected: Vec<usize>,
        found: Vec<usize>,
    },
    #[error("tensor `{name}` holds {found}, but weights must be floating point numbers")]
    Type { name: String, found: String },
}

/// All weights and running statistics, float32, copied to the host.
pub fn state_dict(model: &ResNet) -> StateDict {
    let blocks = model.stages.iter().flatten();
    let convs = std::iter::once(&model.stem).chain(blocks.flat_map(block_convs));
    let mut values: Vec<TensorData> = convs.flat_map(conv_norm_values).collect();
    values.push(host(model.fc.weight.val().transpose()));
    values.extend(model.fc.bias.iter().map(|bias| host(bias.val())));
    let names = model.config().tensors().into_iter().map(|spec| spec.name);
    names.zip(values).collect()
}

/// Looks at the parameters of a network one by one.
pub trait ParameterVisitor {
    /// `name` is torchvision's; a `transposed` parameter has its two axes the other way round than there.
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>, transposed: bool);
}

/// Shows what is trained, in the order of [`state_dict`]; running statistics are none of it.
pub fn visit_parameters(model: &ResNet, visitor: &mut impl ParameterVisitor) {
    let layout = model.config().layout();
    let blocks = model.stages.iter().flatten();
    let convs = std::iter::once(&model.stem).chain(blocks.flat_map(block_convs));
    for (conv, spec) in convs.zip(layout.convs()) {
        visitor.visit(&format!("{}.weight", spec.conv), &conv.weight, false);
        visitor.visit(&format!("{}.weight", spec.norm), &conv.norm.gamma, false);
        visitor.visit(&format!("{}.bias", spec.norm), &conv.norm.beta, false);
    }
    visitor.visit("fc.weight", &model.fc.weight, true);
    if let Some(bias) = &model.fc.bias {
        visitor.visit("fc.bias", bias, false);
    }
}

fn block_convs(block: &Block) -> impl Iterator<Item = &ConvNorm> {
    block.convs.iter().chain(&block.downsample)
}

fn conv_norm_values(conv: &ConvNorm) -> [TensorData; 5] {
    [
        host(conv.weight.val()),
        host(conv.norm.gamma.val()),
        host(conv.norm.beta.val()),
        host(conv.norm.running_mean.value()),
        host(conv.norm.running_var.value()),
    ]
}

fn host<const D: usize>(tensor: Tensor<D>) -> TensorData {
    tensor.into_data().convert::<f32>()
}

impl ResNet {
    /// A network with the weights of `state`, which may also hold PyTorch's `num_batches_tracked`.
    ///
    /// # Errors
    /// The first tensor that is missing, unexpected, of another shape or not floating point, and a field of `config` that
    /// is out of range.
    pub fn from_state_dict(
        config: &ResNetConfig,
        state: impl IntoIterator<Item = (String, TensorData)>,
        device: &Device,
    ) -> Result<Self, StateDictError> {
        config.validate()?;
        let architecture = config.architecture.to_string();
        let mut state: HashMap<_, _> = state.into_iter().collect();
        let model = Self::build(config, device, |spec| {
            let name = spec.name.clone();
            let data = state.remove(&name).ok_or_else(|| StateDictError::Missing {
                name: name.clone(),
                architecture: architecture.clone(),
            })?;
            if data.shape().as_slice() != spec.shape {
                return Err(StateDictError::Shape {
                    name,
                    expected: spec.shape.clone(),
                    found: data.shape().to_vec(),
                });
            }
            floats(name, data)
        })?;
        let is_counter = |name: &str| name.ends_with(".num_batches_tracked");
        match state.into_keys().filter(|n| !is_counter(n)).min() {
            Some(name) => Err(StateDictError::Unexpected { name, architecture }),
            None => Ok(model),
        }
    }
}

fn floats(name: String, data: TensorData) -> Result<Vec<f32>, StateDictError> {
    let found = data.dtype();
    let wrong_type = |name| StateDictError::Type {
        name,
        found: format!("{found:?}"),
    };
    if !found.is_float() {
        return Err(wrong_type(name));
    }
    let values = data
        .try_cast(DType::F32)
        .and_then(|d| d.try_into_vec::<f32>());
    values.map_err(|_| wrong_type(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Architecture, Mode};

    fn model(seed: u64) -> ResNet {
        let config = ResNetConfig {
            width: 2,
            ..ResNetConfig::new(Architecture::Resnet50, 3)
        };
        ResNet::new(&config, seed, &Device::flex()).unwrap()
    }

    fn loaded(
        state: impl IntoIterator<Item = (String, TensorData)>,
    ) -> Result<ResNet, StateDictError> {
        ResNet::from_state_dict(model(2).config(), state, &Device::flex())
    }

    fn error(change: impl FnOnce(&mut StateDict)) -> StateDictError {
        let mut state = state_dict(&model(1));
        change(&mut state);
        loaded(state).unwrap_err()
    }

    #[test]
    fn has_the_names_and_shapes_of_torchvision() {
        let state = state_dict(&model(1));
        let shape = |name: &str| {
            let (_, data) = state.iter().find(|(n, _)| n == name).unwrap();
            data.shape().to_vec()
        };
        assert_eq!(state.len(), 53 * 5 + 2);
        assert_eq!(state[0].0, "conv1.weight");
        assert_eq!(shape("conv1.weight"), [2, 3, 7, 7]);
        assert_eq!(shape("bn1.running_var"), [2]);
        assert_eq!(shape("layer1.0.conv3.weight"), [8, 2, 1, 1]);
        assert_eq!(shape("layer2.0.downsample.0.weight"), [16, 8, 1, 1]);
        assert_eq!(shape("layer2.0.downsample.1.bias"), [16]);
        assert_eq!(shape("layer4.2.bn2.running_mean"), [16]);
        assert_eq!(shape("fc.weight"), [3, 64]);
        assert_eq!(shape("fc.bias"), [3]);
    }

    #[test]
    fn the_round_trip_is_exact() {
        let origin = model(1);
        let images = Tensor::ones([2, 3, 64, 64], &Device::flex());
        origin.forward(images, Mode::Train);
        let state = state_dict(&origin);
        let counter = TensorData::new(vec![7i64], [0; 0]);
        let counter = ("bn1.num_batches_tracked".to_owned(), counter);
        let loaded = loaded(state.iter().cloned().chain([counter])).unwrap();
        assert_eq!(state_dict(&loaded), state);
    }

    #[test]
    fn the_configuration_says_whether_statistics_are_frozen() {
        let reloaded = |model: &ResNet| {
            let text = serde_json::to_string(model.config()).unwrap();
            let config = serde_json::from_str(&text).unwrap();
            ResNet::from_state_dict(&config, state_dict(model), &Device::flex()).unwrap()
        };
        assert!(!reloaded(&model(1)).has_frozen_batch_norm());
        let frozen = reloaded(&model(1).freeze_batch_norm());
        assert!(frozen.has_frozen_batch_norm() && !frozen.has_frozen_backbone());
        // How a network is trained for a while is no property of its weights.
        let frozen = model(1).freeze_backbone();
        assert!(frozen.has_frozen_batch_norm() && !reloaded(&frozen).has_frozen_batch_norm());
        assert!(reloaded(&model(1).freeze_batch_norm().freeze_backbone()).has_frozen_batch_norm());
    }

    #[test]
    fn a_configuration_of_before_that_key_reads_as_not_frozen() {
        let text = r#"{"architecture":"resnet18","num_classes":3}"#;
        let config: ResNetConfig = serde_json::from_str(text).unwrap();
        assert!(!config.batch_norm_frozen);
    }

    #[test]
    fn names_the_tensor_that_does_not_fit() {
        let missing = error(|state| drop(state.remove(3)));
        assert!(
            matches!(missing, StateDictError::Missing { name, .. } if name == "bn1.running_mean")
        );
        let unexpected = error(|state| state[3].0 = "surplus".to_owned());
        assert!(matches!(unexpected, StateDictError::Missing { .. }));
        let unexpected = error(|state| {
            let copy = state[3].1.clone();
            state.push(("surplus".to_owned(), copy));
        });
        assert!(matches!(unexpected, StateDictError::Unexpected { name, .. } if name == "surplus"));
        let shape = error(|state| state[3].1 = TensorData::new(vec![0f32; 3], [3]));
        assert!(matches!(shape, StateDictError::Shape { found, .. } if found == [3]));
        let dtype = error(|state| state[3].1 = TensorData::new(vec![0i32; 2], [2]));
        assert!(matches!(dtype, StateDictError::Type { .. }), "{dtype}");
    }

    #[test]
    fn visited_parameters_are_those_of_the_state_dict() {
        struct Seen(StateDict);
        impl ParameterVisitor for Seen {
            fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>, flip: bool) {
                let value = if flip {
                    param.val().swap_dims(0, 1)
                } else {
                    param.val()
                };
                self.0.push((name.to_owned(), host(value)));
            }
        }
        let model = model(1);
        let mut seen = Seen(Vec::new());
        visit_parameters(&model, &mut seen);
        let mut expected = state_dict(&model);
        expected.retain(|(name, _)| !name.contains("running_"));
        assert_eq!(seen.0, expected);
    }

    #[test]
    fn half_precision_is_converted() {
        let mut state = state_dict(&model(1));
        state[0].1 = state[0].1.clone().convert_dtype(DType::F16);
        let loaded = loaded(state.clone()).unwrap();
        let expected = state[0].1.clone().convert_dtype(DType::F32);
        assert_eq!(state_dict(&loaded)[0].1, expected);
    }
}
