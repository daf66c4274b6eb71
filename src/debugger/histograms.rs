//! Histograms of what is saved, for TensorBoard.
//!
//! Input: steps on their way to the files. Output: `train/` and `eval/` in one folder, which TensorBoard shows as runs. The step is that
//! of the mode.

use std::borrow::Cow;
use std::collections::btree_map::{BTreeMap, Entry};
use std::path::PathBuf;

use super::collection::Saved;
use super::tensor::{HostTensor, ModeKey, StepRecord, Values};
use crate::sinks::{Histogram, HistogramFile, SinkError};

/// Writes the files, each from its first step on.
pub struct Histograms {
    folder: PathBuf,
    files: BTreeMap<ModeKey, HistogramFile>,
}

impl Histograms {
    /// Will write into `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Histograms {
            folder,
            files: BTreeMap::new(),
        }
    }

    /// Takes those whole tensors of a step of which a histogram is wanted; `written` is what is saved of each.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn take(&mut self, step: &StepRecord, written: &[Option<Saved>]) -> Result<(), SinkError> {
        let mut histograms = Vec::new();
        for (entry, saved) in step.entries.iter().zip(written) {
            let is_wanted = saved.as_ref().is_some_and(|saved| saved.histogram);
            // One number is a point of a curve.
            let value = entry.value.as_ref();
            if let Some(tensor) = value.filter(|tensor| is_wanted && tensor.len() > 1) {
                let histogram = Histogram::of(&floats(tensor));
                if !histogram.buckets.is_empty() {
                    histograms.push((tag(&entry.name), histogram));
                }
            }
        }
        if histograms.is_empty() {
            return Ok(());
        }
        let file = match self.files.entry(step.mode) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(place) => {
                let mode = step.mode.name().to_ascii_lowercase();
                place.insert(HistogramFile::create(&self.folder.join(mode))?)
            }
        };
        file.write(step.wall_time, step.mode_step, &histograms)
    }
}

/// TensorBoard groups tags by what stands before the first slash.
fn tag(tensor: &str) -> String {
    match tensor.strip_prefix("ResNet_") {
        Some(rest) => format!("ResNet/{rest}"),
        None => tensor.to_string(),
    }
}

fn floats(tensor: &HostTensor) -> Cow<'_, [f32]> {
    match &tensor.values {
        Values::F32(values) => values.into(),
        _ => tensor.to_f64().into_iter().map(|x| x as f32).collect(),
    }
}
