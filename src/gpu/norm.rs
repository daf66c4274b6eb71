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

use super::norm_launch::{self, Affine, Behind, Running, Statistics};
use super::{NOT_TWICE, burn};

/// The operation and its gradient. Tensors of channels are `[c]`, float32. Without `added` any images stand in for `shortcut` and `y`.
#[backend_extension(Cube, Fusion, Autodiff)]
pub trait NormOps: Backend {
    /// `relu(norm(z) + shortcut)`, the addition and the ReLU each where asked; mean and 1 over the standard deviation;
    /// and running mean and variance, moved.
    #[fusion(meta = |z, _shortcut, gamma, _beta, _mean, _variance, _momentum, _epsilon, _added, _relu| moved_of(z, gamma))]
    fn norm(
        z: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        momentum: f64,
        epsilon: f64,
        added: bool,
        relu: bool,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );

    /// Gradients of z, gamma, beta and, where it was added, of the shortcut; `y` is the result.
    #[fusion(meta = |z, _y, _gradient, _mean, _inverse, gamma, _beta, _added, _relu| gradients_of(z, gamma))]
    fn norm_backward(
        z: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        inverse: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        added: bool,
        relu: bool,
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

/// Images, two tensors of channels, and images again.
fn gradients_of(
    images: &TensorSpec,
    channels: &TensorSpec,
) -> (TensorSpec, TensorSpec, TensorSpec, TensorSpec) {
    let images = || images.clone();
    (images(), channels.clone(), channels.clone(), images())
}

fn behind(added: bool, relu: bool) -> Behind {
    match (added, relu) {
        (true, _) => Behind::Shortcut,
        (false, true) => Behind::Relu,
        (false, false) => Behind::Nothing,
    }
}

impl NormOps for CubeBackend {
    fn norm(
        z: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        momentum: f64,
        epsilon: f64,
        added: bool,
        relu: bool,
    ) -> (
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
        let shortcut = added.then_some(shortcut);
        let (y, found, [moved_mean, moved_variance]) =
            norm_launch::forward(z, affine, running, shortcut, behind(added, relu));
        (y, found.mean, found.inverse, moved_mean, moved_variance)
    }

    fn norm_backward(
        z: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        inverse: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        added: bool,
        relu: bool,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        let affine = Affine { gamma, beta };
        let (y, statistics) = (added.then_some(y), Statistics { mean, inverse });
        let found = norm_launch::backward(z, y, gradient, statistics, affine, behind(added, relu));
        // Nobody takes the gradient of a shortcut that was not there.
        let shortcut = found.shortcut.unwrap_or_else(|| found.z.clone());
        (found.z, found.gamma, found.beta, shortcut)
    }
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    z: FloatTensor<B>,
    /// The result, where a shortcut was added.
    y: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    mean: FloatTensor<B>,
    inverse: FloatTensor<B>,
    added: bool,
    relu: bool,
}

#[derive(Debug)]
struct Norm;

impl<B: NormOps> Backward<B, 4> for Norm {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Saved<B>, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let (z, gamma, beta, shortcut) = B::norm_backward(
            saved.z,
            saved.y,
            gradient,
            saved.mean,
            saved.inverse,
            saved.gamma,
            saved.beta,
            saved.added,
            saved.relu,
        );
        let [of_z, of_gamma, of_beta, of_shortcut] = ops.parents;
        // What stands in for a shortcut has no part in the result.
        let of_shortcut = of_shortcut.filter(|_| saved.added);
        let parents = [of_z, of_gamma, of_beta, of_shortcut];
        for (parent, value) in parents.into_iter().zip([z, gamma, beta, shortcut]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, value);
            }
        }
    }
}

impl<B: NormOps, C: CheckpointStrategy> NormOps for Autodiff<B, C> {
    fn norm(
        z: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        momentum: f64,
        epsilon: f64,
        added: bool,
        relu: bool,
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
        let (y, mean, inverse, moved_mean, moved_variance) = B::norm(
            z.clone(),
            shortcut.into_primitive(),
            gamma.clone(),
            beta.clone(),
            running_mean.into_primitive(),
            running_variance.into_primitive(),
            momentum,
            epsilon,
            added,
            relu,
        );
        let output = match Norm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let saved = Saved {
                    // A result that is not needed would be kept in memory.
                    y: if added { y.clone() } else { z.clone() },
                    z,
                    gamma,
                    beta,
                    mean: mean.clone(),
                    inverse: inverse.clone(),
                    added,
                    relu,
                };
                prep.finish(saved, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        };
        let constant = |t| Self::from_inner(t);
        (
            output,
            constant(mean),
            constant(inverse),
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
        _: FloatTensor<Self>,
        _: bool,
        _: bool,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        panic!("{NOT_TWICE}")
    }
}
