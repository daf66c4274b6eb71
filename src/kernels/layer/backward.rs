//! The gradients of a layer.
//!
//! Input: what the forward pass saved, and the gradient of its output. Output: the gradients that somebody wants.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};

use super::{Saved, Statistics, Values, from_map, new, slice};
use crate::kernels::conv::{input_gradient, weight_gradient};
use crate::kernels::memory::Map;
use crate::kernels::norm::{self, GradientSums, InputGradient};
use crate::kernels::pool::PoolGradient;
use crate::kernels::{ConvShape, Isa, scratch};

/// A layer without a shortcut.
#[derive(Debug)]
pub(super) struct Plain;

/// A layer with a shortcut.
#[derive(Debug)]
pub(super) struct Residual;

impl Backward<Flex, 4> for Plain {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|parent| parent.id));
        backward(ops.state, gradient, parents, None, grads);
    }
}

impl Backward<Flex, 5> for Residual {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|parent| parent.id));
        let [x, weight, gamma, beta, shortcut] = parents;
        backward(
            ops.state,
            gradient,
            [x, weight, gamma, beta],
            shortcut,
            grads,
        );
    }
}

/// Computes the gradients of the parents that want one, on the thread pool, and registers them.
fn backward(
    saved: Saved,
    gradient: Values,
    parents: [Option<NodeId>; 4],
    shortcut: Option<NodeId>,
    grads: &mut Gradients,
) {
    let wanted = Wanted {
        inputs: parents.each_ref().map(Option::is_some),
        shortcut: shortcut.is_some(),
    };
    let found = rayon::scope(|_| gradients(saved, gradient, wanted));
    let pairs = parents.into_iter().zip(found.inputs);
    for pair in pairs.chain([(shortcut, found.shortcut)]) {
        if let (Some(parent), Some(value)) = pair {
            grads.register::<Flex>(parent, value);
        }
    }
}

/// Which gradients somebody wants: of x, weight, gamma and beta, and of the shortcut.
#[derive(Clone, Copy)]
struct Wanted {
    inputs: [bool; 4],
    shortcut: bool,
}

/// These gradients.
struct Found {
    inputs: [Option<Values>; 4],
    shortcut: Option<Values>,
}

fn gradients(saved: Saved, gradient: Values, wanted: Wanted) -> Found {
    let isa = Isa::detect();
    // Replaced, not shadowed: what is changed in place below must have no second owner.
    let mut gradient = {
        let given = gradient;
        given.to_contiguous()
    };
    let pool_shape = saved.layer.pool.map(|pool| saved.pool_shape(pool));
    let Saved {
        inputs,
        shape,
        mut z,
        moments,
        layer,
        output,
        places,
    } = saved;
    let pool = (pool_shape.as_ref().zip(places.as_ref())).map(|(shape, places)| PoolGradient {
        shape,
        gradient: slice(&gradient),
        places: slice(places),
        z: slice(&z),
    });
    let output = output.as_ref().map(slice);
    let sums = match &pool {
        Some(pool) => pool.sums(isa, &moments.mean),
        None => norm::gradient_sums(isa, slice(&gradient), output, slice(&z), &moments.mean),
    };
    let (gamma, precision) = (slice(&inputs.gamma), moments.precision(layer.epsilon));
    let products = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
    let terms = match layer.statistics {
        Statistics::Batch => {
            let rows = shape.output_len() / shape.k;
            InputGradient::of_batch(gamma, &moments, layer.epsilon, &sums, rows)
        }
        Statistics::Fixed(_) => InputGradient::fixed(&products(gamma, &precision)),
    };
    let [x, weight, ..] = wanted.inputs;
    let mut convolution = Convolution {
        isa,
        shape,
        x: slice(&inputs.x),
        weight: slice(&inputs.weight),
        dx: x.then(|| Map::new(shape.input_len())),
        dw: weight.then(|| Map::zeros(shape.weights_len())),
    };
    match pool {
        Some(pool) => convolution.backward_pooled(pool, &terms),
        None => {
            let (gradient, dz) = (gradient.storage_mut(), z.storage_mut());
            norm::input_gradient(isa, gradient, output, dz, &terms, wanted.shortcut);
            convolution.backward(0..shape.n, dz);
        }
    }
    let Convolution { dx, dw, .. } = convolution;
    let gamma_gradient = products(&sums.product, &precision);
    found(&shape, dx, dw, gamma_gradient, sums, wanted, gradient)
}

/// The gradients as tensors.
fn found(
    shape: &ConvShape,
    dx: Option<Map>,
    dw: Option<Map>,
    gamma: Vec<f32>,
    sums: GradientSums,
    wanted: Wanted,
    shortcut: Values,
) -> Found {
    let [_, _, gamma_wanted, beta_wanted] = wanted.inputs;
    let k = shape.k;
    Found {
        inputs: [
            dx.map(|dx| from_map(dx, &[shape.n, shape.h, shape.w, shape.c])),
            dw.map(|dw| from_map(dw, &[k, shape.c, shape.kh, shape.kw])),
            gamma_wanted.then(|| new(gamma, &[k])),
            beta_wanted.then(|| new(sums.gradient, &[k])),
        ],
        shortcut: wanted.shortcut.then_some(shortcut),
    }
}

/// The convolution's part of the backward pass.
struct Convolution<'a> {
    isa: Isa,
    shape: ConvShape,
    x: &'a [f32],
    weight: &'a [f32],
    dx: Option<Map>,
    dw: Option<Map>,
}

impl Convolution<'_> {
    /// The gradients of some images, given that of their results.
    fn backward(&mut self, images: Range<usize>, dz: &[f32]) {
        let part = ConvShape {
            n: images.len(),
            ..self.shape
        };
        let image = self.shape.input_len() / self.shape.n;
        let range = images.start * image..images.end * image;
        if let Some(dw) = &mut self.dw {
            weight_gradient(self.isa, &self.x[range.clone()], &part, dz, dw);
        }
        if let Some(dx) = &mut self.dx {
            input_gradient(self.isa, dz, &part, self.weight, &mut dx[range]);
        }
    }

    /// The same of all images behind a pooling: the gradient of the largest feature map is made for a few images at a time.
    fn backward_pooled(&mut self, pool: PoolGradient, terms: &InputGradient) {
        const IMAGES: usize = 4;
        let image = self.shape.output_len() / self.shape.n;
        if self.dw.is_none() && self.dx.is_none() {
            return;
        }
        scratch::with(IMAGES.min(self.shape.n) * image, |dz| {
            for first in (0..self.shape.n).step_by(IMAGES) {
                let images = first..self.shape.n.min(first + IMAGES);
                let dz = &mut dz[..images.len() * image];
                pool.input_gradient(self.isa, terms, images.clone(), dz);
                self.backward(images, dz);
            }
        });
    }
}
