//! Where the loop's batches come from: images, or features computed once.
//!
//! Input: the splits, the network and the configuration. Output: [`Feeds`], and the [`Loaders`] behind them.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;

use super::StopSignal;
use super::feature_pass::{FEATURE_BATCH, FeaturePass, Store, feature_batches};
use crate::config::TrainConfig;
use crate::config::values::Interval;
use crate::data::{
    Augmentation, DataError, Epoch, ImageCache, ImageFolder, LoadStats, Loader, LoaderConfig, Mode,
    Preprocess, Skipped, Splits,
};
use crate::device::Selected;
use crate::feed::{FeatureSource, ImageSource, Source, backbone_fingerprint};
use crate::model::ResNet;
use crate::profiler::{Facts, Phase, Profiler};
use crate::sinks::{EvaluationStep, Event, Sinks};

/// Sources of training and validation batches, and what computing features up front took.
pub struct Feeds {
    pub train: Box<dyn Source>,
    pub valid: Box<dyn Source>,
    pub train_seconds: f64,
    pub valid_seconds: f64,
    /// The fingerprint of the backbone whose features these are; `None` where they are images.
    pub backbone: Option<String>,
}

/// Makes loaders. Those that see an image again and again share one cache of decoded images.
pub struct Loaders {
    config: TrainConfig,
    preprocess: Preprocess,
    cache: Arc<ImageCache>,
    no_cache: Arc<ImageCache>,
    stats: Arc<LoadStats>,
}

impl Loaders {
    pub fn new(config: &TrainConfig, preprocess: &Preprocess) -> Self {
        let budget_bytes = (config.cache_mb as u64).saturating_mul(1_000_000);
        Loaders {
            config: config.clone(),
            preprocess: preprocess.clone(),
            cache: Arc::new(ImageCache::new(budget_bytes)),
            no_cache: Arc::new(ImageCache::new(0)),
            stats: Arc::default(),
        }
    }

    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// What is known of the loading, for the profiler; `images` is the number of training images.
    pub fn facts(&self, images: usize, device: &Selected) -> Facts {
        let kept = self.cache.len().max(1) as f64;
        let megabytes = self.cache.cached_bytes() as f64 / 1e6;
        Facts {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            workers: self.config.workers,
            batch_size: self.config.batch_size,
            is_gpu: !device.is_cpu,
            decode_seconds: self.stats.decode_seconds(),
            cached: self.stats.cached(),
            cache_needed_mb: match self.cache.is_empty() {
                true => self.image_megabytes() * images as f64,
                false => megabytes / kept * images as f64,
            },
            cache_mb: self.config.cache_mb as f64,
            images,
        }
    }

    /// An image in the cache, where none is there to be measured: its pixels at the size that augmentation starts from.
    fn image_megabytes(&self) -> f64 {
        let side = match self.config.augmentation {
            Augmentation::None => self.preprocess.crop,
            _ => 2 * self.preprocess.resize,
        };
        3e-6 * f64::from(side) * f64::from(side)
    }

    /// In the folder's order, without augmentation, for images that are looked at once.
    pub fn once(&self, folder: &ImageFolder) -> Loader {
        self.loader(folder, Mode::Eval, &self.no_cache)
    }

    /// The same, in the batches of the pass that computes features.
    pub fn for_features(&self, folder: &ImageFolder) -> Loader {
        self.loader_of(folder, Mode::Eval, &self.no_cache, FEATURE_BATCH)
    }

    /// Whether a broken image is an error.
    pub fn is_strict(&self) -> bool {
        self.config.strict
    }

    /// How often work in progress is kept.
    pub fn checkpoint_interval(&self) -> Interval {
        self.config.checkpoint_interval
    }

    /// In the folder's order, without augmentation, epoch after epoch.
    fn in_order(&self, folder: &ImageFolder) -> Loader {
        self.loader(folder, Mode::Eval, &self.cache)
    }

    /// The batches with which training began; `skipped` names the files that were left out of them.
    pub fn first_epoch(&self, folder: &ImageFolder, skipped: &[Skipped]) -> Epoch {
        self.training(folder).leaving_out(skipped).epoch(0, 0)
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
        self.loader_of(folder, mode, cache, self.config.batch_size)
    }

    fn loader_of(
        &self,
        folder: &ImageFolder,
        mode: Mode,
        cache: &Arc<ImageCache>,
        batch_size: usize,
    ) -> Loader {
        let config = LoaderConfig {
            workers: self.config.workers,
            strict: self.config.strict,
            cache: cache.clone(),
            stats: self.stats.clone(),
            ..LoaderConfig::new(batch_size, self.preprocess.clone(), mode)
        };
        Loader::new(folder.clone(), config)
    }

    fn source(&self, loader: Loader, device: &Device) -> ImageSource {
        ImageSource::new(loader, self.preprocess.clone(), device.clone())
    }
}

/// Who is told of the work.
pub struct Watchers<'a> {
    pub sinks: &'a mut Sinks,
    pub profiler: &'a Profiler,
}

/// Builds the sources. With constant features this runs the backbone over both splits, once, and keeps what it has in `store`; `None`
/// where a signal came in between.
///
/// # Errors
/// Images that cannot be read, in strict mode or all of them.
pub fn build_feeds(
    loaders: &Loaders,
    splits: &Splits,
    model: &ResNet,
    device: &Selected,
    stop: &StopSignal,
    store: Store,
    watchers: Watchers,
) -> Result<Option<Feeds>, DataError> {
    let config = &loaders.config;
    let inner = &device.device;
    let autodiff = inner.clone().autodiff();
    if config.features_are_constant() {
        let network = backbone_fingerprint(model);
        let pass = FeaturePass {
            loaders,
            model,
            network: &network,
            device,
            stop,
            store,
        };
        return features(&pass, splits, watchers);
    }
    // A frozen backbone runs without gradients, so its images belong on the plain device.
    let train_device = if config.freeze { inner } else { &autodiff };
    Ok(Some(Feeds {
        train: Box::new(loaders.source(loaders.training(&splits.train), train_device)),
        valid: Box::new(loaders.source(loaders.in_order(&splits.valid), inner)),
        train_seconds: 0.0,
        valid_seconds: 0.0,
        backbone: None,
    }))
}

fn features(
    pass: &FeaturePass,
    splits: &Splits,
    Watchers { sinks, profiler }: Watchers,
) -> Result<Option<Feeds>, DataError> {
    let config = &pass.loaders.config;
    let steps = feature_batches(&splits.train) + feature_batches(&splits.valid);
    let mut before = 0;
    let mut compute = |split: &str, folder: &ImageFolder| {
        let started = Instant::now();
        let mut batch_started = started;
        let table = pass.table(split, folder, |batches| {
            let (split, step) = ("features", before + batches);
            profiler.begin((step - 1) as u64);
            profiler.note(Phase::Features, batch_started);
            batch_started = Instant::now();
            sinks.emit(&Event::Evaluating(EvaluationStep { split, step, steps }));
        })?;
        before += feature_batches(folder);
        Ok::<_, DataError>(table.map(|table| (table, started.elapsed().as_secs_f64())))
    };
    let Some((train, train_seconds)) = compute("train", &splits.train)? else {
        return Ok(None);
    };
    let Some((valid, valid_seconds)) = compute("valid", &splits.valid)? else {
        return Ok(None);
    };
    let (batch_size, seed) = (config.batch_size, config.seed);
    let inner = &pass.device.device;
    let autodiff = inner.clone().autodiff();
    Ok(Some(Feeds {
        train: Box::new(FeatureSource::new(train, batch_size, Some(seed), autodiff)),
        valid: Box::new(FeatureSource::new(valid, batch_size, None, inner.clone())),
        train_seconds,
        valid_seconds,
        backbone: Some(pass.network.to_string()),
    }))
}
