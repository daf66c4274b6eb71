//! The residual network itself.
//!
//! Input: images `[N, 3, H, W]`, any size from 32 up, and a [`Mode`]. Output: features `[N, C]` and
//! logits `[N, num_classes]`. The structure comes from [`ResNetConfig::layout`].

use std::convert::Infallible;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::nn::Linear;
use burn::tensor::{
    Device, Tensor, TensorData,
    activation::relu,
    module::{conv2d, max_pool2d},
    ops::{ConvOptions, MaxPoolOptions},
};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    batch_norm::{BatchNorm2d, Mode, RunningStatistic},
    init,
    layout::{BlockSpec, ConfigError, ConvSpec, ResNetConfig, TensorSpec},
};

/// A convolution without bias, followed by batch norm.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// `[out, in, kernel, kernel]`
    pub weight: Param<Tensor<4>>,
    pub norm: BatchNorm2d,
    stride: usize,
    padding: usize,
}

impl ConvNorm {
    /// `[N, in, H, W]` to `[N, out, H / stride, W / stride]`.
    pub fn forward(&self, input: Tensor<4>, mode: Mode) -> Tensor<4> {
        let output = conv2d(input, self.weight.val(), None, self.options());
        self.norm.forward(output, mode)
    }

    pub(crate) fn options(&self) -> ConvOptions<2> {
        ConvOptions::new([self.stride; 2], [self.padding; 2], [1, 1], 1)
    }
}

/// A residual block, basic (two convolutions) or bottleneck (three).
#[derive(Module, Debug)]
pub struct Block {
    pub convs: Vec<ConvNorm>,
    /// The projection on the shortcut, where channels or resolution change.
    pub downsample: Option<ConvNorm>,
}

impl Block {
    /// `[N, in, H, W]` to `[N, out, H / stride, W / stride]`.
    pub fn forward(&self, input: Tensor<4>, mode: Mode) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some(projection) => projection.forward(input.clone(), mode),
            None => input.clone(),
        };
        let mut output = input;
        for (i, conv) in self.convs.iter().enumerate() {
            // The last convolution gets its ReLU after the addition.
            let activated = if i == 0 { output } else { relu(output) };
            output = conv.forward(activated, mode);
        }
        relu(output + shortcut)
    }
}

/// The 3x3 max pooling behind the stem: `[N, C, H, W]` to `[N, C, H / 2, W / 2]`.
pub(crate) fn stem_max_pool(x: Tensor<4>) -> Tensor<4> {
    let options = MaxPoolOptions::new([3, 3])
        .with_stride([2, 2])
        .with_padding([1, 1]);
    max_pool2d(x, options)
}

/// `[N, C, H, W]` to the mean over the image, `[N, C]`.
pub(crate) fn global_average_pool(x: Tensor<4>) -> Tensor<2> {
    let [n, channels, height, width] = x.dims();
    x.reshape([n, channels, height * width])
        .mean_dim(2)
        .reshape([n, channels])
}

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
    bn_frozen: bool,
    backbone_frozen: bool,
    #[module(skip)]
    config: ResNetConfig,
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
            bn_frozen: false,
            backbone_frozen: false,
            config: config.clone(),
        })
    }

    /// The shape of this network.
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

    /// Images `[N, 3, H, W]` to features `[N, num_features]`, averaged over the image.
    pub fn features(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        let mode = if self.bn_frozen { Mode::Eval } else { mode };
        let mut x = stem_max_pool(relu(self.stem.forward(images, mode)));
        for block in self.stages.iter().flatten() {
            x = block.forward(x, mode);
        }
        global_average_pool(x)
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
        let mut source = |spec: &TensorSpec| Ok::<_, Infallible>(init::draw(spec, &mut rng));
        let mut builder = Builder {
            config: &config,
            device: &self.device(),
            next_id: self.fc.weight.id.val(),
            source: &mut source,
        };
        let fc = match builder.classifier() {
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
    /// for networks whose statistics were folded away, and for batches of very few images.
    pub fn freeze_batch_norm(self) -> Self {
        Self {
            bn_frozen: true,
            ..self
        }
    }

    /// Whether only the classifier is trained.
    pub fn has_frozen_backbone(&self) -> bool {
        self.backbone_frozen
    }

    /// Stops all gradients but those of the classifier, and freezes the batch norms.
    pub fn freeze_backbone(self) -> Self {
        let fc = self.fc.clone();
        let frozen = self.map(&mut StopGradients).freeze_batch_norm();
        Self {
            fc,
            backbone_frozen: true,
            ..frozen
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
        let value = Tensor::from_data(data, self.device);
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

    #[test]
    fn transposes() {
        assert_eq!(
            transpose(&[1., 2., 3., 4., 5., 6.], 2, 3),
            [1., 4., 2., 5., 3., 6.]
        );
    }
}
