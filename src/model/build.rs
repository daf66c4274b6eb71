//! Turns named values into a network on a device.
//!
//! Input: a [`ResNetConfig`] and a source that gives the values of each [`TensorSpec`]. Output: a
//! [`ResNet`] whose parameters carry the ids 1, 2, ... in traversal order.

use burn::module::{Param, ParamId};
use burn::nn::Linear;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{
    batch_norm::{BatchNorm2d, RunningStatistic},
    block::{Block, ConvNorm},
    config::ResNetConfig,
    layout::{BlockSpec, ConvSpec, TensorSpec},
    resnet::ResNet,
};

impl ResNet {
    /// Builds the network from values that `source` gives for each tensor, in traversal order and
    /// in torchvision's layout. `config` must be valid and `source` must respect the shape.
    pub(crate) fn build<E>(
        config: &ResNetConfig,
        device: &Device,
        mut source: impl FnMut(&TensorSpec) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let layout = config.layout();
        let mut builder = Builder {
            config,
            device,
            next_id: 1,
            source: &mut source,
        };
        let stem = builder.conv_norm(&layout.stem)?;
        let stages = layout
            .stages
            .iter()
            .map(|blocks| blocks.iter().map(|b| builder.block(b)).collect())
            .collect::<Result<Vec<Vec<Block>>, E>>()?;
        Ok(Self {
            stem,
            stages,
            fc: builder.classifier()?,
            bfloat16: false,
            bn_frozen: config.batch_norm_frozen,
            backbone_frozen: false,
            config: config.clone(),
        })
    }
}

/// A classifier alone, its two parameters numbered from `first_id`.
pub(super) fn classifier<E>(
    config: &ResNetConfig,
    device: &Device,
    first_id: u64,
    mut source: impl FnMut(&TensorSpec) -> Result<Vec<f32>, E>,
) -> Result<Linear, E> {
    let mut builder = Builder {
        config,
        device,
        next_id: first_id,
        source: &mut source,
    };
    builder.classifier()
}

/// Turns the values of a source into parameters with consecutive ids.
struct Builder<'a, S> {
    config: &'a ResNetConfig,
    device: &'a Device,
    next_id: u64,
    source: &'a mut S,
}

impl<E, S: FnMut(&TensorSpec) -> Result<Vec<f32>, E>> Builder<'_, S> {
    fn block(&mut self, spec: &BlockSpec) -> Result<Block, E> {
        let convs: Result<_, E> = spec.convs.iter().map(|c| self.conv_norm(c)).collect();
        let convs = convs?;
        let downsample = spec.downsample.as_ref().map(|c| self.conv_norm(c));
        Ok(Block {
            convs,
            downsample: downsample.transpose()?,
        })
    }

    fn conv_norm(&mut self, spec: &ConvSpec) -> Result<ConvNorm, E> {
        let [weight, gamma, beta, mean, var] = spec.tensors();
        Ok(ConvNorm {
            weight: self.param(&weight)?,
            norm: BatchNorm2d {
                gamma: self.param(&gamma)?,
                beta: self.param(&beta)?,
                running_mean: self.statistic(&mean)?,
                running_var: self.statistic(&var)?,
                epsilon: self.config.bn_epsilon,
            },
            stride: spec.stride,
            padding: spec.padding(),
        })
    }

    fn classifier(&mut self) -> Result<Linear, E> {
        let [weight, bias] = self.config.fc_tensors();
        let (classes, features) = (weight.shape[0], weight.shape[1]);
        let values = transpose(&(self.source)(&weight)?, classes, features);
        let data = TensorData::new(values, [features, classes]);
        Ok(Linear {
            weight: self.trainable(data),
            bias: Some(self.param(&bias)?),
        })
    }

    fn param<const D: usize>(&mut self, spec: &TensorSpec) -> Result<Param<Tensor<D>>, E> {
        let data = TensorData::new((self.source)(spec)?, spec.shape.clone());
        Ok(self.trainable(data))
    }

    fn trainable<const D: usize>(&mut self, data: TensorData) -> Param<Tensor<D>> {
        let value = Tensor::from_data(data, self.device);
        // Set on the parameter, not the tensor: there it survives on a device without autodiff.
        Param::initialized(self.take_id(), value).set_require_grad(true)
    }

    fn statistic(&mut self, spec: &TensorSpec) -> Result<RunningStatistic, E> {
        let data = TensorData::new((self.source)(spec)?, spec.shape.clone());
        let value = Tensor::from_data(data, (self.device, DType::F32));
        Ok(RunningStatistic::new(self.take_id(), value))
    }

    fn take_id(&mut self) -> ParamId {
        let id = ParamId::from(self.next_id);
        self.next_id += 1;
        id
    }
}

/// `[rows, columns]` to `[columns, rows]`, both row-major.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns)
        .map(|i| values[(i % rows) * columns + i / rows])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposes() {
        assert_eq!(
            transpose(&[1., 2., 3., 4., 5., 6.], 2, 3),
            [1., 4., 2., 5., 3., 6.]
        );
    }
}
