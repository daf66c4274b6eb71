//! One epoch of training.
//!
//! Input: a [`TrainState`], where it stands in the epoch, and the run's [`Plan`]. Output: the state after the last batch, or
//! after the step at which a signal came.

use std::time::{Duration, Instant};

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;

use super::Stop;
use super::checkpoint::TrainState;
use super::fit::{FitError, Plan};
use super::gradients::clip_global_norm;
use super::keeper::Keeper;
use super::ledger::{Entry, Ledger};
use crate::data::{DataError, Purpose, rng};
use crate::debugger::{ModeKey, TrainingStep};
use crate::feed::{Inputs, Minibatch, Minibatches, Mix};
use crate::model::{FusedResNet, Mode, ResNet};
use crate::profiler::{Phase, Profiler};
use crate::sinks::{Event, Sinks, StepMetrics};

/// How an epoch ended.
pub enum EpochEnd {
    /// All batches are done.
    Whole,
    /// A signal came; the state can go on from here.
    Stopped(Stop),
    /// The loss stopped being a number; the weights are of no use any more.
    Diverged { loss: f64, learning_rate: f64 },
}

/// Trains on the batches of one epoch, from where the state stands.
///
/// # Errors
/// Trouble with the data or with a checkpoint; the state is lost with it.
pub fn train_epoch(
    mut state: TrainState,
    plan: &Plan,
    keeper: &mut Keeper,
    sinks: &mut Sinks,
) -> Result<(TrainState, EpochEnd), FitError> {
    let group_size = plan.config.grad_accumulation;
    let (started, seconds_before) = (Instant::now(), state.progress.seconds);
    let seconds = || seconds_before + started.elapsed().as_secs_f64();
    let epoch = state.progress.epoch;
    let mut ledger = Ledger::new(state.progress.tally, plan.lag);
    let mut accumulator = GradientsAccumulator::<ResNet>::new();
    let backbone = plan.config.freeze.then(|| state.model.fused());

    // Batches of the optimizer step under way, and those of the steps done.
    let (mut in_group, mut done, mut group_start) = (0, state.progress.batch, None);

    let batches = plan.train.epoch(epoch, state.progress.batch);
    let mut batches = Waiting::new(batches, plan.profiler).peekable();
    let mut step_started = Instant::now();
    while let Some(batch) = batches.next() {
        let batch = batch?;
        plan.profiler
            .begin((epoch * plan.train.batches() + batch.number) as u64);
        // Batches are told apart by their number, as broken files may leave one out.
        let number = batch.number;
        let group_ends = number / group_size != upcoming(batches.peek()) / group_size;
        let last = batches.peek().is_none();

        if in_group == 0 && !group_ends {
            group_start = Some(state.model.clone());
        }
        let learning_rate = plan.schedule.learning_rate(state.progress.global_step);
        let step = Step {
            plan,
            epoch,
            learning_rate,
        };
        let gradients = step.gradients(&state.model, backbone.as_ref(), batch, &mut ledger);
        accumulator.accumulate(&state.model, gradients);
        in_group += 1;
        if !group_ends {
            plan.profiler.note(Phase::Train, step_started);
            step_started = Instant::now();
            let Some(stop) = plan.stop.requested() else {
                continue;
            };
            // A whole group may take long. What it has of gradients is dropped, and the state is that of its beginning: the
            // forward passes since then have moved the running statistics of batch norm.
            ledger.forget(in_group);
            state.model = group_start.take().unwrap_or(state.model);
            note(&mut state, &mut ledger, done, seconds());
            keeper.save(&state)?;
            return Ok((state, EpochEnd::Stopped(stop)));
        }
        (in_group, done, group_start) = (0, number + 1, None);
        let optimizing = || optimize(state, accumulator.grads(), plan, learning_rate);
        state = plan.profiler.measure(Phase::Optimizer, optimizing);

        let loss = ledger.settle(last);
        let tally = ledger.tally();
        if let Some(loss) = loss.filter(|loss| !loss.is_finite()) {
            return Ok((
                state,
                EpochEnd::Diverged {
                    loss,
                    learning_rate,
                },
            ));
        }
        let seconds = seconds();
        sinks.emit(&Event::Step(StepMetrics {
            epoch: epoch + 1,
            epochs: plan.config.epochs,
            step: number + 1,
            steps_per_epoch: plan.train.batches(),
            global_step: state.progress.global_step,
            loss: loss.or_else(|| (tally.images > 0).then(|| tally.loss_sum / tally.images as f64)),
            learning_rate,
            images_per_second: tally.images as f64 / seconds.max(1e-9),
        }));
        let stop = plan.stop.requested();
        plan.profiler.note(Phase::Train, step_started);
        if stop.is_some() || keeper.is_due(state.progress.global_step) {
            note(&mut state, &mut ledger, done, seconds);
            let saving = || keeper.save(&state);
            plan.profiler.measure(Phase::Checkpoint, saving)?;
        }
        step_started = Instant::now();
        if let Some(stop) = stop {
            return Ok((state, EpochEnd::Stopped(stop)));
        }
    }
    note(&mut state, &mut ledger, plan.train.batches(), seconds());
    match state.progress.tally.images {
        0 => Err(FitError::NothingReadable { split: "training" }),
        _ => Ok((state, EpochEnd::Whole)),
    }
}

/// Batches, with a note of how long each was waited for and how long its way to the device took.
struct Waiting<'a> {
    batches: Minibatches<'a>,
    profiler: &'a Profiler,
}

impl<'a> Waiting<'a> {
    fn new(batches: Minibatches<'a>, profiler: &'a Profiler) -> Self {
        Waiting { batches, profiler }
    }
}

impl Iterator for Waiting<'_> {
    type Item = Result<Minibatch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let started = Instant::now();
        let batch = self.batches.next()?;
        let upload = batch.as_ref().map_or(0.0, |batch| batch.upload_seconds);
        let waited = started.elapsed().as_secs_f64() - upload;
        self.profiler
            .note_for(Phase::Data, started, waited.max(0.0));
        if upload > 0.0 {
            let uploading = started + Duration::from_secs_f64(waited.max(0.0));
            self.profiler.note_for(Phase::Upload, uploading, upload);
        }
        Some(batch)
    }
}

/// Notes how far the epoch is: batches done, what they added up to, and the time they took.
fn note(state: &mut TrainState, ledger: &mut Ledger, batches: usize, seconds: f64) {
    ledger.settle(true);
    let progress = &mut state.progress;
    (progress.tally, progress.batch, progress.seconds) = (ledger.tally(), batches, seconds);
}

/// The number of the next batch; one that belongs to no group where there is none, or where reading it failed.
fn upcoming(next: Option<&Result<Minibatch, DataError>>) -> usize {
    match next {
        Some(Ok(batch)) => batch.number,
        Some(Err(_)) | None => usize::MAX,
    }
}

/// What a step does not change.
struct Step<'a> {
    plan: &'a Plan<'a>,
    /// From 0.
    epoch: usize,
    learning_rate: f64,
}

impl Step<'_> {
    /// Forward and backward pass of one batch: its share of the gradients of an optimizer step.
    fn gradients(
        &self,
        model: &ResNet,
        backbone: Option<&FusedResNet>,
        batch: Minibatch,
        ledger: &mut Ledger,
    ) -> GradientsParams {
        let (plan, config) = (self.plan, self.plan.config);
        let group_size = config.grad_accumulation;
        let (epoch, number) = (self.epoch, batch.number);
        let mut rng = rng(config.seed, Purpose::Mixup, epoch as u64, number as u64);
        let mix = config
            .mixup
            .map(|alpha| Mix::draw(batch.targets.len(), alpha, &mut rng));
        let inputs = match &mix {
            Some(mix) => mix.apply(batch.inputs),
            None => batch.inputs,
        };
        let capture = plan.debugger.step(ModeKey::Train, epoch, number);
        let seen = capture.map(|capture| (capture, inputs.clone()));
        let started = Instant::now();
        let logits = training_logits(model, backbone, inputs);
        let loss = plan
            .loss
            .forward(logits.clone(), &batch.targets, mix.as_ref());
        plan.profiler.note(Phase::Forward, started);
        let in_group = group_size.min(plan.train.batches() - number / group_size * group_size);
        let share = loss.clone() / in_group as f64;
        let started = Instant::now();
        // With a frozen backbone a step is so short that a walk over its parameters, none of which has a gradient, would show.
        let gradients = match backbone {
            Some(_) => GradientsParams::from_grads(share.backward(), &model.fc),
            None => GradientsParams::from_grads(share.backward(), model),
        };
        plan.profiler.note(Phase::Backward, started);
        if let Some((mut capture, inputs)) = seen {
            capture.training(TrainingStep {
                model,
                inputs,
                logits: logits.clone(),
                targets: &batch.targets,
                loss: loss.clone(),
                gradients: &gradients,
                learning_rate: self.learning_rate,
            });
            plan.debugger.submit(capture);
        }
        ledger.push(Entry {
            loss: loss.inner(),
            logits: logits.inner(),
            targets: batch.targets,
        });
        gradients
    }
}

/// Logits that gradients can flow through. With a frozen backbone only the head is differentiated: the features come
/// from the model without gradients, which saves the memory of every activation.
fn training_logits(model: &ResNet, backbone: Option<&FusedResNet>, inputs: Inputs) -> Tensor<2> {
    match (backbone, inputs) {
        (Some(backbone), Inputs::Images(images)) => {
            model.head(Tensor::from_inner(backbone.features(images)))
        }
        (None, Inputs::Images(images)) => model.forward(images, Mode::Train),
        (_, Inputs::Features(features)) => model.head(features),
    }
}

/// One optimizer step.
fn optimize(
    mut state: TrainState,
    mut gradients: GradientsParams,
    plan: &Plan,
    learning_rate: f64,
) -> TrainState {
    if let Some(max_norm) = plan.config.grad_clip {
        gradients = clip_global_norm(&state.model, gradients, max_norm);
    }
    match plan.config.freeze {
        true => {
            state.model.fc = state
                .optimizer
                .step(learning_rate, state.model.fc, gradients)
        }
        false => state.model = state.optimizer.step(learning_rate, state.model, gradients),
    }
    if let Some(ema) = &mut state.ema {
        ema.update(&state.model, state.progress.global_step);
    }
    state.progress.global_step += 1;
    state
}
