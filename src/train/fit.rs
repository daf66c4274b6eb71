//! The training loop, to be read from top to bottom.
//!
//! Input: a [`TrainState`], training and validation [`Source`]s and the run's [`Plan`]. Output: the state after the last
//! epoch, and how it ended. The loop decides everything (learning rate, best epoch, early stop, signals, a loss that is
//! not finite); sinks only listen.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;

use super::checkpoint::{BEST, Checkpoint, CheckpointError, LAST, TrainState, write_best};
use super::gradients::clip_global_norm;
use super::ledger::{Entry, Ledger};
use super::loss::Loss;
use super::{Schedule, Stop, StopSignal};
use crate::config::TrainConfig;
use crate::data::{DataError, Purpose, rng};
use crate::eval::{Scores, evaluate};
use crate::feed::{Inputs, Minibatch, Mix, Source};
use crate::model::{Mode, ResNet};
use crate::sinks::{EpochMetrics, EvaluationStep, Event, Sinks, StepMetrics};

/// Checkpoints of epochs that take less are put off, so that writing weights never outweighs training.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// Why training could not go on.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(
        "the training loss is {loss} at epoch {epoch}, step {step} (learning rate {learning_rate}): training has diverged. \
         Lower --learning-rate, add --warmup-epochs or --grad-clip 1{}",
        .checkpoint.as_ref().map(|path| format!("; weights from before are in {}", path.display())).unwrap_or_default()
    )]
    NotFinite {
        loss: f64,
        epoch: usize,
        step: usize,
        learning_rate: f64,
        /// The last checkpoint; `None` where the run has none yet.
        checkpoint: Option<PathBuf>,
    },
    #[error(
        "no image of the {split} split could be read: see the warnings above, and run `sagemaker-burn inspect` on the data"
    )]
    NothingReadable { split: &'static str },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are done.
    Completed,
    /// No better epoch came for too long.
    EarlyStopped,
    /// A signal asked for it.
    Stopped(Stop),
}

/// What stays the same while training.
pub struct Plan<'a> {
    pub config: &'a TrainConfig,
    pub train: &'a dyn Source,
    pub valid: &'a dyn Source,
    pub num_classes: usize,
    pub loss: Loss,
    pub schedule: Schedule,
    /// Folder of the checkpoints.
    pub weights: PathBuf,
    /// Identifies the images, so that a checkpoint is never continued on others.
    pub data_identity: String,
    pub stop: &'a StopSignal,
    /// Steps whose figures may wait on the device: 1 on a CPU; more where reading a number stalls a GPU.
    pub lag: usize,
}

/// Trains until all epochs are done, or patience or the user has run out.
///
/// # Errors
/// Data or checkpoint trouble, and a loss that is not finite.
pub fn fit(
    mut state: TrainState,
    plan: &Plan,
    sinks: &mut Sinks,
) -> Result<(TrainState, Ended), FitError> {
    let mut saved = Instant::now();
    while state.progress.epoch < plan.config.epochs {
        if patience_is_over(&state, plan.config) {
            return finish(state, plan, Ended::EarlyStopped);
        }
        let started = Instant::now() - Duration::from_secs_f64(state.progress.seconds);
        let stopped;
        (state, stopped) = train_epoch(state, plan, started, sinks)?;
        if let Some(stop) = stopped {
            return finish(state, plan, Ended::Stopped(stop));
        }
        let train_seconds = started.elapsed().as_secs_f64();
        state.progress.seconds = train_seconds;

        let evaluated = state.evaluated();
        let Some(scores) = validate(&evaluated, plan, sinks)? else {
            let stop = plan.stop.requested().unwrap_or(Stop::Interrupt);
            return finish(state, plan, Ended::Stopped(stop));
        };
        let metrics = epoch_metrics(
            &state,
            plan,
            &scores,
            train_seconds,
            started.elapsed().as_secs_f64(),
        );
        if state
            .progress
            .best
            .offer(metrics.epoch, metrics.valid_accuracy, metrics.valid_loss)
        {
            state.best_model = Some(evaluated);
        }
        state.progress.epoch += 1;
        (state.progress.batch, state.progress.seconds) = (0, 0.0);
        state.progress.tally = Default::default();
        sinks.emit(&Event::EpochEnded(metrics.clone()));
        state.progress.history.push(metrics);

        if saved.elapsed() >= CHECKPOINT_EVERY {
            save(&state, plan)?;
            saved = Instant::now();
        }
    }
    finish(state, plan, Ended::Completed)
}

/// The batches of one epoch, from where the state stands. Returns what stopped it, if anything did.
fn train_epoch(
    mut state: TrainState,
    plan: &Plan,
    started: Instant,
    sinks: &mut Sinks,
) -> Result<(TrainState, Option<Stop>), FitError> {
    let config = plan.config;
    let epoch = state.progress.epoch;
    let batches = plan.train.batches();
    let group = config.grad_accumulation;
    let mut ledger = Ledger::new(state.progress.tally, plan.lag);
    let mut accumulator = GradientsAccumulator::<ResNet>::new();
    let backbone = config.freeze.then(|| state.model.valid());

    let mut stream = plan.train.epoch(epoch, state.progress.batch).peekable();
    while let Some(batch) = stream.next() {
        let batch = batch?;
        // Counted by position, as broken files may leave a batch out.
        let step = batch.number;
        let last = stream.peek().is_none();
        let images = batch.targets.len();
        let mut rng = rng(config.seed, Purpose::Mixup, epoch as u64, step as u64);
        let mix = config.mixup.map(|alpha| Mix::draw(images, alpha, &mut rng));
        let learning_rate = plan.schedule.learning_rate(state.progress.global_step);

        let logits = training_logits(&state.model, backbone.as_ref(), &batch, mix.as_ref());
        let loss = plan
            .loss
            .forward(logits.clone(), &batch.targets, mix.as_ref());
        let in_group = group.min(batches - step / group * group);
        let gradients =
            GradientsParams::from_grads((loss.clone() / in_group as f64).backward(), &state.model);
        accumulator.accumulate(&state.model, gradients);
        ledger.push(Entry {
            loss: loss.inner(),
            logits: logits.inner(),
            targets: batch.targets,
        });

        if (step + 1) % group != 0 && !last {
            continue;
        }
        let mut gradients = accumulator.grads();
        if let Some(max_norm) = config.grad_clip {
            gradients = clip_global_norm(&state.model, gradients, max_norm);
        }
        state.model = state.optimizer.step(learning_rate, state.model, gradients);
        if let Some(ema) = &mut state.ema {
            ema.update(&state.model, state.progress.global_step);
        }
        state.progress.global_step += 1;

        let loss = ledger.settle(last);
        if let Some(loss) = loss.filter(|loss| !loss.is_finite()) {
            let checkpoint = Some(plan.weights.join(LAST)).filter(|path| path.is_file());
            return Err(FitError::NotFinite {
                loss,
                epoch: epoch + 1,
                step: step + 1,
                learning_rate,
                checkpoint,
            });
        }
        let tally = ledger.tally();
        sinks.emit(&Event::Step(StepMetrics {
            epoch: epoch + 1,
            epochs: config.epochs,
            step: step + 1,
            steps_per_epoch: batches,
            global_step: state.progress.global_step,
            loss: loss.unwrap_or(tally.loss_sum / tally.images.max(1) as f64),
            learning_rate,
            images_per_second: tally.images as f64 / started.elapsed().as_secs_f64().max(1e-9),
        }));
        if let Some(stop) = plan.stop.requested() {
            ledger.settle(true);
            state.progress.tally = ledger.tally();
            state.progress.batch = step + 1;
            state.progress.seconds = started.elapsed().as_secs_f64();
            return Ok((state, Some(stop)));
        }
    }
    ledger.settle(true);
    state.progress.tally = ledger.tally();
    state.progress.batch = batches;
    match state.progress.tally.images {
        0 => Err(FitError::NothingReadable { split: "training" }),
        _ => Ok((state, None)),
    }
}

/// Logits that gradients can flow through. With a frozen backbone only the head is differentiated: the features come
/// from the model without gradients, which saves the memory of every activation.
fn training_logits(
    model: &ResNet,
    backbone: Option<&ResNet>,
    batch: &Minibatch,
    mix: Option<&Mix>,
) -> Tensor<2> {
    let inputs = match mix {
        Some(mix) => mix.apply(batch.inputs.clone()),
        None => batch.inputs.clone(),
    };
    match (backbone, inputs) {
        (Some(backbone), Inputs::Images(images)) => {
            let features = backbone.features(images, Mode::Eval);
            model.head(Tensor::from_inner(features))
        }
        (_, inputs) => inputs.logits(model, Mode::Train),
    }
}

/// Figures of the validation split; `None` where a signal came in between.
fn validate(model: &ResNet, plan: &Plan, sinks: &mut Sinks) -> Result<Option<Scores>, FitError> {
    let steps = plan.valid.batches();
    let scores = evaluate(
        model,
        plan.valid,
        plan.num_classes,
        plan.config.top_k,
        |step| {
            sinks.emit(&Event::Evaluating(EvaluationStep {
                split: "validation",
                step,
                steps,
            }));
            plan.stop.requested().is_none()
        },
    )?;
    match scores {
        Some(scores) if scores.images() == 0 => Err(FitError::NothingReadable {
            split: "validation",
        }),
        scores => Ok(scores),
    }
}

fn epoch_metrics(
    state: &TrainState,
    plan: &Plan,
    scores: &Scores,
    train_seconds: f64,
    seconds: f64,
) -> EpochMetrics {
    let tally = state.progress.tally;
    let images = tally.images.max(1) as f64;
    EpochMetrics {
        epoch: state.progress.epoch + 1,
        epochs: plan.config.epochs,
        global_step: state.progress.global_step,
        learning_rate: plan
            .schedule
            .learning_rate(state.progress.global_step.saturating_sub(1)),
        train_loss: tally.loss_sum / images,
        train_accuracy: tally.correct as f64 / images,
        valid_loss: scores.loss(),
        valid_accuracy: scores.accuracy(),
        valid_top_k: (plan.config.top_k > 1).then(|| scores.top_k()),
        train_images_per_second: images / train_seconds.max(1e-9),
        valid_images_per_second: scores.images() as f64 / (seconds - train_seconds).max(1e-9),
        seconds,
        peak_memory_bytes: crate::memory::peak_bytes(),
    }
}

fn patience_is_over(state: &TrainState, config: &TrainConfig) -> bool {
    let progress = &state.progress;
    progress.batch == 0
        && progress.best.should_stop(
            progress.epoch,
            config.early_stopping_patience,
            config.early_stopping_min_epochs,
        )
}

fn finish(state: TrainState, plan: &Plan, ended: Ended) -> Result<(TrainState, Ended), FitError> {
    save(&state, plan)?;
    Ok((state, ended))
}

/// The best weights first: a crash in between leaves an older `last`, which simply finds the same best again.
fn save(state: &TrainState, plan: &Plan) -> Result<(), FitError> {
    if let (Some(model), Some(best)) = (&state.best_model, &state.progress.best.best) {
        write_best(&plan.weights.join(BEST), model, best.epoch)?;
    }
    Ok(Checkpoint::write(
        &plan.weights.join(LAST),
        state,
        &plan.data_identity,
    )?)
}
