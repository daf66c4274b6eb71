//! Batches of images, normalised on the device.
//!
//! Input: [`Batch`]es of `u8` pixels from the loader. Output: [`Minibatch`]es of float images. Pixels stay bytes until
//! they are on the device, which quarters what crosses the bus; on the CPU a table turns them into floats.

use std::time::Instant;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use super::{Inputs, Minibatch, Minibatches, Source};
use crate::data::{Batch, Loader, Preprocess, Skipped};
use crate::kernels::layer::is_cpu;

/// Moves a batch to the device as `[N, 3, H, W]` and normalises it: `(pixel / 255 - mean) / std` per channel. In memory the
/// channels come last, as the kernels of the CPU want them.
pub fn normalise(batch: &Batch, preprocess: &Preprocess, device: &Device) -> Tensor<4> {
    let (height, width) = (batch.height, batch.width);
    let shape = [batch.targets.len(), height, width, 3];
    let images = match is_cpu(device) {
        true => {
            let values = normalised(&batch.images, preprocess);
            Tensor::from_data(TensorData::new(values, shape), device)
        }
        false => {
            // A quarter of the bytes to move.
            let data = TensorData::new(batch.images.clone(), shape);
            let pixels = Tensor::<4, Int>::from_data(data, (device, DType::U8)).float();
            let channel =
                |values: [f32; 3]| Tensor::<1>::from_floats(values, device).reshape([1, 1, 1, 3]);
            let (scale, shift) = scale_and_shift(preprocess);
            pixels * channel(scale) + channel(shift)
        }
    };
    images.permute([0, 3, 1, 2])
}

/// What a byte of each channel is multiplied by, and what is added then.
fn scale_and_shift(preprocess: &Preprocess) -> ([f32; 3], [f32; 3]) {
    let scale = preprocess.std.map(|std| 1.0 / (255.0 * std));
    let mut shift = [0.0; 3];
    for (shift, (mean, std)) in shift
        .iter_mut()
        .zip(preprocess.mean.iter().zip(preprocess.std))
    {
        *shift = -mean / std;
    }
    (scale, shift)
}

/// The normalised values of RGB bytes, in the same order, looked up: a byte has only 256 values.
pub fn normalised(bytes: &[u8], preprocess: &Preprocess) -> Vec<f32> {
    /// Pixels of a task.
    const PIXELS: usize = 16384;
    let (scale, shift) = scale_and_shift(preprocess);
    let table: [[f32; 3]; 256] = std::array::from_fn(|byte| {
        std::array::from_fn(|channel| byte as f32 * scale[channel] + shift[channel])
    });
    let mut values = vec![0.0; bytes.len()];
    let parts = values.par_chunks_mut(3 * PIXELS);
    parts
        .zip(bytes.par_chunks(3 * PIXELS))
        .for_each(|(values, bytes)| {
            for (value, pixel) in values.chunks_exact_mut(3).zip(bytes.chunks_exact(3)) {
                for channel in 0..3 {
                    value[channel] = table[usize::from(pixel[channel])][channel];
                }
            }
        });
    values
}

/// Images of a loader.
pub struct ImageSource {
    loader: Loader,
    preprocess: Preprocess,
    device: Device,
}

impl ImageSource {
    pub fn new(loader: Loader, preprocess: Preprocess, device: Device) -> Self {
        ImageSource {
            loader,
            preprocess,
            device,
        }
    }
}

impl Source for ImageSource {
    fn batches(&self) -> usize {
        self.loader.batches_per_epoch()
    }

    fn samples(&self) -> usize {
        self.loader.folder().len()
    }

    fn epoch(&self, epoch: usize, first_batch: usize) -> Minibatches<'_> {
        Box::new(self.loader.epoch(epoch as u64, first_batch).map(|batch| {
            let batch = batch?;
            let started = Instant::now();
            let inputs = Inputs::Images(normalise(&batch, &self.preprocess, &self.device));
            Ok(Minibatch {
                inputs,
                number: batch.index,
                targets: batch.targets,
                indices: batch.indices,
                upload_seconds: started.elapsed().as_secs_f64(),
            })
        }))
    }

    fn skipped(&self) -> Vec<Skipped> {
        self.loader.skipped()
    }
}
