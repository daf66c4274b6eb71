//! When checkpoints are written.
//!
//! Input: the state after each step and epoch. Output: `weights/last.safetensors` and `weights/best.safetensors`, often
//! enough that a crash costs little, seldom enough that writing never outweighs training.

use std::path::PathBuf;
use std::time::Instant;

use super::checkpoint::{BEST, Checkpoint, CheckpointError, LAST, TrainState, write_best};
use super::early_stop::Best;
use crate::config::values::Interval;
use crate::model::ResNet;

/// When the next checkpoint is due.
pub struct Pace {
    /// A crash costs at most this much work, and what the step under way takes.
    interval: Interval,
    /// When the last one was written, and after how many steps.
    since: (Instant, usize),
}

impl Pace {
    /// From now and `step` on.
    pub fn new(interval: Interval, step: usize) -> Self {
        Pace {
            interval,
            since: (Instant::now(), step),
        }
    }

    /// Whether it is time, `step` steps being done.
    pub fn is_due(&self, step: usize) -> bool {
        let (when, before) = self.since;
        match self.interval {
            Interval::Steps(steps) => step >= before + steps,
            Interval::Seconds(seconds) => when.elapsed().as_secs() >= seconds,
        }
    }
}

/// Writes checkpoints that are due.
pub struct Keeper {
    weights: PathBuf,
    data_identity: String,
    pace: Pace,
    /// The best epoch that is on disk.
    best_on_disk: Option<usize>,
}

impl Keeper {
    /// `weights` is the folder, `data_identity` tells one set of images from another, `best_on_disk` is the best epoch
    /// that a resumed run found there, `global_step` the optimizer steps done before.
    pub fn new(
        weights: PathBuf,
        data_identity: String,
        interval: Interval,
        best_on_disk: Option<usize>,
        global_step: usize,
    ) -> Self {
        Keeper {
            weights,
            data_identity,
            pace: Pace::new(interval, global_step),
            best_on_disk,
        }
    }

    /// Whether, after `global_step` optimizer steps, it is time for another checkpoint.
    pub fn is_due(&self, global_step: usize) -> bool {
        self.pace.is_due(global_step)
    }

    /// Writes the state. The best weights go first: a crash in between leaves an older `last`, and a resumed run sees by
    /// the epoch in their header that they are ahead of it.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn save(&mut self, state: &TrainState) -> Result<(), CheckpointError> {
        self.save_best(state.best_model.as_ref(), state.progress.best.best.as_ref())?;
        Checkpoint::write(&self.weights.join(LAST), state, &self.data_identity)?;
        self.pace = Pace::new(self.pace.interval, state.progress.global_step);
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
            write_best(&self.weights.join(BEST), model, best)?;
            self.best_on_disk = Some(best.epoch);
        }
        Ok(())
    }
}
