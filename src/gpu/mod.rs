//! Operations of a network on a GPU that are faster as one kernel than as Burn's several.
//!
//! Input: tensors on Burn's CUDA backend, with or without autodiff. Output: tensors there.
//!
//! ```text
//! conv (autodiff) -> conv_launch   -> conv_kernels     forward, and the gradient of the input
//!                \-> weight_launch -> weight_kernels   the gradient of the weights
//!                    both          -> gather_kernels   layouts: packed weights, rows of neighbourhoods
//! norm, norm_pool (autodiff) -> norm_launch -> norm_kernels, norm_gradients, pool_kernels
//!                                              batch norm with an addition, a ReLU, a pooling
//! ```
//!
//! Why it is here: a ResNet18 in bfloat16 on an H200 spent two thirds of a training step in the weight gradients of its convolutions and in
//! its 7x7 convolution of three channels, for which Burn's kernels reach 2 to 25 TFLOP/s, and most of the rest of what was not a
//! convolution in batch norms of a dozen passes. What each kernel reaches is in `benches/RESULTS.md`.
// Kernels take their operands one by one.
#![allow(clippy::too_many_arguments)]

mod conv;
mod conv_kernels;
mod conv_launch;
mod conv_shape;
mod gather_kernels;
mod norm;
mod norm_gradients;
mod norm_kernels;
mod norm_launch;
mod norm_pool;
mod places;
mod pool_kernels;
mod tensors;
mod weight_kernels;
mod weight_launch;

/// Burn re-exports its fusion only under a feature that builds all of Burn anew; the macro of the operations looks for it there.
mod burn {
    pub use ::burn::*;
    pub mod backend {
        pub use ::burn::backend::*;
        pub use burn_fusion as fusion;
    }
}

use burn::backend::{Autodiff, Cube, Dispatch, DispatchTensor};
use burn::tensor::{DType, Tensor};

pub use conv::ConvOps;
pub use norm::NormOps;
pub use norm_pool::NormPoolOps;

/// What a gradient of a gradient gets, as with Burn's own operations of several steps. Nothing in this crate asks for one.
const NOT_TWICE: &str = "the operations of this room are differentiated once";

/// Whether this room computes with `tensor`: float32 or bfloat16 on a GPU.
pub fn accepts<const D: usize>(tensor: &Tensor<D>) -> bool {
    let inner = |t: Tensor<D>| t.try_into_primitive::<Cube>().is_ok();
    let tracked = |t: Tensor<D>| t.try_into_primitive::<Autodiff<Cube>>().is_ok();
    matches!(tensor.dtype(), DType::F32 | DType::BF16)
        && match tensor.device().is_autodiff() {
            true => tracked(tensor.clone()),
            false => inner(tensor.clone()),
        }
}

/// A batch norm by the statistics of the batch.
#[derive(Clone, Debug)]
pub struct Normalised {
    /// `[n, c, h, w]`, of the type of the input.
    pub output: Tensor<4>,
    /// Mean of each channel, `[c]`, float32.
    pub mean: Tensor<1>,
    /// 1 over the square root of each channel's biased variance and epsilon, `[c]`, float32.
    pub inverse: Tensor<1>,
    /// The running mean and the running unbiased variance, moved by the batch; both `[c]`, float32.
    pub running: [Tensor<1>; 2],
}

impl Normalised {
    fn new(
        output: DispatchTensor,
        mean: DispatchTensor,
        inverse: DispatchTensor,
        running: [DispatchTensor; 2],
    ) -> Self {
        Normalised {
            output: Tensor::from_dispatch(output),
            mean: Tensor::from_dispatch(mean),
            inverse: Tensor::from_dispatch(inverse),
            running: running.map(Tensor::from_dispatch),
        }
    }
}

/// What a batch norm has besides its input. All tensors are `[c]`, float32.
#[derive(Clone, Debug)]
pub struct Norm {
    pub gamma: Tensor<1>,
    pub beta: Tensor<1>,
    pub running_mean: Tensor<1>,
    /// Unbiased.
    pub running_variance: Tensor<1>,
    /// Weight of the batch in the running statistics.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

/// `relu(norm(input) + shortcut)`; a shortcut comes with a ReLU, without one that is as asked.
///
/// # Panics
/// Tensors for which [`accepts`] is false, or a shortcut of another type than the input.
pub fn norm(input: Tensor<4>, norm: Norm, shortcut: Option<Tensor<4>>, relu: bool) -> Normalised {
    let added = shortcut.is_some();
    let input = input.into_dispatch();
    let shortcut = shortcut.map_or_else(|| input.clone(), Tensor::into_dispatch);
    let found = Dispatch::norm(
        input,
        shortcut,
        norm.gamma.into_dispatch(),
        norm.beta.into_dispatch(),
        norm.running_mean.into_dispatch(),
        norm.running_variance.into_dispatch(),
        norm.momentum,
        norm.epsilon,
        added,
        relu || added,
    );
    let (output, mean, inverse, running_mean, running_variance) = found;
    Normalised::new(output, mean, inverse, [running_mean, running_variance])
}

/// `max_pool(relu(norm(input)))` with windows of 3 by 3 at every second pixel and a border of one.
///
/// # Panics
/// Tensors for which [`accepts`] is false.
pub fn norm_pool(input: Tensor<4>, norm: Norm) -> Normalised {
    let (output, _, mean, inverse, running_mean, running_variance) = Dispatch::norm_pool(
        input.into_dispatch(),
        norm.gamma.into_dispatch(),
        norm.beta.into_dispatch(),
        norm.running_mean.into_dispatch(),
        norm.running_variance.into_dispatch(),
        norm.momentum,
        norm.epsilon,
    );
    Normalised::new(output, mean, inverse, [running_mean, running_variance])
}

/// Whether [`conv`] computes this convolution: images of bfloat16 and [weights that it takes](takes_weight). An input with a gradient needs a
/// multiple of eight channels.
pub fn convolves(images: &Tensor<4>, weight: &Tensor<4>) -> bool {
    let [_, c, _, _] = weight.dims();
    takes_weight(weight, images.dtype())
        && (c.is_multiple_of(8) || !images.is_require_grad())
        && accepts(images)
}

/// Whether [`conv`] takes these weights for images of type `images`: float32 on a GPU, a square kernel, a multiple of 64 output channels.
pub fn takes_weight(weight: &Tensor<4>, images: DType) -> bool {
    let [k, _, height, width] = weight.dims();
    images == DType::BF16
        && weight.dtype() == DType::F32
        && height == width
        && k.is_multiple_of(64)
        && accepts(weight)
}

/// The convolution of images `[n, c, h, w]` with weights `[k, c, side, side]`.
///
/// # Panics
/// Tensors for which [`convolves`] is false.
pub fn conv(images: Tensor<4>, weight: Tensor<4>, stride: usize, pad: usize) -> Tensor<4> {
    let (images, weight) = (images.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(Dispatch::conv(images, weight, stride, pad))
}
