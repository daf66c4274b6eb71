//! A step on which something is due: what is wanted of it is copied to the host.
//!
//! Input: the network, its inputs, outputs and gradients. Output: a [`Pending`] step for the thread that writes and judges. Names are
//! those that Amazon's hook gives to a PyTorch `ResNet` with `CrossEntropyLoss`.

use std::cell::OnceCell;

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};

use super::collection::Saved;
use super::hook::Watched;
use super::record::Position;
use super::tensor::{Entry, HostTensor, ModeKey, StepRecord};
use crate::eval::{Evaluated, cross_entropy};
use crate::feed::Inputs;
use crate::model::{Mode, Observer, ParameterVisitor, ResNet, visit_parameters};

/// Images whose layers are looked at where only rules ask for them.
const IMAGES_FOR_RULES: usize = 8;
const LOSS: &str = "CrossEntropyLoss_output_0";

/// A step on its way.
pub struct Pending {
    /// Whole tensors.
    pub step: StepRecord,
    /// What of each goes into the files; `None` where only rules look at it.
    pub written: Vec<Option<Saved>>,
}

/// What a training step was made of.
pub struct TrainingStep<'a> {
    pub model: &'a ResNet,
    pub inputs: Inputs,
    pub logits: Tensor<2>,
    pub targets: &'a [usize],
    pub loss: Tensor<1>,
    pub gradients: &'a GradientsParams,
    pub learning_rate: f64,
}

/// Collects what is due.
pub struct Capture<'a> {
    due: Vec<&'a Watched>,
    pending: Pending,
}

impl<'a> Capture<'a> {
    pub(super) fn new(due: Vec<&'a Watched>, position: Position) -> Self {
        Capture {
            due,
            pending: Pending {
                step: StepRecord {
                    mode: position.mode,
                    mode_step: position.mode_step,
                    global_step: position.global_step,
                    wall_time: crate::files::seconds_since_epoch(),
                    entries: Vec::new(),
                },
                written: Vec::new(),
            },
        }
    }

    pub(super) fn into_pending(self) -> Pending {
        self.pending
    }

    fn wants(&self, name: &str) -> bool {
        self.due
            .iter()
            .any(|watched| watched.collection.contains(name))
    }

    /// Whether a tensor goes into files, and not only to rules.
    fn writes(&self, name: &str) -> bool {
        let mut written = self.due.iter().filter(|watched| watched.written);
        written.any(|watched| watched.collection.contains(name))
    }

    /// Takes a tensor if it is wanted; `copy` brings it to the host.
    fn take(&mut self, name: &str, copy: impl FnOnce() -> HostTensor) {
        let mut wanted = false;
        let mut written: Option<Saved> = None;
        for watched in self.due.iter().filter(|w| w.collection.contains(name)) {
            wanted = true;
            if watched.written {
                let saved = &watched.collection.saved;
                written = Some(match written {
                    None => saved.clone(),
                    Some(before) => before.and(saved),
                });
            }
        }
        if wanted {
            self.pending.step.entries.push(Entry::whole(name, copy()));
            self.pending.written.push(written);
        }
    }

    /// A step of training. Called before the optimizer's step: the weights are those that made the loss.
    pub(crate) fn training(&mut self, step: TrainingStep) {
        self.inputs(step.model, &step.inputs, Mode::Train);
        self.outputs(|| host(step.logits.clone()), step.targets);
        self.take(LOSS, || host(step.loss).into_scalar());
        self.take("scalar/learning_rate", || {
            HostTensor::scalar(step.learning_rate as f32)
        });
        self.parameters(step.model, None);
        self.parameters(step.model, Some(step.gradients));
    }

    /// A step of validation.
    pub(crate) fn validation(&mut self, model: &ResNet, batch: &Evaluated) {
        self.inputs(model, batch.inputs, Mode::Eval);
        let count = batch.targets.len().max(1);
        let width = batch.logits.len() / count;
        self.outputs(
            || HostTensor::floats(batch.logits.to_vec(), [count, width]),
            batch.targets,
        );
        self.take(LOSS, || {
            let rows = batch.logits.chunks_exact(width).zip(batch.targets);
            let sum: f64 = rows.map(|(row, target)| cross_entropy(row, *target)).sum();
            HostTensor::scalar((sum / count as f64) as f32)
        });
        self.parameters(model, None);
    }

    fn inputs(&mut self, model: &ResNet, inputs: &Inputs, mode: Mode) {
        match inputs {
            Inputs::Images(images) => {
                self.take("ResNet_input_0", || host(images.clone()));
                let mut layers = self.due.iter().filter(|watched| watched.layers).peekable();
                if layers.peek().is_some() {
                    // Whether a channel is dead shows in a few images as well, and rules should cost little.
                    let count = match layers.any(|watched| watched.written) {
                        true => images.dims()[0],
                        false => images.dims()[0].min(IMAGES_FOR_RULES),
                    };
                    let images = plain(images.clone().narrow(0, 0, count));
                    model.observe(images, mode, &mut Layers(self));
                }
            }
            // The backbone did its work before; its output is what the classifier sees.
            Inputs::Features(features) => {
                self.take("fc_input_0", || host(features.clone()));
            }
        }
    }

    fn outputs(&mut self, logits: impl Fn() -> HostTensor, targets: &[usize]) {
        // Several names stand for them; they are copied from the device once.
        let copied = OnceCell::new();
        let logits = || copied.get_or_init(&logits).clone();
        let labels = || HostTensor::integers(targets.iter().map(|class| *class as i64).collect());
        for name in ["fc_output_0", "ResNet_output_0", "CrossEntropyLoss_input_0"] {
            self.take(name, logits);
        }
        self.take("CrossEntropyLoss_input_1", labels);
        self.take("labels", labels);
        self.take("predictions", || {
            let classes = logits().argmax_of_rows();
            HostTensor::integers(classes.into_iter().map(|class| class as i64).collect())
        });
    }

    /// Weights, or their gradients.
    fn parameters(&mut self, model: &ResNet, gradients: Option<&GradientsParams>) {
        // Names are many and steps on features short.
        if self.due.iter().any(|watched| watched.parameters) {
            let mut parameters = Parameters {
                frozen: model.has_frozen_backbone(),
                capture: self,
                gradients,
            };
            visit_parameters(model, &mut parameters);
        }
    }
}

/// How the files call a weight.
pub(super) fn weight_name(parameter: &str) -> String {
    format!("ResNet_{parameter}")
}

/// How the files call its gradient.
pub(super) fn gradient_name(parameter: &str) -> String {
    format!("gradient/ResNet_{parameter}")
}

/// A tensor without what autodiff knows of it.
fn plain<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match tensor.device().is_autodiff() {
        true => tensor.inner(),
        false => tensor,
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> HostTensor {
    HostTensor::of_data(plain(tensor).into_data())
}

impl HostTensor {
    /// A tensor of one value as a number without axes.
    fn into_scalar(self) -> Self {
        match self.len() {
            1 => HostTensor {
                shape: Vec::new(),
                ..self
            },
            _ => self,
        }
    }
}

/// Weights, or their gradients.
struct Parameters<'c, 'a, 'g> {
    capture: &'c mut Capture<'a>,
    /// Whether all but the classifier stays as it is.
    frozen: bool,
    gradients: Option<&'g GradientsParams>,
}

impl ParameterVisitor for Parameters<'_, '_, '_> {
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>, transposed: bool) {
        let upright = |tensor: Tensor<D>| match transposed {
            true => host(tensor.swap_dims(0, 1)),
            false => host(tensor),
        };
        match self.gradients {
            None => {
                // Rules learn nothing from weights that never change, and copying them costs more than a step on features.
                let is_static = self.frozen && !name.starts_with("fc.");
                let name = weight_name(name);
                if !is_static || self.capture.writes(&name) {
                    self.capture.take(&name, || upright(param.val()));
                }
            }
            Some(gradients) => {
                let name = gradient_name(name);
                if self.capture.wants(&name)
                    && let Some(gradient) = gradients.get::<D>(param.id)
                {
                    self.capture.take(&name, || upright(gradient));
                }
            }
        }
    }
}

/// Inputs and outputs of layers.
struct Layers<'c, 'a>(&'c mut Capture<'a>);

impl Observer for Layers<'_, '_> {
    fn wants(&self, name: &str) -> bool {
        self.0.wants(name)
    }

    fn saw(&mut self, name: &str, value: &Tensor<4>) {
        self.0.take(name, || host(value.clone().cast(DType::F32)));
    }
}

/// Where a step stands among those of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    pub train_batches: usize,
    pub valid_batches: usize,
}

impl Epochs {
    /// The position of a batch of an epoch, both from 0. It follows from them alone, so a run that goes on after a crash counts on.
    pub(super) fn position(self, mode: ModeKey, epoch: usize, batch: usize) -> Position {
        let before = epoch * (self.train_batches + self.valid_batches);
        let (mode_step, within) = match mode {
            ModeKey::Eval => (
                epoch * self.valid_batches + batch,
                self.train_batches + batch,
            ),
            _ => (epoch * self.train_batches + batch, batch),
        };
        Position {
            mode,
            mode_step,
            global_step: before + within,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_steps_count_across_modes() {
        let epochs = Epochs {
            train_batches: 10,
            valid_batches: 3,
        };
        let at = |mode, epoch, batch| {
            let position = epochs.position(mode, epoch, batch);
            (position.mode_step, position.global_step)
        };
        assert_eq!(at(ModeKey::Train, 0, 9), (9, 9));
        assert_eq!(at(ModeKey::Eval, 0, 0), (0, 10));
        assert_eq!(at(ModeKey::Train, 1, 0), (10, 13));
        assert_eq!(at(ModeKey::Eval, 1, 2), (5, 25));
    }
}
