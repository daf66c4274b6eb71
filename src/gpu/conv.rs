//! A convolution without bias on a GPU, with float32 weights and bfloat16 images.
//!
//! Input: images `[n, c, h, w]` of bfloat16, weights `[k, c, side, side]` of float32, `k` a multiple of 64. Output: images
//! `[n, k, oh, ow]`. The gradient of the weights is float32, too: it never passes through bfloat16.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, backend_extension};
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;

use super::conv_launch;
use super::conv_shape::Conv;
use super::{NOT_TWICE, burn, weight_launch};

/// The operation and its gradients.
#[backend_extension(Cube, Fusion, Autodiff)]
pub trait ConvOps: Backend {
    /// The convolution.
    #[fusion(meta = |x, weight, stride, pad| result_of(x, weight, *stride, *pad))]
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        pad: usize,
    ) -> FloatTensor<Self>;

    /// The gradient of `x`, whose channels are a multiple of eight.
    #[fusion(dtype = x, shape = x)]
    fn conv_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
        pad: usize,
    ) -> FloatTensor<Self>;

    /// The gradient of `weight`.
    #[fusion(dtype = weight, shape = weight)]
    fn conv_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
        pad: usize,
    ) -> FloatTensor<Self>;
}

fn result_of(x: &TensorSpec, weight: &TensorSpec, stride: usize, pad: usize) -> TensorSpec {
    let conv = Conv::new(&x.shape, &weight.shape, stride, pad);
    let [h, w] = conv.output();
    TensorSpec::new(Shape::from([conv.n, conv.k, h, w]), x.dtype)
}

impl ConvOps for CubeBackend {
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        pad: usize,
    ) -> FloatTensor<Self> {
        conv_launch::forward(x, weight, stride, pad)
    }

    fn conv_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
        pad: usize,
    ) -> FloatTensor<Self> {
        conv_launch::input_gradient(gradient, &x, weight, stride, pad)
    }

    fn conv_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
        pad: usize,
    ) -> FloatTensor<Self> {
        weight_launch::weight_gradient(x, gradient, &weight, stride, pad)
    }
}

#[derive(Debug)]
struct Convolution;

impl<B: ConvOps> Backward<B, 2> for Convolution {
    /// Images, weights, stride and padding.
    type State = (FloatTensor<B>, FloatTensor<B>, usize, usize);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (x, weight, stride, pad) = ops.state;
        let [x_parent, weight_parent] = ops.parents;
        if let Some(parent) = x_parent {
            let (x, weight, gradient) = (x.clone(), weight.clone(), gradient.clone());
            let found = B::conv_input_gradient(x, weight, gradient, stride, pad);
            grads.register::<B>(parent.id, found);
        }
        if let Some(parent) = weight_parent {
            let found = B::conv_weight_gradient(x, weight, gradient, stride, pad);
            grads.register::<B>(parent.id, found);
        }
    }
}

impl<B: ConvOps, C: CheckpointStrategy> ConvOps for Autodiff<B, C> {
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        pad: usize,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let y = B::conv(x.clone(), weight.clone(), stride, pad);
        match Convolution.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weight, stride, pad), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn conv_input_gradient(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: usize,
        _: usize,
    ) -> FloatTensor<Self> {
        panic!("{NOT_TWICE}")
    }

    fn conv_weight_gradient(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: usize,
        _: usize,
    ) -> FloatTensor<Self> {
        panic!("{NOT_TWICE}")
    }
}
