//! Batch norm by the statistics of the batch, with what follows it, as one operation on a GPU.
//!
//! Input: images `[n, c, h, w]`, float32 or bfloat16, in memory `[n, h, w, c]`. Output: images of the same kind, and the statistics.
//! Burn computes a batch norm by a dozen operations, each of which reads or writes whole feature maps, in bfloat16 all in float32. This
//! reads them twice and writes them once forward, and reads them twice more and writes them once backward, with the ReLU and the
//! addition of the shortcut on the way.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, backend_extension};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::burn;
use super::norm_launch::{self, Affine, Running, Statistics};

/// The operation and its gradient. Tensors of channels are `[c]`, float32.
#[backend_extension(Cube, Fusion, Autodiff)]
pub trait NormOps: Backend {
    /// `relu(norm(z))`, or without the ReLU; mean and biased variance; and the running ones, moved.
    #[fusion(meta = |z, gamma, _beta, _mean, _variance, _momentum, _epsilon, _relu| moved_of(z, gamma))]
    fn norm(
        z: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        momentum: f64,
        epsilon: f64,
        relu: bool,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );

    /// `relu(norm(z) + shortcut)`; and the same.
    #[fusion(meta = |z, _shortcut, gamma, _beta, _mean, _variance, _momentum, _epsilon| moved_of(z, gamma))]
    fn norm_add(
        z: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
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
    );

    /// Gradients of z, gamma and beta.
    #[fusion(meta = |z, _gradient, _mean, _variance, gamma, _beta, _epsilon, _relu| result_of(z, gamma))]
    fn norm_backward(
        z: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Gradients of z, gamma, beta and the shortcut; `y` is the result.
    #[fusion(meta = |z, _y, _gradient, _mean, _variance, gamma, _beta, _epsilon| {
        let (z, gamma, beta) = result_of(z, gamma);
        (z.clone(), gamma, beta, z)
    })]
    fn norm_add_backward(
        z: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
}

/// Images and four tensors of channels.
fn moved_of(
    images: &TensorSpec,
    channels: &TensorSpec,
) -> (TensorSpec, TensorSpec, TensorSpec, TensorSpec, TensorSpec) {
    let channels = || channels.clone();
    (
        images.clone(),
        channels(),
        channels(),
        channels(),
        channels(),
    )
}

/// Images and two tensors of channels.
fn result_of(images: &TensorSpec, channels: &TensorSpec) -> (TensorSpec, TensorSpec, TensorSpec) {
    (images.clone(), channels.clone(), channels.clone())
}

fn running(mean: CubeTensor, variance: CubeTensor, momentum: f64) -> Running {
    Running {
        statistics: Statistics { mean, variance },
        momentum: momentum as f32,
    }
}

impl NormOps for CubeBackend {
    fn norm(
        z: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        momentum: f64,
        epsilon: f64,
        relu: bool,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        let affine = Affine {
            gamma,
            beta,
            epsilon: epsilon as f32,
        };
        let running = running(running_mean, running_variance, momentum);
        let (y, found, moved) = norm_launch::forward(z, affine, running, None, relu);
        (y, found.mean, found.variance, moved.mean, moved.variance)
    }

    fn norm_add(
        z: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
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
    ) {
        let affine = Affine {
            gamma,
            beta,
            epsilon: epsilon as f32,
        };
        let running = running(running_mean, running_variance, momentum);
        let (y, found, moved) = norm_launch::forward(z, affine, running, Some(shortcut), true);
        (y, found.mean, found.variance, moved.mean, moved.variance)
    }

    fn norm_backward(
        z: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let affine = Affine {
            gamma,
            beta,
            epsilon: epsilon as f32,
        };
        let statistics = Statistics { mean, variance };
        let found = norm_launch::backward(z, None, gradient, statistics, affine, relu);
        (found.z, found.gamma, found.beta)
    }

    fn norm_add_backward(
        z: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        let affine = Affine {
            gamma,
            beta,
            epsilon: epsilon as f32,
        };
        let statistics = Statistics { mean, variance };
        let found = norm_launch::backward(z, Some(y), gradient, statistics, affine, true);
        let shortcut = found
            .shortcut
            .unwrap_or_else(|| unreachable!("y was given"));
        (found.z, found.gamma, found.beta, shortcut)
    }
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    z: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    mean: FloatTensor<B>,
    variance: FloatTensor<B>,
    epsilon: f64,
    /// The result, where a shortcut was added.
    y: Option<FloatTensor<B>>,
    relu: bool,
}

#[derive(Debug)]
struct Norm;

impl<B: NormOps> Backward<B, 3> for Norm {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Saved<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let Saved {
            z,
            gamma,
            beta,
            mean,
            variance,
            epsilon,
            relu,
            ..
        } = ops.state;
        let (z, gamma, beta) =
            B::norm_backward(z, gradient, mean, variance, gamma, beta, epsilon, relu);
        for (parent, value) in ops.parents.into_iter().zip([z, gamma, beta]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, value);
            }
        }
    }
}

#[derive(Debug)]
struct NormAdd;

impl<B: NormOps> Backward<B, 4> for NormAdd {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Saved<B>, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let Saved {
            z,
            gamma,
            beta,
            mean,
            variance,
            epsilon,
            y,
            ..
        } = ops.state;
        let y = y.unwrap_or_else(|| unreachable!("saved with a shortcut"));
        let (z, gamma, beta, shortcut) =
            B::norm_add_backward(z, y, gradient, mean, variance, gamma, beta, epsilon);
        for (parent, value) in ops.parents.into_iter().zip([z, gamma, beta, shortcut]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, value);
            }
        }
    }
}

impl<B: NormOps, C: CheckpointStrategy> NormOps for Autodiff<B, C> {
    fn norm(
        z: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        momentum: f64,
        epsilon: f64,
        relu: bool,
    ) -> (
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
        let (running_mean, running_variance) = (
            running_mean.into_primitive(),
            running_variance.into_primitive(),
        );
        let (y, mean, variance, moved_mean, moved_variance) = B::norm(
            z.clone(),
            gamma.clone(),
            beta.clone(),
            running_mean,
            running_variance,
            momentum,
            epsilon,
            relu,
        );
        let y = match Norm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (mean, variance) = (mean.clone(), variance.clone());
                let saved = Saved {
                    z,
                    gamma,
                    beta,
                    mean,
                    variance,
                    epsilon,
                    y: None,
                    relu,
                };
                prep.finish(saved, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        };
        let constant = |t| Self::from_inner(t);
        (
            y,
            constant(mean),
            constant(variance),
            constant(moved_mean),
            constant(moved_variance),
        )
    }

    fn norm_add(
        z: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
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
    ) {
        let nodes = [z.node(), gamma.node(), beta.node(), shortcut.node()];
        let (z, gamma, beta) = (
            z.into_primitive(),
            gamma.into_primitive(),
            beta.into_primitive(),
        );
        let shortcut = shortcut.into_primitive();
        let (running_mean, running_variance) = (
            running_mean.into_primitive(),
            running_variance.into_primitive(),
        );
        let (y, mean, variance, moved_mean, moved_variance) = B::norm_add(
            z.clone(),
            shortcut,
            gamma.clone(),
            beta.clone(),
            running_mean,
            running_variance,
            momentum,
            epsilon,
        );
        let y = match NormAdd.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (mean, variance) = (mean.clone(), variance.clone());
                let kept = Some(y.clone());
                let saved = Saved {
                    z,
                    gamma,
                    beta,
                    mean,
                    variance,
                    epsilon,
                    y: kept,
                    relu: true,
                };
                prep.finish(saved, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        };
        let constant = |t| Self::from_inner(t);
        (
            y,
            constant(mean),
            constant(variance),
            constant(moved_mean),
            constant(moved_variance),
        )
    }

    fn norm_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: f64,
        _: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unimplemented!("second derivatives of a batch norm")
    }

    fn norm_add_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: f64,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        unimplemented!("second derivatives of a batch norm")
    }
}
