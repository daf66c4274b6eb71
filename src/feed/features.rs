//! Features computed once: what makes the second epoch of a frozen run nearly free.
//!
//! Input: a frozen backbone and a loader without augmentation. Output: a [`FeatureTable`] with one row per readable
//! image, and a [`FeatureSource`] that yields the very batches, in the very order, that images would have come in.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Inputs, Minibatch, Minibatches, Source};
use crate::data::{DataError, Skipped, epoch_order};
use crate::model::FusedResNet;

/// What the backbone makes of each image of a folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureTable {
    /// Row-major `[rows, width]`.
    pub(super) values: Vec<f32>,
    pub(super) width: usize,
    pub(super) targets: Vec<usize>,
    /// Row of each sample; `None` for a file that could not be read.
    pub(super) row_of: Vec<Option<usize>>,
    /// Batches of the folder that are in it.
    pub(super) batches: usize,
    pub(super) skipped: Vec<Skipped>,
}

impl FeatureTable {
    /// A table of so many samples, none of which is in it yet.
    pub fn empty(samples: usize) -> Self {
        FeatureTable {
            row_of: vec![None; samples],
            ..Default::default()
        }
    }

    /// Runs the backbone over what `images` has beyond `self`, showing `on_batch` the table after each batch. It ends early,
    /// with `None`, when `on_batch` returns false.
    ///
    /// # Errors
    /// Whatever the loader meets.
    pub fn complete(
        self,
        backbone: &FusedResNet,
        images: &dyn Source,
        mut on_batch: impl FnMut(&Self) -> bool,
    ) -> Result<Option<Self>, DataError> {
        let mut table = self;
        let skipped_before = table.skipped.clone();
        let skipped = || [skipped_before.clone(), images.skipped()].concat();
        for batch in images.epoch(0, table.batches) {
            let Minibatch {
                inputs,
                targets,
                indices,
                number,
                ..
            } = batch?;
            let features = match inputs {
                Inputs::Images(images) => backbone.features(images),
                Inputs::Features(features) => features,
            };
            table.width = features.dims()[1];
            for (offset, index) in indices.iter().enumerate() {
                table.row_of[*index] = Some(table.targets.len() + offset);
            }
            table
                .values
                .extend(features.into_data().convert::<f32>().iter::<f32>());
            table.targets.extend(targets);
            table.batches = number + 1;
            table.skipped = skipped();
            if !on_batch(&table) {
                return Ok(None);
            }
        }
        table.batches = images.batches();
        table.skipped = skipped();
        Ok(Some(table))
    }

    /// Batches done.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// Whether files were left out.
    pub fn has_skipped(&self) -> bool {
        !self.skipped.is_empty()
    }

    /// The sample of each row.
    pub(super) fn samples(&self) -> Vec<usize> {
        let mut samples = vec![0; self.rows()];
        for (sample, row) in self.row_of.iter().enumerate() {
            if let Some(row) = row {
                samples[*row] = sample;
            }
        }
        samples
    }

    /// Readable images.
    pub fn rows(&self) -> usize {
        self.targets.len()
    }

    fn select(&self, number: usize, samples: &[usize], device: &Device) -> Option<Minibatch> {
        let indices: Vec<usize> = samples
            .iter()
            .copied()
            .filter(|i| self.row_of[*i].is_some())
            .collect();
        let rows: Vec<usize> = indices.iter().filter_map(|i| self.row_of[*i]).collect();
        if rows.is_empty() {
            return None;
        }
        let mut values = Vec::with_capacity(rows.len() * self.width);
        for row in &rows {
            values.extend_from_slice(&self.values[row * self.width..(row + 1) * self.width]);
        }
        let features = Tensor::from_data(TensorData::new(values, [rows.len(), self.width]), device);
        let targets = rows.iter().map(|row| self.targets[*row]).collect();
        Some(Minibatch {
            inputs: Inputs::Features(features),
            number,
            targets,
            indices,
            upload_seconds: 0.0,
        })
    }
}

/// Batches out of a table.
pub struct FeatureSource {
    table: FeatureTable,
    batch_size: usize,
    /// Shuffle each epoch by this seed; `None` keeps the folder's order.
    shuffle: Option<u64>,
    device: Device,
}

impl FeatureSource {
    pub fn new(
        table: FeatureTable,
        batch_size: usize,
        shuffle: Option<u64>,
        device: Device,
    ) -> Self {
        FeatureSource {
            table,
            batch_size,
            shuffle,
            device,
        }
    }
}

impl Source for FeatureSource {
    fn batches(&self) -> usize {
        self.samples().div_ceil(self.batch_size)
    }

    fn samples(&self) -> usize {
        self.table.row_of.len()
    }

    fn epoch(&self, epoch: usize, first_batch: usize) -> Minibatches<'_> {
        let order = match self.shuffle {
            Some(seed) => epoch_order(self.samples(), seed, epoch as u64),
            None => (0..self.samples()).collect(),
        };
        let batches = (first_batch..self.batches()).filter_map(move |number| {
            let start = number * self.batch_size;
            let end = order.len().min(start + self.batch_size);
            self.table.select(number, &order[start..end], &self.device)
        });
        Box::new(batches.map(Ok))
    }

    fn skipped(&self) -> Vec<Skipped> {
        self.table.skipped.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four samples, of which the third is broken.
    fn table() -> FeatureTable {
        FeatureTable {
            values: vec![0.0, 0.5, 1.0, 1.5, 3.0, 3.5],
            width: 2,
            targets: vec![0, 1, 1],
            row_of: vec![Some(0), Some(1), None, Some(2)],
            batches: 2,
            skipped: Vec::new(),
        }
    }

    #[test]
    fn broken_samples_leave_their_batch_and_the_rest_keeps_its_place() {
        let source = FeatureSource::new(table(), 2, None, Device::flex());
        let batches: Vec<Minibatch> = source.epoch(0, 0).map(Result::unwrap).collect();
        assert_eq!((source.batches(), source.samples()), (2, 4));
        assert_eq!(batches[1].indices, [3]);
        assert_eq!(batches[1].targets, [1]);
        let Inputs::Features(features) = &batches[1].inputs else {
            panic!("features expected")
        };
        assert_eq!(
            features.clone().into_data().try_to_vec::<f32>().unwrap(),
            [3.0, 3.5]
        );
    }

    #[test]
    fn a_batch_of_broken_files_is_never_yielded_and_skipping_starts_later() {
        let source = FeatureSource::new(table(), 1, None, Device::flex());
        assert_eq!(source.epoch(0, 0).count(), 3);
        assert_eq!(
            source
                .epoch(0, 3)
                .map(|b| b.unwrap().indices)
                .collect::<Vec<_>>(),
            [[3]]
        );
    }

    #[test]
    fn shuffling_follows_the_loaders_order() {
        let source = FeatureSource::new(table(), 1, Some(7), Device::flex());
        let seen: Vec<usize> = source
            .epoch(2, 0)
            .flat_map(|b| b.unwrap().indices)
            .collect();
        let expected: Vec<usize> = epoch_order(4, 7, 2)
            .into_iter()
            .filter(|i| *i != 2)
            .collect();
        assert_eq!(seen, expected);
    }
}
