//! The optimizer of a run, Burn's with PyTorch's constants.
//!
//! Input: the configuration. Output: a [`ModuleOptimizer`]. Burn's own defaults differ where it matters: epsilon 1e-5
//! instead of 1e-8, and a momentum damped by 0.1.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, RmsPropConfig, SgdConfig};

use crate::config::{OptimizerKind, TrainConfig};

const EPSILON: f32 = 1e-8;

/// The optimizer that `config` names.
pub fn build(config: &TrainConfig) -> ModuleOptimizer {
    let decay = config.weight_decay as f32;
    let penalty = (decay > 0.0).then(|| WeightDecayConfig::new(decay));
    match config.optimizer {
        OptimizerKind::Sgd => {
            let momentum = MomentumConfig::new()
                .with_momentum(config.momentum)
                .with_dampening(0.0);
            let momentum = (config.momentum > 0.0).then_some(momentum);
            SgdConfig::new()
                .with_weight_decay(penalty)
                .with_momentum(momentum)
                .init()
        }
        OptimizerKind::Adam => AdamConfig::new()
            .with_epsilon(EPSILON)
            .with_weight_decay(penalty)
            .init(),
        OptimizerKind::Adamw => AdamWConfig::new()
            .with_epsilon(EPSILON)
            .with_weight_decay(decay)
            .init(),
        OptimizerKind::Rmsprop => RmsPropConfig::new()
            .with_momentum(config.momentum as f32)
            .with_epsilon(EPSILON)
            .with_weight_decay(penalty)
            .init(),
    }
}
