//! The state that a run starts from: fresh, or as a checkpoint left it.
//!
//! Input: the configuration, and for a resumed run its folder. Output: a [`TrainState`].

use burn::module::Module;

use super::checkpoint::{BEST, Checkpoint, CheckpointError, LAST, Progress, TrainState, read_best};
use super::early_stop::{Best, BestSoFar};
use super::ema::Ema;
use super::optimizer;
use super::run::TrainError;
use super::setup::build_network;
use crate::config::TrainConfig;
use crate::device::Selected;
use crate::model::ResNet;
use crate::run_folder::RunFolder;

/// A network with pretrained or random weights, nothing trained yet; `None` where a signal came while they were fetched.
///
/// # Errors
/// Weights that cannot be had or do not fit.
pub fn fresh(
    config: &TrainConfig,
    device: &Selected,
    classes: &[String],
    stopped: &dyn Fn() -> bool,
) -> Result<Option<TrainState>, TrainError> {
    let Some(network) = build_network(config, classes, device, stopped)? else {
        return Ok(None);
    };
    let model = trainable(network, config);
    let ema = config.ema_decay.map(|decay| Ema::new(&model, decay));
    Ok(Some(TrainState {
        model,
        optimizer: optimizer::build(config),
        ema,
        best_model: None,
        best_scores: None,
        progress: Progress::default(),
    }))
}

/// The state of the last checkpoint in `folder`, which must belong to the images identified by `data_identity`.
///
/// # Errors
/// A checkpoint that is missing, damaged or of other images.
pub fn continued(
    config: &TrainConfig,
    device: &Selected,
    folder: &RunFolder,
    data_identity: &str,
) -> Result<TrainState, TrainError> {
    let mut checkpoint = Checkpoint::read(&folder.weights().join(LAST), data_identity)?;
    let inner = &device.device;
    let model = trainable(checkpoint.model(inner)?, config);
    let ema = match config.ema_decay {
        Some(decay) => Some(match checkpoint.ema(inner)? {
            Some(average) => Ema::of(average, decay),
            None => Ema::new(&model, decay),
        }),
        None => None,
    };
    let optimizer = checkpoint.optimizer(optimizer::build(config))?;
    let mut progress = checkpoint.progress;
    let mut best_model = None;
    if progress.best.best.is_some() {
        let kept = read_best(&folder.weights().join(BEST), &checkpoint.network, inner);
        (progress.best, best_model) = settle_best(kept);
    }
    tracing::info!(
        "resumed after {} epochs and {} batches",
        progress.epoch,
        progress.batch
    );
    Ok(TrainState {
        model,
        optimizer,
        ema,
        best_model,
        best_scores: None,
        progress,
    })
}

/// The best epoch so far and its weights, as the file of the best weights says. It may be ahead of the checkpoint or behind it:
/// the two are written, and by SageMaker copied, one after the other. What it is ahead by is trained again and ends the same.
fn settle_best(kept: Result<(ResNet, Best), CheckpointError>) -> (BestSoFar, Option<ResNet>) {
    match kept {
        Ok((model, best)) => (BestSoFar { best: Some(best) }, Some(model)),
        Err(error) => {
            tracing::warn!("{error}; the best epoch is looked for among those to come");
            (BestSoFar::default(), None)
        }
    }
}

/// The network on the device that tracks gradients, with the backbone frozen where that was asked for.
fn trainable(model: ResNet, config: &TrainConfig) -> ResNet {
    match config.freeze {
        true => model.train().freeze_backbone(),
        false => model.train(),
    }
}
