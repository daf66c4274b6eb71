//! The parts of a ResNet: convolutions with batch norm, residual blocks and poolings.
//!
//! Input and output: feature maps `[N, C, H, W]`.

use burn::module::{Module, Param};
use burn::tensor::{
    Tensor,
    activation::relu,
    module::{conv2d, max_pool2d},
    ops::{ConvOptions, MaxPoolOptions},
};

use super::batch_norm::{BatchNorm2d, Mode};

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
