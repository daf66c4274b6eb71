//! What a run starts from: images, network and the sources that feed it.
//!
//! Input: the configuration and the data set's folder. Output: [`Material`], ready for the loop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::StopSignal;
use super::run::TrainError;
use crate::config::{DEFAULT_WEIGHTS, TrainConfig};
use crate::data::{
    Augmentation, ImageCache, ImageFolder, Loader, LoaderConfig, Mode as LoaderMode, Preprocess,
    SplitOptions, Splits,
};
use crate::device::Selected;
use crate::feed::{FeatureSource, FeatureTable, ImageSource, Source};
use crate::logging::terminal;
use crate::model::onnx::{BatchNormOrigin, load};
use crate::model::{Architecture, ResNet, ResNetConfig};
use crate::sinks::{EvaluationStep, Event, Sinks};
use crate::zoo;

/// The images of a run.
pub fn open_data(root: &Path, config: &TrainConfig) -> Result<Splits, TrainError> {
    let options = SplitOptions {
        seed: config.seed,
        ..Default::default()
    };
    let mut splits = Splits::open(root, &options)?;
    if let Some(samples) = config.max_train_samples {
        splits.max_train_samples(samples, config.seed)?;
    }
    Ok(splits)
}

/// Tells one set of images from another: a hash over the classes and the relative paths of training and validation
/// images. Contents are left out, as reading them all would cost more than an epoch of a frozen run.
pub fn data_identity(splits: &Splits) -> String {
    let mut hasher = Sha256::new();
    for folder in [&splits.train, &splits.valid] {
        for class in &folder.classes {
            hasher.update(class.as_bytes());
            hasher.update([0]);
        }
        for sample in &folder.samples {
            let path = sample
                .path
                .strip_prefix(&folder.root)
                .unwrap_or(&sample.path);
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update([0]);
        }
    }
    let hash = crate::files::hex(&hasher.finalize());
    format!(
        "{} training and {} validation images, {}",
        splits.train.samples.len(),
        splits.valid.samples.len(),
        &hash[..16]
    )
}

/// The network that `config` asks for: pretrained with a new head, or random. Says in one line what it took.
pub fn build_network(
    config: &TrainConfig,
    num_classes: usize,
    device: &Selected,
) -> Result<ResNet, TrainError> {
    let architecture = config.model.unwrap_or(Architecture::Resnet18);
    let weights = match config.weights.as_str() {
        DEFAULT_WEIGHTS => zoo::default_for(architecture)?,
        other => zoo::resolve(other)?,
    };
    let file: PathBuf = match weights {
        zoo::Weights::None => {
            tracing::info!("network: {architecture} from random weights");
            return Ok(ResNet::new(
                &ResNetConfig::new(architecture, num_classes),
                config.seed,
                &device.device,
            )?);
        }
        zoo::Weights::File(path) => path,
        zoo::Weights::Zoo(entry) => {
            zoo::Cache::from_env()?.fetch(entry, &mut zoo::progress_bar(&terminal(), entry))?
        }
    };
    let imported = load(&file, &device.device)?;
    let found = imported.model.config().architecture;
    if let Some(asked) = config.model.filter(|asked| *asked != found) {
        return Err(TrainError::OtherNetwork { file, found, asked });
    }
    let folded = imported.batch_norm == BatchNormOrigin::Folded;
    tracing::info!(
        "network: {found} from {}{}",
        file.display(),
        if folded {
            " (BatchNorm folded into the convolutions: its statistics stay frozen)"
        } else {
            ""
        }
    );
    Ok(imported.model.with_new_head(num_classes, config.seed)?)
}

/// Where training and validation batches come from, and what computing features up front took.
pub struct Feeds {
    pub train: Box<dyn Source>,
    pub valid: Box<dyn Source>,
    pub seconds: f64,
}

/// Loaders that share one cache of decoded images.
pub struct Loaders {
    cache: Arc<ImageCache>,
    preprocess: Preprocess,
    config: TrainConfig,
}

impl Loaders {
    pub fn new(config: &TrainConfig, preprocess: &Preprocess) -> Self {
        let cache = Arc::new(ImageCache::new(
            (config.cache_mb as u64).saturating_mul(1_000_000),
        ));
        Loaders {
            cache,
            preprocess: preprocess.clone(),
            config: config.clone(),
        }
    }

    /// A loader in the folder's order, without augmentation.
    pub fn in_order(&self, folder: &ImageFolder) -> Loader {
        self.loader(folder, LoaderMode::Eval)
    }

    /// A loader that shuffles and augments.
    pub fn training(&self, folder: &ImageFolder) -> Loader {
        let mode = LoaderMode::Train {
            augmentation: self.config.augmentation,
            seed: self.config.seed,
        };
        self.loader(folder, mode)
    }

    fn loader(&self, folder: &ImageFolder, mode: LoaderMode) -> Loader {
        let config = LoaderConfig {
            workers: self.config.workers,
            strict: self.config.strict,
            cache: self.cache.clone(),
            ..LoaderConfig::new(self.config.batch_size, self.preprocess.clone(), mode)
        };
        Loader::new(folder.clone(), config)
    }
}

/// Features can be computed once where neither the backbone nor the pixels change from epoch to epoch.
pub fn features_are_constant(config: &TrainConfig) -> bool {
    config.freeze && config.augmentation == Augmentation::None && config.mixup.is_none()
}

/// Builds the sources. With constant features this runs the backbone over both splits, once; `None` where a signal came
/// in between.
pub fn build_feeds(
    config: &TrainConfig,
    splits: &Splits,
    loaders: &Loaders,
    model: &ResNet,
    device: &Selected,
    stop: &StopSignal,
    sinks: &mut Sinks,
) -> Result<Option<Feeds>, TrainError> {
    let preprocess = &loaders.preprocess;
    let images = |loader: Loader, device: &burn::tensor::Device| {
        ImageSource::new(loader, preprocess.clone(), device.clone())
    };
    let inner = &device.device;
    let autodiff = inner.clone().autodiff();
    if !features_are_constant(config) {
        // A frozen backbone runs without gradients, so its images belong on the plain device.
        let train_device = if config.freeze { inner } else { &autodiff };
        let train = Box::new(images(loaders.training(&splits.train), train_device));
        let valid = Box::new(images(loaders.in_order(&splits.valid), inner));
        return Ok(Some(Feeds {
            train,
            valid,
            seconds: 0.0,
        }));
    }
    let started = std::time::Instant::now();
    let backbone = model.fused();
    let train_images = images(loaders.in_order(&splits.train), inner);
    let valid_images = images(loaders.in_order(&splits.valid), inner);
    let (mut done, steps) = (0, train_images.batches() + valid_images.batches());
    let mut tables = Vec::with_capacity(2);
    for source in [&train_images, &valid_images] {
        let table = FeatureTable::compute(&backbone, source, |_| {
            done += 1;
            sinks.emit(&Event::Evaluating(EvaluationStep {
                split: "features",
                step: done,
                steps,
            }));
            stop.requested().is_none()
        })?;
        match table {
            Some(table) => tables.push(table),
            None => return Ok(None),
        }
    }
    let (Some(valid), Some(train)) = (tables.pop(), tables.pop()) else {
        return Ok(None);
    };
    let train = FeatureSource::new(train, config.batch_size, Some(config.seed), autodiff);
    let valid = FeatureSource::new(valid, config.batch_size, None, inner.clone());
    Ok(Some(Feeds {
        train: Box::new(train),
        valid: Box::new(valid),
        seconds: started.elapsed().as_secs_f64(),
    }))
}
