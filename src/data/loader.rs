//! Batches of an image folder, prepared by threads ahead of their use.
//!
//! Input: an [`ImageFolder`] and a [`LoaderConfig`]. Output: for each epoch an iterator of [`Batch`]es. The batches of a
//! seed are the same bit for bit whatever the number of threads and whatever the cache holds: the order comes from
//! (seed, epoch), every other random choice from (seed, epoch, image).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use image::RgbImage;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::augment::Augmentation;
use super::cache::{CacheKey, Form, ImageCache};
use super::decode::{DecodeError, DecodeLimits, decode_bytes};
use super::error::DataError;
use super::folder::ImageFolder;
use super::path_text;
use super::pixels::shrink;
use super::prefetch::Epoch;
use super::preprocess::Preprocess;
use super::seed::{self, Purpose};

/// What the images are prepared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Shuffled anew at each epoch, and augmented.
    Train {
        augmentation: Augmentation,
        seed: u64,
    },
    /// In the folder's order, with the evaluation preprocessing.
    Eval,
}

/// What loaders have done, counted by all their threads.
#[derive(Debug, Default)]
pub struct LoadStats {
    decoded: AtomicU64,
    decode_us: AtomicU64,
    cached: AtomicU64,
}

impl LoadStats {
    /// Images decoded, and made ready to be kept.
    pub fn decoded(&self) -> u64 {
        self.decoded.load(Ordering::Relaxed)
    }

    /// Seconds of a thread for one of them; 0 where there were none.
    pub fn decode_seconds(&self) -> f64 {
        self.decode_us.load(Ordering::Relaxed) as f64 / 1e6 / self.decoded().max(1) as f64
    }

    /// Images that were in the cache.
    pub fn cached(&self) -> u64 {
        self.cached.load(Ordering::Relaxed)
    }
}

/// How to load.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Images per batch; the last batch may be smaller. At least 1.
    pub batch_size: usize,
    /// Threads that decode; 0 counts as 1.
    pub workers: usize,
    /// Batches prepared ahead of the one in use. Bounds the memory of an epoch, beside the cache.
    pub prefetch_batches: usize,
    pub preprocess: Preprocess,
    pub mode: Mode,
    pub cache: Arc<ImageCache>,
    pub limits: DecodeLimits,
    /// Makes a broken image an error; otherwise it is left out of its batch.
    pub strict: bool,
    pub stats: Arc<LoadStats>,
}

impl LoaderConfig {
    /// A configuration with all available cores, two batches ahead and no cache.
    pub fn new(batch_size: usize, preprocess: Preprocess, mode: Mode) -> Self {
        Self {
            batch_size,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            prefetch_batches: 2,
            preprocess,
            mode,
            cache: Arc::new(ImageCache::new(0)),
            limits: DecodeLimits::default(),
            strict: false,
            stats: Arc::default(),
        }
    }
}

/// Some images and their classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Position of this batch in the plan of its epoch; an epoch resumed after it starts at `index + 1`.
    pub index: usize,
    /// RGB bytes, `[targets.len(), height, width, 3]`.
    pub images: Vec<u8>,
    /// Class of each image.
    pub targets: Vec<usize>,
    /// Position of each image in the folder's samples.
    pub indices: Vec<usize>,
    pub height: usize,
    pub width: usize,
}

/// A file that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    #[serde(serialize_with = "path_text::one")]
    pub path: PathBuf,
    pub reason: String,
}

/// Names of the classes of `folder` that had images, all of which were `skipped`: a network cannot learn them.
pub fn unreadable_classes<'a>(folder: &'a ImageFolder, skipped: &[Skipped]) -> Vec<&'a str> {
    let skipped: HashSet<&Path> = skipped.iter().map(|s| s.path.as_path()).collect();
    // `None`: no image seen yet.
    let mut all_skipped = vec![None; folder.classes.len()];
    for sample in &folder.samples {
        let is_skipped = skipped.contains(sample.path.as_path());
        let before = all_skipped[sample.class].unwrap_or(true);
        all_skipped[sample.class] = Some(before && is_skipped);
    }
    let classes = folder.classes.iter().zip(all_skipped);
    classes
        .filter(|(_, all)| *all == Some(true))
        .map(|(class, _)| class.as_str())
        .collect()
}

/// Loads an image folder, epoch by epoch.
#[derive(Debug)]
pub struct Loader {
    source: Arc<Source>,
}

impl Loader {
    /// Prepares to load `folder`; starts no thread and opens no file.
    pub fn new(folder: ImageFolder, mut config: LoaderConfig) -> Self {
        config.batch_size = config.batch_size.max(1);
        config.workers = config.workers.max(1);
        Self {
            source: Arc::new(Source {
                folder,
                config,
                skipped: Mutex::default(),
            }),
        }
    }

    /// Leaves out files that are known to be broken, without another warning.
    pub fn leaving_out(self, broken: &[Skipped]) -> Self {
        let broken: HashMap<&Path, &Skipped> = broken
            .iter()
            .map(|skipped| (skipped.path.as_path(), skipped))
            .collect();
        let samples = self.source.folder.samples.iter().enumerate();
        let found = samples.filter_map(|(index, sample)| {
            let skipped = broken.get(sample.path.as_path())?;
            Some((index, (*skipped).clone()))
        });
        self.source.skipped().extend(found);
        self
    }

    /// The batches of `epoch`, from `first_batch` on. What lies before it is not decoded, so that a resumed run continues
    /// at once. Dropping the iterator stops its threads.
    ///
    /// The iterator ends after its first error: a broken image in strict mode, an epoch (from batch 0) in which no image
    /// could be read, a failed thread.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Epoch {
        Epoch::start(Arc::clone(&self.source), epoch, first_batch)
    }

    /// Batches that an epoch is planned to have. It yields fewer only where every image of a batch is broken.
    pub fn batches_per_epoch(&self) -> usize {
        let images = self.source.folder.len();
        images.div_ceil(self.source.config.batch_size)
    }

    pub fn folder(&self) -> &ImageFolder {
        &self.source.folder
    }

    pub fn config(&self) -> &LoaderConfig {
        &self.source.config
    }

    /// The files left out so far, in the folder's order.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.source.skipped().values().cloned().collect()
    }
}

/// The order in which a shuffled epoch visits `images` images.
pub fn epoch_order(images: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images).collect();
    order.shuffle(&mut seed::rng(seed, Purpose::Shuffle, epoch, 0));
    order
}

/// What the threads of an epoch share: where images come from and how they are prepared.
#[derive(Debug)]
pub(super) struct Source {
    pub folder: ImageFolder,
    pub config: LoaderConfig,
    /// By position in the folder. A file in here is not tried again, and not warned of again.
    skipped: Mutex<BTreeMap<usize, Skipped>>,
}

impl Source {
    /// The order in which `epoch` visits the images.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        match self.config.mode {
            Mode::Train { seed, .. } => epoch_order(self.folder.len(), seed, epoch),
            Mode::Eval => (0..self.folder.len()).collect(),
        }
    }

    /// The pixels of image `index` in `epoch`; `None` where the file is broken and not strict.
    pub fn load(&self, index: usize, epoch: u64) -> Result<Option<Arc<RgbImage>>, DataError> {
        if self.skipped().contains_key(&index) {
            return Ok(None);
        }
        match self.prepare(index, epoch) {
            Ok(pixels) => Ok(Some(pixels)),
            Err(source) if self.config.strict => Err(DataError::BrokenImage {
                path: self.folder.samples[index].path.clone(),
                source,
            }),
            Err(reason) => {
                self.skip(index, &reason);
                Ok(None)
            }
        }
    }

    fn prepare(&self, index: usize, epoch: u64) -> Result<Arc<RgbImage>, DecodeError> {
        let (preprocess, limits) = (&self.config.preprocess, &self.config.limits);
        let square = |pixels: Vec<u8>| {
            RgbImage::from_raw(preprocess.crop, preprocess.crop, pixels).unwrap_or_default()
        };
        let (augmentation, seed) = match self.config.mode {
            Mode::Eval => (Augmentation::None, 0),
            Mode::Train { augmentation, seed } => (augmentation, seed),
        };
        if augmentation == Augmentation::None {
            return self.cached(index, Form::crop(preprocess), |bytes| {
                Ok(square(preprocess.decode(bytes, limits)?))
            });
        }
        // A crop of a huge photo ends up at a few hundred pixels anyway. The shrinking is done whether or not the result
        // fits into the cache, so that the cache never changes a pixel.
        let max_short_side = 2 * preprocess.resize;
        let image = self.cached(index, Form::Shrunk { max_short_side }, |bytes| {
            Ok(shrink(decode_bytes(bytes, limits)?, max_short_side))
        })?;
        let mut rng = seed::rng(seed, Purpose::Augment, epoch, index as u64);
        Ok(Arc::new(square(
            augmentation.apply(&image, preprocess, &mut rng),
        )))
    }

    /// The image in `form`: from the cache, else made of its file by `make`.
    fn cached(
        &self,
        index: usize,
        form: Form,
        make: impl FnOnce(&[u8]) -> Result<RgbImage, DecodeError>,
    ) -> Result<Arc<RgbImage>, DecodeError> {
        let sample = &self.folder.samples[index];
        let key = CacheKey {
            path: sample.path.clone(),
            form,
        };
        if let Some(image) = self.config.cache.get(&key) {
            self.config.stats.cached.fetch_add(1, Ordering::Relaxed);
            return Ok(image);
        }
        let started = Instant::now();
        let image = Arc::new(make(&sample.read(&self.config.limits)?)?);
        let stats = &self.config.stats;
        let took = started.elapsed().as_micros() as u64;
        stats.decode_us.fetch_add(took, Ordering::Relaxed);
        stats.decoded.fetch_add(1, Ordering::Relaxed);
        self.config.cache.insert(key, &image);
        Ok(image)
    }

    fn skip(&self, index: usize, reason: &DecodeError) {
        let path = &self.folder.samples[index].path;
        tracing::warn!("skipping broken image {}: {reason}", path.display());
        self.skipped().insert(
            index,
            Skipped {
                path: path.clone(),
                reason: reason.to_string(),
            },
        );
    }

    pub fn skipped(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Skipped>> {
        // Entries are inserted whole, so a panic elsewhere leaves the map sound.
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
