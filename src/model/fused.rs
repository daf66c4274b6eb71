//! A network for evaluation only, with the batch norms multiplied into the convolutions.
//!
//! Input: a [`ResNet`]. Output: the same logits as in [`Mode::Eval`](super::Mode), up to rounding, without
//! the passes over each feature map that a batch norm takes. On the CPU backend the kernels of this crate compute it.

use std::sync::Arc;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{DType, Device, Tensor, activation::relu, module::conv2d, ops::ConvOptions};

use super::{
    block::{Block, ConvNorm, global_average_pool, stem_max_pool},
    frozen::FrozenResNet,
    resnet::ResNet,
};
use crate::kernels::layer::accepts;

/// A ResNet that can't be trained. A clone shares its weights.
#[derive(Debug, Clone)]
pub struct FusedResNet {
    backbone: Backbone,
    fc: Linear,
}

#[derive(Debug, Clone)]
enum Backbone {
    /// On the CPU.
    Kernels(Arc<FrozenResNet>),
    /// Elsewhere: Burn's operations.
    Burn(Arc<FusedBackbone>),
}

#[derive(Debug)]
struct FusedBackbone {
    /// Of the feature maps and the weights.
    dtype: DType,
    stem: FusedConv,
    blocks: Vec<FusedBlock>,
}

#[derive(Debug, Clone)]
struct FusedConv {
    /// `[out, in, kernel, kernel]`
    weight: Tensor<4>,
    /// `[out]`
    bias: Tensor<1>,
    options: ConvOptions<2>,
}

#[derive(Debug, Clone)]
struct FusedBlock {
    convs: Vec<FusedConv>,
    downsample: Option<FusedConv>,
}

impl ResNet {
    /// A copy for evaluation, on the same device without autodiff.
    pub fn fused(&self) -> FusedResNet {
        let model = self.valid();
        let float32 = model.image_dtype() == DType::F32;
        let backbone = match float32 && accepts(&model.stem.weight.val()) {
            true => Backbone::Kernels(Arc::new(FrozenResNet::new(&model))),
            false => Backbone::burn(&model),
        };
        FusedResNet {
            backbone,
            fc: model.fc,
        }
    }
}

impl Backbone {
    fn burn(model: &ResNet) -> Self {
        let dtype = model.image_dtype();
        let blocks = model.stages.iter().flatten();
        Self::Burn(Arc::new(FusedBackbone {
            dtype,
            stem: FusedConv::new(&model.stem, dtype),
            blocks: blocks.map(|block| FusedBlock::new(block, dtype)).collect(),
        }))
    }
}

impl FusedResNet {
    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.fc.weight.device()
    }

    /// Images `[N, 3, H, W]` to features `[N, num_features]`, float32.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        match &self.backbone {
            Backbone::Kernels(network) => network.features(images),
            Backbone::Burn(network) => {
                let images = images.cast(network.dtype);
                let mut x = stem_max_pool(relu(network.stem.forward(images)));
                for block in &network.blocks {
                    x = block.forward(x);
                }
                global_average_pool(x.cast(DType::F32))
            }
        }
    }

    /// Features `[N, num_features]` to logits `[N, num_classes]`.
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc.forward(features)
    }

    /// Images `[N, 3, H, W]` to logits `[N, num_classes]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head(self.features(images))
    }
}

impl FusedConv {
    fn new(conv: &ConvNorm, dtype: DType) -> Self {
        let (scale, shift) = conv.norm.scale_and_shift();
        let [channels] = scale.dims();
        let scaled = conv.weight.val() * scale.reshape([channels, 1, 1, 1]);
        let bias = shift.cast(dtype);
        let options = conv.options();
        // The kernels of a GPU round weights as they pack them.
        #[cfg(feature = "cuda")]
        if crate::gpu::takes_weight(&scaled, dtype) {
            return Self {
                weight: scaled,
                bias,
                options,
            };
        }
        Self {
            weight: scaled.cast(dtype),
            bias,
            options,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        #[cfg(feature = "cuda")]
        if crate::gpu::convolves(&input, &weight) {
            let ([stride, _], [(pad, _), _]) = (self.options.stride, self.options.padding);
            let [channels] = bias.dims();
            return crate::gpu::conv(input, weight, stride, pad)
                + bias.reshape([1, channels, 1, 1]);
        }
        conv2d(input, weight, Some(bias), self.options.clone())
    }
}

impl FusedBlock {
    fn new(block: &Block, dtype: DType) -> Self {
        let fused = |conv: &ConvNorm| FusedConv::new(conv, dtype);
        Self {
            convs: block.convs.iter().map(fused).collect(),
            downsample: block.downsample.as_ref().map(fused),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some(projection) => projection.forward(input.clone()),
            None => input.clone(),
        };
        let mut output = input;
        for (i, conv) in self.convs.iter().enumerate() {
            let activated = if i == 0 { output } else { relu(output) };
            output = conv.forward(activated);
        }
        relu(output + shortcut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Architecture, Mode, ResNetConfig};

    #[test]
    fn computes_what_evaluation_computes() {
        let device = Device::flex().autodiff();
        for architecture in [Architecture::Resnet18, Architecture::Resnet50] {
            let config = ResNetConfig {
                width: 4,
                ..ResNetConfig::new(architecture, 5)
            };
            let model = ResNet::new(&config, 1, &device).unwrap();
            let noise = burn::tensor::Distribution::Normal(0.0, 1.0);
            let images = Tensor::<4>::random([3, 3, 40, 48], noise, &device);
            // Training moves the statistics away from the identity.
            model.forward(images.clone(), Mode::Train);
            let images = images.without_autodiff();
            let expected = model.valid().forward(images.clone(), Mode::Eval);
            let difference = (model.fused().forward(images) - expected).abs().max();
            assert!(difference.into_scalar::<f32>() < 1e-4);
        }
    }

    /// The largest difference of two logits, in units of the largest logit.
    fn distance(a: Tensor<2>, b: Tensor<2>) -> f32 {
        let scale = b.clone().abs().max().into_scalar::<f32>();
        (a - b).abs().max().into_scalar::<f32>() / scale
    }

    #[test]
    fn the_kernels_compute_what_burn_computes() {
        // Full width, so that Winograd takes part, and sizes that its tiles don't divide.
        for (architecture, [n, height, width]) in [
            (Architecture::Resnet18, [2, 75, 118]),
            (Architecture::Resnet34, [6, 64, 64]),
            (Architecture::Resnet50, [1, 64, 97]),
        ] {
            let device = Device::flex();
            let model = ResNet::new(&ResNetConfig::new(architecture, 10), 3, &device).unwrap();
            let noise = burn::tensor::Distribution::Normal(0.0, 1.0);
            let images = Tensor::<4>::random([n, 3, height, width], noise, &device);
            // Training moves the statistics away from the identity.
            model.forward(images.clone(), Mode::Train);
            let stock = FusedResNet {
                backbone: Backbone::burn(&model),
                fc: model.fc.clone(),
            };
            let expected = stock.forward(images.clone());
            let kernels = model.fused();
            assert!(matches!(kernels.backbone, Backbone::Kernels(_)));
            let error = distance(kernels.forward(images.clone()), expected.clone());
            assert!(error < 1e-5, "{architecture:?}: {error:e}");
            let layers = distance(model.forward(images, Mode::Eval), expected);
            assert!(
                layers < 1e-5,
                "{architecture:?}, layer by layer: {layers:e}"
            );
        }
    }

    #[test]
    fn a_batch_gives_what_its_images_give_alone() {
        let device = Device::flex();
        let config = ResNetConfig::new(Architecture::Resnet18, 10);
        let model = ResNet::new(&config, 3, &device).unwrap().fused();
        let noise = burn::tensor::Distribution::Normal(0.0, 1.0);
        let images = Tensor::<4>::random([9, 3, 64, 64], noise, &device);
        let together = model.forward(images.clone());
        for i in 0..9 {
            let alone = model.forward(images.clone().narrow(0, i, 1));
            // The algorithm may differ with the number of images.
            assert!(distance(together.clone().narrow(0, i, 1), alone) < 1e-5);
        }
    }

    #[test]
    fn a_network_with_nan_in_it_says_so() {
        let device = Device::flex();
        let config = ResNetConfig::new(Architecture::Resnet18, 10);
        let mut model = ResNet::new(&config, 3, &device).unwrap();
        let weight = &mut model.stages[1][0].convs[1].weight;
        *weight = weight.clone().map(|w| w * f32::NAN);
        let images = Tensor::<4>::ones([2, 3, 64, 64], &device);
        for mode in [Mode::Train, Mode::Eval] {
            let logits = model.forward(images.clone(), mode).sum();
            assert!(logits.into_scalar::<f32>().is_nan(), "{mode:?}");
        }
        let logits = model.fused().forward(images).sum();
        assert!(logits.into_scalar::<f32>().is_nan());
    }

    #[test]
    fn threads_may_share_a_network_from_the_start() {
        let device = Device::flex();
        let config = ResNetConfig::new(Architecture::Resnet18, 10);
        let model = ResNet::new(&config, 3, &device).unwrap().fused();
        let images = Tensor::<4>::ones([1, 3, 64, 64], &device);
        let logits: Vec<_> = std::thread::scope(|scope| {
            let threads = (0..8).map(|_| {
                let (model, images) = (model.clone(), images.clone());
                scope.spawn(move || model.forward(images).into_data())
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(logits.iter().all(|l| *l == logits[0]));
    }
}
