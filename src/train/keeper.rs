//! When checkpoints are written.
//!
//! Input: the state after each step and epoch. Output: `weights/last.safetensors` and `weights/best.safetensors`, often
//! enough that a crash costs little, seldom enough that writing never outweighs training.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::checkpoint::{BEST, Checkpoint, CheckpointError, LAST, TrainState, write_best};
use super::early_stop::Best;
use crate::model::ResNet;

/// A crash costs at most this much work, and what the step under way takes.
const EVERY: Duration = Duration::from_secs(30);

/// Writes checkpoints that are due.
pub struct Keeper {
    weights: PathBuf,
    data_identity: String,
    saved: Instant,
    /// The best epoch that is on disk.
    best_on_disk: Option<usize>,
}

impl Keeper {
    /// `weights` is the folder, `data_identity` tells one set of images from another, `best_on_disk` is the best epoch
    /// that a resumed run found there.
    pub fn new(weights: PathBuf, data_identity: String, best_on_disk: Option<usize>) -> Self {
        Keeper {
            weights,
            data_identity,
            saved: Instant::now(),
            best_on_disk,
        }
    }

    /// Whether enough time has passed for another checkpoint.
    pub fn is_due(&self) -> bool {
        self.saved.elapsed() >= EVERY
    }

    /// Writes the state. The best weights go first: a crash in between leaves an older `last`, and a resumed run sees by
    /// the epoch in their header that they are ahead of it.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn save(&mut self, state: &TrainState) -> Result<(), CheckpointError> {
        self.save_best(state.best_model.as_ref(), state.progress.best.best.as_ref())?;
        Checkpoint::write(&self.weights.join(LAST), state, &self.data_identity)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Writes the best weights alone, if they are not on disk yet.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_best(
        &mut self,
        model: Option<&ResNet>,
        best: Option<&Best>,
    ) -> Result<(), CheckpointError> {
        let (Some(model), Some(best)) = (model, best) else {
            return Ok(());
        };
        if self.best_on_disk != Some(best.epoch) {
            write_best(&self.weights.join(BEST), model, best.epoch)?;
            self.best_on_disk = Some(best.epoch);
        }
        Ok(())
    }
}
