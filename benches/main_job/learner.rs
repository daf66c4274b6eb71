//! One optimizer step as the training loop takes it.
//!
//! Input: a network, its logits and targets. Output: the network after the step. Loss and optimizer are those of a run
//! with default settings.

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use sagemaker_burn::cli::TrainFlags;
use sagemaker_burn::config::{ClassWeights, Layer, OptimizerKind, Source as Origin, resolve};
use sagemaker_burn::feed::{Inputs, Minibatch, Source};
use sagemaker_burn::model::{Mode, ResNet};
use sagemaker_burn::train::{Loss, build_optimizer};

use crate::rows::Result;

/// Classes of the network that is trained, as many as the dog breeds of the users' data set.
pub const CLASSES: usize = 133;
const LEARNING_RATE: f64 = 1e-3;

/// Loss and optimizer of a run.
pub struct Learner {
    loss: Loss,
    optimizer: ModuleOptimizer,
}

impl Learner {
    pub fn new(optimizer: OptimizerKind) -> Result<Self> {
        let flags = TrainFlags {
            optimizer: Some(optimizer),
            ..Default::default()
        };
        let layer = Layer {
            source: Origin::CommandLine,
            flags,
        };
        Ok(Learner {
            loss: Loss::new(ClassWeights::None, &[1; CLASSES], 0.0),
            optimizer: build_optimizer(&resolve(&[layer])?.config),
        })
    }

    /// Moves `model` down the gradient of the loss. Reads the loss, as the training loop does.
    pub fn step(&mut self, model: ResNet, logits: Tensor<2>, targets: &[usize]) -> ResNet {
        let loss = self.loss.forward(logits, targets, None);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let model = self.optimizer.step(LEARNING_RATE, model, gradients);
        std::hint::black_box(loss.into_scalar::<f32>());
        model
    }
}

/// Trains on every batch once: of features the classifier, of images every layer.
pub fn epoch_of(
    mut model: ResNet,
    mut learner: Learner,
    source: &impl Source,
    epoch: usize,
) -> Result<(ResNet, Learner)> {
    for batch in source.epoch(epoch, 0) {
        let Minibatch {
            inputs, targets, ..
        } = batch?;
        let logits = match inputs {
            Inputs::Features(features) => model.head(features),
            Inputs::Images(images) => model.forward(images, Mode::Train),
        };
        model = learner.step(model, logits, &targets);
    }
    Ok((model, learner))
}
