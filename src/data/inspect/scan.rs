//! Reading and decoding every file once, on several threads.
//!
//! Input: the list of files. Output: one [`Scan`] per file, in the same order.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::RgbImage;
use sha2::{Digest, Sha256};

use super::super::decode::{DecodeError, decode_bytes, format_name, read_file, sniff};
use super::super::parallel;
use super::{InspectOptions, PixelStatistics};

/// A file and where it belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct File<'a> {
    pub path: &'a Path,
    pub split: &'static str,
    pub class: &'a str,
}

/// What was found in a file.
#[derive(Debug)]
pub(super) struct Scan {
    /// Size of the file; 0 if it cannot be read.
    pub bytes: u64,
    /// SHA-256 of the content; `None` if it cannot be read.
    pub sha256: Option<[u8; 32]>,
    pub image: Result<ScannedImage, DecodeError>,
}

/// What was found in a picture.
#[derive(Debug)]
pub(super) struct ScannedImage {
    pub format: &'static str,
    pub size: (u32, u32),
    /// Per channel, the mean of the values in 0..1 and of their squares.
    mean: [f64; 3],
    mean_of_squares: [f64; 3],
}

pub(super) fn scan(
    files: &[File<'_>],
    options: &InspectOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Vec<Scan> {
    let done = AtomicUsize::new(0);
    parallel::map(files, options.workers, |file| {
        let scan = scan_file(file.path, options);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
        scan
    })
}

fn scan_file(path: &Path, options: &InspectOptions) -> Scan {
    let content = match read_file(path, &options.limits) {
        Ok(content) => content,
        Err(error) => {
            return Scan {
                bytes: 0,
                sha256: None,
                image: Err(error),
            };
        }
    };
    let image = sniff(&content).and_then(|format| {
        let image = decode_bytes(&content, &options.limits)?;
        Ok(ScannedImage::new(format_name(format), &image))
    });
    Scan {
        bytes: content.len() as u64,
        sha256: Some(Sha256::digest(&content).into()),
        image,
    }
}

impl ScannedImage {
    fn new(format: &'static str, image: &RgbImage) -> Self {
        // Whole numbers: exact, and the same in any order of summation.
        let (mut sums, mut squares) = ([0u64; 3], [0u64; 3]);
        for pixel in image.pixels() {
            for (channel, byte) in pixel.0.map(u64::from).into_iter().enumerate() {
                sums[channel] += byte;
                squares[channel] += byte * byte;
            }
        }
        let pixels = (u64::from(image.width()) * u64::from(image.height())) as f64;
        Self {
            format,
            size: image.dimensions(),
            mean: sums.map(|sum| sum as f64 / pixels / 255.0),
            mean_of_squares: squares.map(|sum| sum as f64 / pixels / (255.0 * 255.0)),
        }
    }
}

/// Statistics over images, each of the same weight.
pub(super) fn statistics<'a>(
    images: impl Iterator<Item = &'a ScannedImage>,
) -> Option<PixelStatistics> {
    let (mut mean, mut squares, mut count) = ([0.0; 3], [0.0; 3], 0usize);
    for image in images {
        for channel in 0..3 {
            mean[channel] += image.mean[channel];
            squares[channel] += image.mean_of_squares[channel];
        }
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let mean = mean.map(|sum| sum / count as f64);
    let variance = |channel: usize| squares[channel] / count as f64 - mean[channel] * mean[channel];
    // Rounding may leave a flat picture with a variance just below zero.
    Some(PixelStatistics {
        mean,
        std: std::array::from_fn(|channel| variance(channel).max(0.0).sqrt()),
    })
}
