//! Where the loop's batches come from: images, or features computed once.
//!
//! Input: the splits, the network and the configuration. Output: [`Feeds`], and the [`Loaders`] behind them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;

use super::StopSignal;
use super::keeper::Pace;
use crate::config::TrainConfig;
use crate::data::{
    Augmentation, DataError, ImageCache, ImageFolder, Loader, LoaderConfig, Mode, Preprocess,
    Splits,
};
use crate::device::Selected;
use crate::feed::{
    FeatureSource, FeatureTable, ImageSource, Source, backbone_fingerprint, features_key,
    read_features, write_features,
};
use crate::model::ResNet;
use crate::sinks::{EvaluationStep, Event, Sinks};

/// Sources of training and validation batches, and what computing features up front took.
pub struct Feeds {
    pub train: Box<dyn Source>,
    pub valid: Box<dyn Source>,
    pub train_seconds: f64,
    pub valid_seconds: f64,
}

/// Makes loaders. Those that see an image again and again share one cache of decoded images.
pub struct Loaders {
    config: TrainConfig,
    preprocess: Preprocess,
    cache: Arc<ImageCache>,
    no_cache: Arc<ImageCache>,
}

impl Loaders {
    pub fn new(config: &TrainConfig, preprocess: &Preprocess) -> Self {
        let budget_bytes = (config.cache_mb as u64).saturating_mul(1_000_000);
        Loaders {
            config: config.clone(),
            preprocess: preprocess.clone(),
            cache: Arc::new(ImageCache::new(budget_bytes)),
            no_cache: Arc::new(ImageCache::new(0)),
        }
    }

    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// In the folder's order, without augmentation, for images that are looked at once.
    pub fn once(&self, folder: &ImageFolder) -> Loader {
        self.loader(folder, Mode::Eval, &self.no_cache)
    }

    /// In the folder's order, without augmentation, epoch after epoch.
    fn in_order(&self, folder: &ImageFolder) -> Loader {
        self.loader(folder, Mode::Eval, &self.cache)
    }

    /// Shuffled and augmented, epoch after epoch.
    fn training(&self, folder: &ImageFolder) -> Loader {
        let mode = Mode::Train {
            augmentation: self.config.augmentation,
            seed: self.config.seed,
        };
        self.loader(folder, mode, &self.cache)
    }

    fn loader(&self, folder: &ImageFolder, mode: Mode, cache: &Arc<ImageCache>) -> Loader {
        let config = LoaderConfig {
            workers: self.config.workers,
            strict: self.config.strict,
            cache: cache.clone(),
            ..LoaderConfig::new(self.config.batch_size, self.preprocess.clone(), mode)
        };
        Loader::new(folder.clone(), config)
    }

    fn source(&self, loader: Loader, device: &Device) -> ImageSource {
        ImageSource::new(loader, self.preprocess.clone(), device.clone())
    }
}

/// Features can be computed once where neither the backbone nor the pixels change from epoch to epoch.
fn features_are_constant(config: &TrainConfig) -> bool {
    config.freeze && config.augmentation == Augmentation::None && config.mixup.is_none()
}

/// Builds the sources. With constant features this runs the backbone over both splits, once, and keeps what it has in the folder
/// `weights`; `None` where a signal came in between.
///
/// # Errors
/// Images that cannot be read, in strict mode or all of them.
pub fn build_feeds(
    loaders: &Loaders,
    splits: &Splits,
    model: &ResNet,
    device: &Selected,
    stop: &StopSignal,
    sinks: &mut Sinks,
    weights: &Path,
) -> Result<Option<Feeds>, DataError> {
    let config = &loaders.config;
    let inner = &device.device;
    let autodiff = inner.clone().autodiff();
    if features_are_constant(config) {
        return features(loaders, splits, model, device, stop, sinks, weights);
    }
    // A frozen backbone runs without gradients, so its images belong on the plain device.
    let train_device = if config.freeze { inner } else { &autodiff };
    Ok(Some(Feeds {
        train: Box::new(loaders.source(loaders.training(&splits.train), train_device)),
        valid: Box::new(loaders.source(loaders.in_order(&splits.valid), inner)),
        train_seconds: 0.0,
        valid_seconds: 0.0,
    }))
}

fn features(
    loaders: &Loaders,
    splits: &Splits,
    model: &ResNet,
    device: &Selected,
    stop: &StopSignal,
    sinks: &mut Sinks,
    weights: &Path,
) -> Result<Option<Feeds>, DataError> {
    let config = &loaders.config;
    let inner = &device.device;
    let backbone = model.fused();
    let network = backbone_fingerprint(model);
    let batches = |folder: &ImageFolder| folder.len().div_ceil(config.batch_size);
    let steps = batches(&splits.train) + batches(&splits.valid);
    let mut before = 0;
    let mut compute = |folder: &ImageFolder, path: PathBuf| {
        let started = Instant::now();
        let key = features_key(&network, folder, loaders.preprocess(), config.batch_size);
        let kept = read_features(&path, folder, &key);
        if kept.batches() > 0 {
            tracing::info!(
                "features of {} of {} batches of {} are here from before",
                kept.batches(),
                batches(folder),
                folder.root.display()
            );
        }
        let source = loaders.source(loaders.once(folder), inner);
        let mut pace = Pace::new(config.checkpoint_interval, kept.batches());
        let was_whole = kept.batches() == batches(folder);
        let table = kept.complete(&backbone, &source, |table| {
            let (split, step) = ("features", before + table.batches());
            sinks.emit(&Event::Evaluating(EvaluationStep { split, step, steps }));
            let stopped = stop.requested().is_some();
            if stopped || pace.is_due(table.batches()) {
                keep(&path, table, &key);
                pace = Pace::new(config.checkpoint_interval, table.batches());
            }
            !stopped
        })?;
        before += batches(folder);
        if let Some(table) = table.as_ref().filter(|_| !was_whole) {
            keep(&path, table, &key);
        }
        Ok::<_, DataError>(table.map(|table| (table, started.elapsed().as_secs_f64())))
    };
    let [train_file, valid_file] = feature_files(weights);
    let Some((train, train_seconds)) = compute(&splits.train, train_file)? else {
        return Ok(None);
    };
    let Some((valid, valid_seconds)) = compute(&splits.valid, valid_file)? else {
        return Ok(None);
    };
    let (batch_size, seed) = (config.batch_size, config.seed);
    let autodiff = inner.clone().autodiff();
    Ok(Some(Feeds {
        train: Box::new(FeatureSource::new(train, batch_size, Some(seed), autodiff)),
        valid: Box::new(FeatureSource::new(valid, batch_size, None, inner.clone())),
        train_seconds,
        valid_seconds,
    }))
}

/// Where the features of training and validation images are kept while a run is under way.
fn feature_files(weights: &Path) -> [PathBuf; 2] {
    ["train", "valid"].map(|split| weights.join(format!("features-{split}.safetensors")))
}

/// Removes what a finished run needs no more.
pub fn forget_features(weights: &Path) {
    for file in feature_files(weights) {
        // Most runs have none.
        let _ = std::fs::remove_file(file);
    }
}

/// Features are only a saving: without them a restarted run computes them again.
fn keep(path: &Path, table: &FeatureTable, key: &str) {
    if let Err(error) = write_features(path, table, key) {
        tracing::warn!("the features are not kept for a restart: {error}");
    }
}
