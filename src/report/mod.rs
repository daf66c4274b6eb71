//! One self-contained HTML page about a run, or about a search for hyperparameters.
//!
//! Input: a [`Report`] or a [`Tuning`], plain data. Output: a file without scripts and without references to other files, that reads on a
//! phone, on paper, in light and in dark. Everything that comes from the user, class names above all, is escaped.

mod chart;
mod diagrams;
mod gallery;
mod heatmap;
mod html;
mod inside;
mod page;
mod prediction;
mod quantity;
mod tuning;

use std::{io, path::Path};

use serde::Serialize;

pub use gallery::Picture;
pub use prediction::{Photo, Predictions};
pub use quantity::duration;
pub use tuning::{Axis, Tuning, TuningTrial, shell_line};

use crate::{
    config::Setting,
    data::QuickLook,
    debugger::rules::RuleOutcome,
    eval::Calibration,
    files::write_atomically,
    profiler::Summary,
    sinks::{EpochMetrics, TestMetrics},
};

/// What a run was, did and reached.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Headline.
    pub title: String,
    /// When the run ended, as text.
    pub created: String,
    /// The resolved configuration.
    pub configuration: Vec<Setting>,
    /// Images of each split.
    pub splits: Vec<SplitRow>,
    /// The epochs, in order.
    pub epochs: Vec<EpochMetrics>,
    /// The epoch whose weights were kept as the best, from 1.
    pub best_epoch: Option<usize>,
    /// Figures of the test split.
    pub test: Option<TestMetrics>,
    /// Predictions of the best weights against the truth.
    pub confusion: Option<Confusion>,
    /// Scores of each class on the same split as `confusion`.
    pub per_class: Vec<ClassScore>,
    /// Files that could not be used.
    pub skipped: Vec<SkippedFile>,
    /// Versions and machine, as name and value.
    pub environment: Vec<(String, String)>,
    /// The command that made the run, program first.
    pub command: Vec<String>,
    /// How sure the predictions of `confusion` were.
    pub calibration: Option<Calibration>,
    /// The mistakes that the model was surest of.
    pub mistakes: Vec<Picture>,
    /// Training images as the network saw them.
    pub training: Vec<Picture>,
    /// What was done to them, such as `crop`.
    pub augmentation: String,
    /// Training images of each class.
    pub class_sizes: Vec<(String, usize)>,
    /// Sizes of the photos, and equal ones.
    pub look: Option<QuickLook>,
    /// What rules made of the run.
    pub rules: Vec<RuleOutcome>,
    /// Where its time went.
    pub profile: Option<Summary>,
}

/// The size of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitRow {
    /// Such as `train`.
    pub split: String,
    /// Usable images.
    pub images: usize,
    /// Images of the smallest class.
    pub fewest_per_class: usize,
    /// Images of the largest class.
    pub most_per_class: usize,
}

/// Counts of predictions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// The split that was evaluated.
    pub split: String,
    /// Class names in the order of their indices.
    pub classes: Vec<String>,
    /// `counts[true class][predicted class]`, as many rows and columns as classes.
    pub counts: Vec<Vec<u64>>,
}

/// Scores of a class, from 0 to 1; not a number where undefined.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    /// Class name.
    pub class: String,
    /// Share of the predictions of this class that are right.
    pub precision: f64,
    /// Share of the images of this class that are recognised.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Images of this class.
    pub support: u64,
}

/// A file that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedFile {
    /// The file.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Two classes that are taken for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ConfusedPair<'a> {
    truth: &'a str,
    predicted: &'a str,
    count: u64,
}

impl Confusion {
    /// The most frequent mistakes, most frequent first, at most `limit`.
    fn most_confused(&self, limit: usize) -> Vec<ConfusedPair<'_>> {
        let pairs = self.mistakes().into_iter().take(limit);
        pairs
            .map(|(truth, predicted, count)| ConfusedPair {
                truth: self.class(truth),
                predicted: self.class(predicted),
                count,
            })
            .collect()
    }

    /// `(true class, predicted class, count)` of each cell off the diagonal that is not empty, most frequent first.
    fn mistakes(&self) -> Vec<(usize, usize, u64)> {
        let cells = self.cells();
        let mut mistakes: Vec<_> = cells
            .filter(|(truth, predicted, _)| truth != predicted)
            .collect();
        // A stable sort: equal counts stay in the order of classes.
        mistakes.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        mistakes
    }

    /// `(true class, predicted class, count)` of each cell that is not empty.
    fn cells(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        let row = |(truth, row): (usize, &Vec<u64>)| {
            let cells = row.iter().enumerate().filter(|(_, count)| **count > 0);
            cells
                .map(|(predicted, count)| (truth, predicted, *count))
                .collect::<Vec<_>>()
        };
        self.counts.iter().enumerate().flat_map(row)
    }

    /// The name of a class, also of one that a faulty caller did not name.
    fn class(&self, index: usize) -> &str {
        self.classes.get(index).map_or("?", String::as_str)
    }
}

/// Writes the page, replacing an older one in one step.
///
/// # Errors
/// When the file cannot be written; the folder must exist.
pub fn write(path: &Path, report: &Report) -> io::Result<()> {
    write_atomically(path, page::render(report).as_bytes())
}

/// Writes the page about predictions, replacing an older one in one step.
///
/// # Errors
/// When the file cannot be written; the folder must exist.
pub fn write_predictions(path: &Path, predictions: &Predictions) -> io::Result<()> {
    write_atomically(path, prediction::render(predictions).as_bytes())
}

/// Writes the page about a search for hyperparameters, replacing an older one in one step.
///
/// # Errors
/// When the file cannot be written; the folder must exist.
pub fn write_tuning(path: &Path, tuning: &Tuning) -> io::Result<()> {
    write_atomically(path, tuning::render(tuning).as_bytes())
}

#[cfg(test)]
mod tests;
