//! Evaluation: how good is a model on labelled images.
//!
//! Input: a model and a [`Source`] of batches. Output: [`Scores`]: loss, accuracy, top-k and the confusion matrix, from
//! which the per-class figures follow.

mod scores;
mod tables;

pub use scores::{ClassScores, Confusion, Scores};
pub use tables::{class_table, write_confusion};

use burn::module::Module;

use crate::data::DataError;
use crate::feed::{Inputs, Source};
use crate::model::ResNet;

/// Runs the model over every batch of `source`. `on_batch` is told how many batches are done and may stop the work by
/// returning false, in which case the result is `None`: half an evaluation is no figure to show.
///
/// # Errors
/// Whatever the source meets.
pub fn evaluate(
    model: &ResNet,
    source: &dyn Source,
    num_classes: usize,
    top_k: usize,
    mut on_batch: impl FnMut(usize) -> bool,
) -> Result<Option<Scores>, DataError> {
    // Made for the first batch of images; features need the classifier alone.
    let mut fused = None;
    let classifier = model.valid();
    let mut scores = Scores::new(num_classes, top_k);
    for (done, batch) in source.epoch(0, 0).enumerate() {
        let batch = batch?;
        let logits = match batch.inputs {
            Inputs::Images(images) => fused.get_or_insert_with(|| model.fused()).forward(images),
            Inputs::Features(features) => classifier.head(features),
        };
        let logits = logits.into_data().convert::<f32>();
        let logits: Vec<f32> = logits.iter::<f32>().collect();
        for (row, target) in logits.chunks_exact(num_classes).zip(&batch.targets) {
            scores.add(row, *target);
        }
        if !on_batch(done + 1) {
            return Ok(None);
        }
    }
    Ok(Some(scores))
}
