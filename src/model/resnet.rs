//! The residual network itself.
//!
//! Input: images `[N, 3, H, W]`, any size from 32 up, and a [`Mode`]. Output: features `[N, C]` and
//! logits `[N, num_classes]`. The structure comes from [`ResNetConfig::layout`].

use std::convert::Infallible;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::Linear;
use burn::tensor::{DType, Device, Tensor};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    batch_norm::Mode,
    block::{Block, ConvNorm, STEM_POOL, global_average_pool, global_average_pool_channels_last},
    build,
    config::{ConfigError, ResNetConfig},
    init,
};
use crate::kernels::layer::accepts;

/// ResNet18, 34 or 50.
///
/// Parameters carry the ids 1, 2, ... in traversal order, so that the state of an optimizer still
/// matches after the network was rebuilt from a file. A clone is independent of its origin.
#[derive(Module, Debug)]
pub struct ResNet {
    pub stem: ConvNorm,
    /// Four stages of blocks.
    pub stages: Vec<Vec<Block>>,
    /// The classifier.
    pub fc: Linear,
    pub(super) bn_frozen: bool,
    pub(super) backbone_frozen: bool,
    pub(super) bfloat16: bool,
    #[module(skip)]
    pub(super) config: ResNetConfig,
}

impl ResNet {
    /// A network with random weights, drawn on the host: one seed gives the same network on
    /// every device.
    ///
    /// # Errors
    /// A field of `config` that is out of range.
    pub fn new(config: &ResNetConfig, seed: u64, device: &Device) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut rng = StdRng::seed_from_u64(seed);
        let drawn = Self::build(config, device, |spec| {
            Ok::<_, Infallible>(init::draw(spec, &mut rng))
        });
        match drawn {
            Ok(model) => Ok(model),
            Err(never) => match never {},
        }
    }

    /// What this network is; with its weights, all that is needed to build it again.
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// Length of a feature vector.
    pub fn num_features(&self) -> usize {
        self.config.num_features()
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.fc.weight.device()
    }

    /// Images `[N, 3, H, W]` to features `[N, num_features]`, float32, averaged over the image.
    pub fn features(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        let mode = if self.bn_frozen { Mode::Eval } else { mode };
        let images = images.cast(self.image_dtype());
        if accepts(&images) && accepts(&self.stem.weight.val()) {
            return self.features_channels_last(images.permute([0, 2, 3, 1]), mode);
        }
        let mut x = self.stem.forward_then_pool(images, mode);
        for block in self.stages.iter().flatten() {
            x = block.forward(x, mode);
        }
        global_average_pool(x.cast(DType::F32))
    }

    /// The type of the feature maps; every layer computes in the type of its input.
    pub(crate) fn image_dtype(&self) -> DType {
        match self.bfloat16 {
            true => DType::BF16,
            false => DType::F32,
        }
    }

    /// The same from `[N, H, W, 3]` on the CPU backend, by the kernels of this crate.
    fn features_channels_last(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        let stem = &self.stem;
        let mut x = stem.forward_channels_last(images, mode, None, true, Some(STEM_POOL));
        for block in self.stages.iter().flatten() {
            x = block.forward_channels_last(x, mode);
        }
        global_average_pool_channels_last(x)
    }

    /// Features `[N, num_features]` to logits `[N, num_classes]`.
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc.forward(features)
    }

    /// Images `[N, 3, H, W]` to logits `[N, num_classes]`.
    pub fn forward(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        self.head(self.features(images, mode))
    }

    /// Replaces the classifier by a random one for `num_classes` classes.
    ///
    /// # Errors
    /// `num_classes` is out of range.
    pub fn with_new_head(self, num_classes: usize, seed: u64) -> Result<Self, ConfigError> {
        let config = ResNetConfig {
            num_classes,
            ..self.config.clone()
        };
        config.validate()?;
        let mut rng = StdRng::seed_from_u64(seed);
        let first_id = self.fc.weight.id.val();
        let drawn = build::classifier(&config, &self.device(), first_id, |spec| {
            Ok::<_, Infallible>(init::draw(spec, &mut rng))
        });
        let fc = match drawn {
            Ok(fc) => fc,
            Err(never) => match never {},
        };
        Ok(Self { fc, config, ..self })
    }

    /// Whether [`Mode::Train`] leaves the batch norms in evaluation.
    pub fn has_frozen_batch_norm(&self) -> bool {
        self.bn_frozen
    }

    /// Normalises by the running statistics even in [`Mode::Train`], and leaves them alone. Right
    /// for networks whose statistics were folded away, and for batches of very few images. Recorded
    /// in [`ResNet::config`], so that it holds for every network read back with that.
    pub fn freeze_batch_norm(self) -> Self {
        let config = ResNetConfig {
            batch_norm_frozen: true,
            ..self.config.clone()
        };
        Self {
            bn_frozen: true,
            config,
            ..self
        }
    }

    /// Computes feature maps and convolutions in bfloat16. Weights, their gradients, statistics and normalisation of the batch
    /// norms, the classifier and so the logits stay float32: a step of the optimizer is often smaller than what bfloat16 can
    /// add to a weight. A way to compute and no property of the weights, so [`ResNet::config`] stays as it is.
    pub fn in_bfloat16(self) -> Self {
        Self {
            bfloat16: true,
            ..self
        }
    }

    /// Whether only the classifier is trained.
    pub fn has_frozen_backbone(&self) -> bool {
        self.backbone_frozen
    }

    /// Stops all gradients but those of the classifier, and freezes the batch norms. That is a way to
    /// train and no property of the weights, so [`ResNet::config`] stays as it is.
    pub fn freeze_backbone(self) -> Self {
        let fc = self.fc.clone();
        Self {
            fc,
            bn_frozen: true,
            backbone_frozen: true,
            ..self.map(&mut StopGradients)
        }
    }
}

/// [`Module::freeze`] without the flags that this network doesn't use.
struct StopGradients;

impl ModuleMapper for StopGradients {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.set_require_grad(false)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ModuleVisitor;
    use burn::tensor::Distribution;

    use super::*;
    use crate::model::{Architecture, state_dict};

    fn narrow(architecture: Architecture, num_classes: usize) -> ResNetConfig {
        ResNetConfig {
            width: 2,
            ..ResNetConfig::new(architecture, num_classes)
        }
    }

    fn images(shape: [usize; 4]) -> Tensor<4> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    struct Ids(Vec<u64>);

    impl ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.id.val());
        }
    }

    fn ids(model: &ResNet) -> Vec<u64> {
        let mut ids = Ids(Vec::new());
        model.visit(&mut ids);
        ids.0
    }

    #[test]
    fn any_image_from_32_pixels_up_gives_logits() {
        for architecture in Architecture::ALL {
            let config = narrow(architecture, 7);
            let model = ResNet::new(&config, 0, &Device::flex()).unwrap();
            for [height, width] in [[32, 32], [33, 47], [64, 225]] {
                let features = model.features(images([2, 3, height, width]), Mode::Eval);
                assert_eq!(features.dims(), [2, config.num_features()]);
                assert_eq!(model.head(features).dims(), [2, 7]);
            }
        }
    }

    #[test]
    fn a_seed_is_a_network() {
        let build = |seed| {
            let config = narrow(Architecture::Resnet18, 3);
            state_dict(&ResNet::new(&config, seed, &Device::flex()).unwrap())
        };
        assert_eq!(build(5), build(5));
        assert_ne!(build(5), build(6));
    }

    #[test]
    fn parameter_ids_count_in_traversal_order() {
        for architecture in Architecture::ALL {
            let config = narrow(architecture, 3);
            let model = ResNet::new(&config, 0, &Device::flex()).unwrap();
            let expected: Vec<u64> = (1..=config.tensors().len() as u64).collect();
            assert_eq!(ids(&model), expected);
            let model = model.with_new_head(9, 1).unwrap();
            assert_eq!(ids(&model), expected);
            assert_eq!(ids(&model.clone().train().valid()), expected);
        }
    }

    #[test]
    fn a_new_head_leaves_the_features_alone() {
        let model = ResNet::new(&narrow(Architecture::Resnet18, 3), 0, &Device::flex()).unwrap();
        let images = images([1, 3, 32, 32]);
        let before = model.features(images.clone(), Mode::Eval).into_data();
        let model = model.with_new_head(11, 1).unwrap();
        assert_eq!(
            model.features(images.clone(), Mode::Eval).into_data(),
            before
        );
        assert_eq!(model.forward(images, Mode::Eval).dims(), [1, 11]);
        assert_eq!(model.config().num_classes, 11);
        assert_eq!(model.with_new_head(0, 1).unwrap_err().field, "num_classes");
    }

    #[test]
    fn a_clone_keeps_its_statistics_while_the_origin_trains() {
        let model = ResNet::new(&narrow(Architecture::Resnet18, 3), 0, &Device::flex()).unwrap();
        let best = model.clone();
        let before = state_dict(&best);
        model.forward(images([2, 3, 64, 64]), Mode::Train);
        assert_ne!(state_dict(&model), before);
        assert_eq!(state_dict(&best), before);
    }
}
