//! An exponential moving average of the weights.
//!
//! Input: the model after each optimizer step. Output: a second model whose weights and statistics trail behind, which
//! usually generalises better. The decay warms up as `(1 + step) / (10 + step)`, TensorFlow's rule, so that early random
//! weights are forgotten.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::model::ResNet;

/// The averaged model, on the device without gradients.
#[derive(Clone, Debug)]
pub struct Ema {
    pub model: ResNet,
    decay: f64,
}

impl Ema {
    /// Starts at the given weights.
    pub fn new(model: &ResNet, decay: f64) -> Self {
        Ema {
            model: model.valid(),
            decay,
        }
    }

    /// Goes on from weights that a checkpoint kept.
    pub fn of(model: ResNet, decay: f64) -> Self {
        Ema { model, decay }
    }

    /// Moves the average towards `model` after the optimizer step with this number, from 0. With a frozen backbone only
    /// the head is averaged: the rest does not move.
    pub fn update(&mut self, model: &ResNet, step: usize) {
        let step = step as f64;
        let decay = self.decay.min((1.0 + step) / (10.0 + step));
        let mut current = Collect {
            weights: GradientsParams::new(),
            trained_only: model.has_frozen_backbone(),
        };
        model.visit(&mut current);
        let average = self.model.clone();
        self.model = average.map(&mut Blend {
            current: current.weights,
            decay,
        });
    }
}

/// Weights by parameter. GradientsParams is Burn's one container of tensors of any rank.
struct Collect {
    weights: GradientsParams,
    trained_only: bool,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.trained_only || param.is_require_grad() {
            let value = param.val().without_autodiff();
            self.weights.register::<D>(param.id, value);
        }
    }
}

struct Blend {
    current: GradientsParams,
    decay: f64,
}

impl Blend {
    fn blended<const D: usize>(&mut self, id: ParamId, average: Tensor<D>) -> Tensor<D> {
        match self.current.remove::<D>(id) {
            Some(current) => average * self.decay + current * (1.0 - self.decay),
            None => average,
        }
    }
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        param.map(|average| self.blended::<D>(id, average))
    }
}
