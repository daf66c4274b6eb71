//! Evaluation: how good is a model on labelled images.
//!
//! Input: a model and a [`Source`] of batches. Output: [`Scores`]: loss, accuracy, top-k and the confusion matrix, from
//! which the per-class figures follow.

mod calibration;
mod scores;
mod tables;

pub use calibration::{BINS, Bin, Calibration};
pub(crate) use scores::cross_entropy;
pub use scores::{ClassScores, Confusion, Mistake, Scores};
pub use tables::{class_table, write_confusion};

use burn::module::Module;

use crate::data::DataError;
use crate::feed::{Inputs, Source};
use crate::model::ResNet;

/// A batch that has been evaluated.
#[derive(Debug)]
pub struct Evaluated<'a> {
    /// Batches done, this one included.
    pub done: usize,
    pub inputs: &'a Inputs,
    /// Row-major `[N, num_classes]`.
    pub logits: &'a [f32],
    /// Class of each sample.
    pub targets: &'a [usize],
    /// Position of each sample in its folder's list.
    pub indices: &'a [usize],
}

/// Runs the model over every batch of `source`. `on_batch` is shown each and may stop the work by returning false, in which case
/// the result is `None`: half an evaluation is no figure to show.
///
/// # Errors
/// Whatever the source meets.
pub fn evaluate(
    model: &ResNet,
    source: &dyn Source,
    num_classes: usize,
    top_k: usize,
    mut on_batch: impl FnMut(&Evaluated) -> bool,
) -> Result<Option<Scores>, DataError> {
    // Made for the first batch of images; features need the classifier alone.
    let mut fused = None;
    let classifier = model.valid();
    let mut scores = Scores::new(num_classes, top_k);
    for (done, batch) in source.epoch(0, 0).enumerate() {
        let batch = batch?;
        // A clone shares its tensor.
        let logits = match batch.inputs.clone() {
            Inputs::Images(images) => fused.get_or_insert_with(|| model.fused()).forward(images),
            Inputs::Features(features) => classifier.head(features),
        };
        let logits = logits.into_data().convert::<f32>();
        let logits: Vec<f32> = logits.iter::<f32>().collect();
        let rows = logits.chunks_exact(num_classes).zip(&batch.targets);
        for ((row, target), index) in rows.zip(&batch.indices) {
            scores.add_image(row, *target, *index);
        }
        let evaluated = Evaluated {
            done: done + 1,
            inputs: &batch.inputs,
            logits: &logits,
            targets: &batch.targets,
            indices: &batch.indices,
        };
        if !on_batch(&evaluated) {
            return Ok(None);
        }
    }
    Ok(Some(scores))
}
