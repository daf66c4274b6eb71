//! The state that a run starts from: fresh, or as a checkpoint left it.
//!
//! Input: the configuration, and for a resumed run its folder. Output: a [`TrainState`].

use burn::module::Module;

use super::checkpoint::{BEST, Checkpoint, LAST, Progress, TrainState, read_best};
use super::early_stop::BestSoFar;
use super::ema::Ema;
use super::optimizer;
use super::run::TrainError;
use super::setup::build_network;
use crate::config::TrainConfig;
use crate::device::Selected;
use crate::model::ResNet;
use crate::run_folder::RunFolder;

/// A network with pretrained or random weights, nothing trained yet.
///
/// # Errors
/// Weights that cannot be had or do not fit.
pub fn fresh(
    config: &TrainConfig,
    device: &Selected,
    num_classes: usize,
) -> Result<TrainState, TrainError> {
    let model = trainable(build_network(config, num_classes, device)?, config);
    let ema = config.ema_decay.map(|decay| Ema::new(&model, decay));
    Ok(TrainState {
        model,
        optimizer: optimizer::build(config),
        ema,
        best_model: None,
        best_scores: None,
        progress: Progress::default(),
    })
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
    if let Some(best) = &progress.best.best {
        let (kept, epoch) = read_best(&folder.weights().join(BEST), &checkpoint.network, inner)?;
        match epoch == best.epoch {
            true => best_model = Some(kept),
            // The crash came between the two files: `best` is of an epoch that is about to be trained again.
            false => progress.best = BestSoFar::default(),
        }
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

/// The network on the device that tracks gradients, with the backbone frozen where that was asked for.
fn trainable(model: ResNet, config: &TrainConfig) -> ResNet {
    match config.freeze {
        true => model.train().freeze_backbone(),
        false => model.train(),
    }
}
