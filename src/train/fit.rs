//! The training loop, to be read from top to bottom.
//!
//! Input: a [`TrainState`], training and validation [`Source`]s and the run's [`Plan`]. Output: the state after the last
//! epoch, and how it ended. The loop decides everything (learning rate, best epoch, early stop, signals, a loss that is
//! not finite); sinks only listen.

use std::path::PathBuf;
use std::time::Instant;

use super::checkpoint::{BEST, CheckpointError, TrainState};
use super::epoch::{EpochEnd, train_epoch};
use super::keeper::Keeper;
use super::loss::Loss;
use super::{Schedule, Stop, StopSignal};
use crate::config::TrainConfig;
use crate::data::DataError;
use crate::debugger::{Debugger, ModeKey};
use crate::eval::{Evaluated, Scores, evaluate};
use crate::feed::Source;
use crate::model::ResNet;
use crate::profiler::{Phase, Profiler};
use crate::sinks::{EpochMetrics, EvaluationStep, Event, Sinks};

/// Why training could not go on.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(
        "the {split} loss is {loss} in epoch {epoch} (learning rate {learning_rate}): training has diverged. Lower \
         --learning-rate, raise --warmup-epochs or add --grad-clip 1. {kept}"
    )]
    Diverged {
        split: &'static str,
        loss: f64,
        epoch: usize,
        learning_rate: f64,
        /// A sentence about the weights that are left.
        kept: String,
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
    pub stop: &'a StopSignal,
    /// Steps whose figures may wait on the device: 1 on a CPU; more where reading a number stalls a GPU.
    pub lag: usize,
    pub debugger: &'a Debugger,
    pub profiler: &'a Profiler,
    /// Seconds that computing features of the validation images took; they count in the first epoch.
    pub valid_seconds_before: f64,
}

impl Plan<'_> {
    /// The error for a loss that is no number.
    fn diverged(
        &self,
        split: &'static str,
        loss: f64,
        epoch: usize,
        learning_rate: f64,
    ) -> FitError {
        let best = self.weights.join(BEST);
        let kept = match best.is_file() {
            true => format!("The best weights so far are in {}", best.display()),
            false => "No epoch was finished, so no weights were kept".to_string(),
        };
        FitError::Diverged {
            split,
            loss,
            epoch,
            learning_rate,
            kept,
        }
    }
}

/// Trains until all epochs are done, or patience or the user has run out. The state that comes back has been saved.
///
/// # Errors
/// Data or checkpoint trouble, and a loss that is not finite. The best weights so far are on disk then.
pub fn fit(
    mut state: TrainState,
    plan: &Plan,
    keeper: &mut Keeper,
    sinks: &mut Sinks,
) -> Result<(TrainState, Ended), FitError> {
    let mut valid_seconds_before = plan.valid_seconds_before;
    let ended = loop {
        if state.progress.epoch >= plan.config.epochs {
            break Ended::Completed;
        }
        if patience_is_over(&state, plan.config) {
            break Ended::EarlyStopped;
        }
        let epoch = state.progress.epoch + 1;
        // Whatever goes wrong in an epoch must not cost the best one before it. Copies share their tensors.
        let (best_model, best) = (state.best_model.clone(), state.progress.best.best.clone());
        let keep_best = |keeper: &mut Keeper| keeper.save_best(best_model.as_ref(), best.as_ref());
        let end;
        (state, end) = match train_epoch(state, plan, keeper, sinks) {
            Ok(trained) => trained,
            Err(error) => {
                keep_best(keeper)?;
                return Err(error);
            }
        };
        match end {
            EpochEnd::Whole => {}
            EpochEnd::Stopped(stop) => return Ok((state, Ended::Stopped(stop))),
            EpochEnd::Diverged {
                loss,
                learning_rate,
            } => {
                keep_best(keeper)?;
                return Err(plan.diverged("training", loss, epoch, learning_rate));
            }
        }
        let started = Instant::now();
        let evaluated = state.evaluated();
        let Some(scores) = validate(&evaluated, plan, state.progress.epoch, sinks)? else {
            break Ended::Stopped(plan.stop.requested().unwrap_or(Stop::Interrupt));
        };
        let valid_seconds = valid_seconds_before + started.elapsed().as_secs_f64();
        valid_seconds_before = 0.0;
        let metrics = epoch_metrics(&state, plan, &scores, valid_seconds);
        if !metrics.valid_loss.is_finite() {
            keep_best(keeper)?;
            return Err(plan.diverged(
                "validation",
                metrics.valid_loss,
                epoch,
                metrics.learning_rate,
            ));
        }
        state = close_epoch(state, metrics, evaluated, scores, sinks);
        if keeper.is_due(state.progress.global_step) {
            let saving = || keeper.save(&state);
            plan.profiler.measure(Phase::Checkpoint, saving)?;
        }
    };
    let saving = || keeper.save(&state);
    plan.profiler.measure(Phase::Checkpoint, saving)?;
    Ok((state, ended))
}

/// Figures of the validation split; `None` where a signal came in between.
fn validate(
    model: &ResNet,
    plan: &Plan,
    epoch: usize,
    sinks: &mut Sinks,
) -> Result<Option<Scores>, FitError> {
    let steps = plan.valid.batches();
    let mut batch_started = Instant::now();
    let on_batch = |batch: &Evaluated| {
        let (split, step) = ("validation", batch.done);
        look_inside(model, plan, epoch, batch);
        plan.profiler.begin((epoch * steps + step - 1) as u64);
        plan.profiler.note(Phase::Eval, batch_started);
        batch_started = Instant::now();
        sinks.emit(&Event::Evaluating(EvaluationStep { split, step, steps }));
        plan.stop.requested().is_none()
    };
    let scores = evaluate(
        model,
        plan.valid,
        plan.num_classes,
        plan.config.top_k,
        on_batch,
    )?;
    match scores {
        Some(scores) if scores.images() == 0 => Err(FitError::NothingReadable {
            split: "validation",
        }),
        scores => Ok(scores),
    }
}

/// Shows a batch to the debugger, where it is due.
fn look_inside(model: &ResNet, plan: &Plan, epoch: usize, batch: &Evaluated) {
    let Some(mut capture) = plan.debugger.step(ModeKey::Eval, epoch, batch.done - 1) else {
        return;
    };
    capture.validation(model, batch);
    plan.debugger.submit(capture);
}

fn epoch_metrics(
    state: &TrainState,
    plan: &Plan,
    scores: &Scores,
    valid_seconds: f64,
) -> EpochMetrics {
    let progress = &state.progress;
    let images = progress.tally.images.max(1) as f64;
    EpochMetrics {
        epoch: progress.epoch + 1,
        epochs: plan.config.epochs,
        global_step: progress.global_step,
        learning_rate: plan
            .schedule
            .learning_rate(progress.global_step.saturating_sub(1)),
        train_loss: progress.tally.loss_sum / images,
        train_accuracy: progress.tally.correct as f64 / images,
        valid_loss: scores.loss(),
        valid_accuracy: scores.accuracy(),
        valid_top_k: (plan.config.top_k > 1).then(|| scores.top_k()),
        train_images_per_second: images / progress.seconds.max(1e-9),
        valid_images_per_second: scores.images() as f64 / valid_seconds.max(1e-9),
        seconds: progress.seconds + valid_seconds,
        peak_memory_bytes: crate::memory::peak_bytes(),
    }
}

/// Notes the epoch's figures, keeps its model if it is the best, and tells the sinks.
fn close_epoch(
    mut state: TrainState,
    metrics: EpochMetrics,
    evaluated: ResNet,
    scores: Scores,
    sinks: &mut Sinks,
) -> TrainState {
    let progress = &mut state.progress;
    if progress
        .best
        .offer(metrics.epoch, metrics.valid_accuracy, metrics.valid_loss)
    {
        state.best_model = Some(evaluated);
        state.best_scores = Some(scores);
    }
    progress.epoch += 1;
    (progress.batch, progress.seconds, progress.tally) = (0, 0.0, Default::default());
    sinks.emit(&Event::EpochEnded(metrics.clone()));
    progress.history.push(metrics);
    state
}

fn patience_is_over(state: &TrainState, config: &TrainConfig) -> bool {
    let progress = &state.progress;
    let (patience, min_epochs) = (
        config.early_stopping_patience,
        config.early_stopping_min_epochs,
    );
    progress.batch == 0
        && progress
            .best
            .should_stop(progress.epoch, patience, min_epochs)
}
