//! What a run says about itself in words: the data at the start, the result at the end, and the report.
//!
//! Input: the run's figures. Output: lines for people on stderr and stdout, and files in the run folder.

use std::path::{Path, PathBuf};

use super::checkpoint::Progress;
use super::fit::Ended;
use super::run::TrainError;
use super::Stop;
use crate::config::Setting;
use crate::data::{Skipped, SplitOrigin, Splits};
use crate::device::Selected;
use crate::eval::{Scores, write_confusion};
use crate::run_folder::RunArgs;

/// Says what was found in the data set.
pub fn announce_data(splits: &Splits) {
    let test = splits.test.as_ref().map_or(0, |test| test.samples.len());
    tracing::info!(
        "data: {} classes; {} images to train on, {} to validate, {test} to test",
        splits.train.classes.len(),
        splits.train.samples.len(),
        splits.valid.samples.len(),
    );
    if let SplitOrigin::Stratified { .. } = &splits.origin {
        tracing::info!("data: {}", splits.origin);
    }
}

/// Says how to go on after Ctrl-C.
pub fn print_interrupted(folder: &Path, progress: &Progress) {
    tracing::warn!(
        "interrupted in epoch {}, after {} of its batches; go on with: sagemaker-burn train --resume {}",
        progress.epoch + 1,
        progress.batch,
        folder.display()
    );
}

/// Everything that the end of a run can tell.
pub struct Findings<'a> {
    pub args: &'a RunArgs,
    pub settings: &'a [Setting],
    pub device: &'a Selected,
    pub splits: &'a Splits,
    pub progress: &'a Progress,
    pub ended: Ended,
    /// Where `scores` come from.
    pub split: &'a str,
    pub scores: Option<&'a Scores>,
    pub skipped: &'a [Skipped],
    pub test_metrics: bool,
}

impl Findings<'_> {
    /// Writes `confusion.csv`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), TrainError> {
        let classes = &self.splits.train.classes;
        if let Some(scores) = self.scores {
            let path = folder.join("confusion.csv");
            write_confusion(&path, &scores.confusion, classes).map_err(at(&path))?;
        }
        Ok(())
    }

    /// Says how it went and what can be done next.
    pub fn print(&self, folder: &Path) {
        let how = match self.ended {
            Ended::Completed => "done",
            Ended::EarlyStopped => "stopped early, no better epoch came",
            Ended::Stopped(Stop::Terminate) => "stopped by SIGTERM",
            Ended::Stopped(Stop::Interrupt) => "interrupted",
        };
        tracing::info!("{how} after {} epochs", self.progress.history.len());
    }
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    let path: PathBuf = path.to_owned();
    move |source| TrainError::Write { path, source }
}
