//! Batch norm by the statistics of the batch, a ReLU and the pooling behind a network's stem, as one operation on a GPU.
//!
//! Input: images `[n, c, h, w]`, bfloat16, in memory `[n, h, w, c]`. Output: the largest of 3 by 3 pixels at every second pixel,
//! `[n, c, (h + 1) / 2, (w + 1) / 2]`, and the statistics. The images in front of the pooling are the largest of the whole network:
//! normalised they are never written, neither is their gradient.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, backend_extension};
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;

use super::norm_launch::{self, Affine, Behind, Running, Statistics, pooled};
use super::{NOT_TWICE, burn};

/// The operation and its gradient. Tensors of channels are `[c]`, float32.
#[backend_extension(Cube, Fusion, Autodiff)]
pub trait NormPoolOps: Backend {
    /// The result; which of the nine pixels was the largest, as numbers from 0; mean and 1 over the standard deviation;
    /// and running mean and variance, moved.
    #[fusion(meta = |z, gamma, _beta, _mean, _variance, _momentum, _epsilon| results_of(z, gamma))]
    fn norm_pool(
        z: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        momentum: f64,
        epsilon: f64,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );

    /// Gradients of z, gamma and beta.
    #[fusion(meta = |z, _largest, _gradient, _mean, _inverse, gamma, _beta| gradients_of(z, gamma))]
    fn norm_pool_backward(
        z: FloatTensor<Self>,
        largest: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        inverse: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Two smaller images and four tensors of channels.
fn results_of(
    images: &TensorSpec,
    channels: &TensorSpec,
) -> (
    TensorSpec,
    TensorSpec,
    TensorSpec,
    TensorSpec,
    TensorSpec,
    TensorSpec,
) {
    let [n, c, h, w]: [usize; 4] = images.shape.dims();
    let small = || TensorSpec::new(Shape::from([n, c, pooled(h), pooled(w)]), images.dtype);
    let channels = || channels.clone();
    (
        small(),
        small(),
        channels(),
        channels(),
        channels(),
        channels(),
    )
}

/// Images and two tensors of channels.
fn gradients_of(
    images: &TensorSpec,
    channels: &TensorSpec,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    (images.clone(), channels.clone(), channels.clone())
}

impl NormPoolOps for CubeBackend {
    fn norm_pool(
        z: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        momentum: f64,
        epsilon: f64,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        let affine = Affine { gamma, beta };
        let running = Running {
            mean: running_mean,
            variance: running_variance,
            momentum: momentum as f32,
            epsilon: epsilon as f32,
        };
        let found = norm_launch::forward_pooled(z, affine, running);
        let [moved_mean, moved_variance] = found.moved;
        (
            found.y,
            found.largest,
            found.statistics.mean,
            found.statistics.inverse,
            moved_mean,
            moved_variance,
        )
    }

    fn norm_pool_backward(
        z: FloatTensor<Self>,
        largest: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        inverse: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let affine = Affine { gamma, beta };
        let statistics = Statistics { mean, inverse };
        let found =
            norm_launch::backward(z, Some(largest), gradient, statistics, affine, Behind::Pool);
        (found.z, found.gamma, found.beta)
    }
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    z: FloatTensor<B>,
    largest: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    mean: FloatTensor<B>,
    inverse: FloatTensor<B>,
}

#[derive(Debug)]
struct NormPool;

impl<B: NormPoolOps> Backward<B, 3> for NormPool {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Saved<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let (z, gamma, beta) = B::norm_pool_backward(
            saved.z,
            saved.largest,
            gradient,
            saved.mean,
            saved.inverse,
            saved.gamma,
            saved.beta,
        );
        for (parent, value) in ops.parents.into_iter().zip([z, gamma, beta]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, value);
            }
        }
    }
}

impl<B: NormPoolOps, C: CheckpointStrategy> NormPoolOps for Autodiff<B, C> {
    fn norm_pool(
        z: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        momentum: f64,
        epsilon: f64,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        let nodes = [z.node(), gamma.node(), beta.node()];
        let (z, gamma, beta) = (
            z.into_primitive(),
            gamma.into_primitive(),
            beta.into_primitive(),
        );
        let (y, largest, mean, inverse, moved_mean, moved_variance) = B::norm_pool(
            z.clone(),
            gamma.clone(),
            beta.clone(),
            running_mean.into_primitive(),
            running_variance.into_primitive(),
            momentum,
            epsilon,
        );
        let output = match NormPool.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let saved = Saved {
                    z,
                    largest: largest.clone(),
                    gamma,
                    beta,
                    mean: mean.clone(),
                    inverse: inverse.clone(),
                };
                prep.finish(saved, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        };
        let constant = |t| Self::from_inner(t);
        (
            output,
            constant(largest),
            constant(mean),
            constant(inverse),
            constant(moved_mean),
            constant(moved_variance),
        )
    }

    fn norm_pool_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("{NOT_TWICE}")
    }
}
