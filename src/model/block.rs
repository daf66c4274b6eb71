//! The parts of a ResNet: convolutions with batch norm, residual blocks and poolings.
//!
//! Input and output: feature maps `[N, C, H, W]`.

use burn::module::{Module, Param};
use burn::tensor::{
    Tensor,
    module::{conv2d, max_pool2d},
    ops::{ConvOptions, MaxPoolOptions},
};

use super::batch_norm::{BatchNorm2d, Mode};
use crate::kernels::layer::{self, Layer, Parameters, Pool};

/// A convolution without bias, followed by batch norm.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// `[out, in, kernel, kernel]`
    pub weight: Param<Tensor<4>>,
    pub norm: BatchNorm2d,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl ConvNorm {
    /// `[N, in, H, W]` to `[N, out, H / stride, W / stride]`, computed in the type of the input; the weights stay as they are,
    /// and gradients reach them in their own type.
    pub fn forward(&self, input: Tensor<4>, mode: Mode) -> Tensor<4> {
        self.forward_then(input, mode, None, false)
    }

    /// The same, then the addition of `shortcut` and a ReLU, each where asked.
    pub(crate) fn forward_then(
        &self,
        input: Tensor<4>,
        mode: Mode,
        shortcut: Option<Tensor<4>>,
        relu: bool,
    ) -> Tensor<4> {
        let convolved = self.convolve(input);
        self.norm.forward_then(convolved, mode, shortcut, relu)
    }

    /// [`ConvNorm::forward`], then a ReLU and the pooling of a stem.
    pub(super) fn forward_then_pool(&self, input: Tensor<4>, mode: Mode) -> Tensor<4> {
        self.norm.forward_then_pool(self.convolve(input), mode)
    }

    /// The convolution alone.
    pub(crate) fn convolve(&self, input: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        #[cfg(feature = "cuda")]
        if crate::gpu::convolves(&input, &weight) {
            return crate::gpu::conv(input, weight, self.stride, self.padding);
        }
        let weight = weight.cast(input.dtype());
        conv2d(input, weight, None, self.options())
    }

    /// Images of the CPU backend `[N, H, W, in]` to `[N, H / stride, W / stride, out]`, with what follows: the addition of
    /// `shortcut`, a ReLU and a pooling.
    pub(crate) fn forward_channels_last(
        &self,
        input: Tensor<4>,
        mode: Mode,
        shortcut: Option<Tensor<4>>,
        relu: bool,
        pool: Option<Pool>,
    ) -> Tensor<4> {
        let layer = Layer {
            stride: self.stride,
            pad: self.padding,
            statistics: self.norm.statistics(mode),
            epsilon: self.norm.epsilon,
            relu,
            pool,
        };
        let parameters = Parameters {
            weight: self.weight.val(),
            gamma: self.norm.gamma.val(),
            beta: self.norm.beta.val(),
        };
        let (output, moments) = layer::forward(input, parameters, shortcut, &layer);
        if let Some(moments) = moments {
            self.norm.absorb(moments);
        }
        output
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
        let mut shortcut = Some(shortcut);
        let mut output = input;
        for (i, conv) in self.convs.iter().enumerate() {
            let last = i + 1 == self.convs.len();
            let added = if last { shortcut.take() } else { None };
            output = conv.forward_then(output, mode, added, true);
        }
        output
    }
}

impl Block {
    /// [`Block::forward`] on the CPU backend, `[N, H, W, in]` to `[N, H / stride, W / stride, out]`.
    pub(crate) fn forward_channels_last(&self, input: Tensor<4>, mode: Mode) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some(projection) => {
                projection.forward_channels_last(input.clone(), mode, None, false, None)
            }
            None => input.clone(),
        };
        let mut shortcut = Some(shortcut);
        let mut output = input;
        for (i, conv) in self.convs.iter().enumerate() {
            let last = i + 1 == self.convs.len();
            let added = if last { shortcut.take() } else { None };
            output = conv.forward_channels_last(output, mode, added, true, None);
        }
        output
    }
}

/// The 3x3 max pooling behind the stem: `[N, C, H, W]` to `[N, C, H / 2, W / 2]`.
pub(crate) fn stem_max_pool(x: Tensor<4>) -> Tensor<4> {
    let options = MaxPoolOptions::new([STEM_POOL.window; 2])
        .with_stride([STEM_POOL.stride; 2])
        .with_padding([STEM_POOL.pad; 2]);
    max_pool2d(x, options)
}

/// Sizes of that pooling.
pub(crate) const STEM_POOL: Pool = Pool {
    window: 3,
    stride: 2,
    pad: 1,
};

/// `[N, C, H, W]` to the mean over the image, `[N, C]`.
pub(crate) fn global_average_pool(x: Tensor<4>) -> Tensor<2> {
    let [n, channels, height, width] = x.dims();
    x.reshape([n, channels, height * width])
        .mean_dim(2)
        .reshape([n, channels])
}

/// The same of `[N, H, W, C]`.
pub(crate) fn global_average_pool_channels_last(x: Tensor<4>) -> Tensor<2> {
    let [n, height, width, channels] = x.dims();
    x.reshape([n, height * width, channels])
        .mean_dim(1)
        .reshape([n, channels])
}
