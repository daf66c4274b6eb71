//! The rows: what is timed, and on what.
//!
//! Input: a [`Setup`]. Output: [`Samples`], the seconds that each repetition took and the images that it worked through.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use sagemaker_burn::config::OptimizerKind;
use sagemaker_burn::data::{
    Augmentation, ImageCache, ImageFolder, Loader, LoaderConfig, Mode as LoaderMode, Preprocess,
    SplitFolders,
};
use sagemaker_burn::device::{NumberFormat, select};
use sagemaker_burn::feed::{FeatureSource, FeatureTable, ImageSource, Inputs, Source};
use sagemaker_burn::model::onnx::load;
use sagemaker_burn::model::{Architecture, FusedResNet, Mode, ResNet, ResNetConfig};

use crate::Options;
use crate::learner::{CLASSES, Learner, epoch_of};

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Batch size of every row whose name does not say one.
const BATCH_SIZE: usize = 32;
/// Rows that take less are repeated until so much time is spent, or [`MOST_REPEATS`] are done.
const LEAST_SECONDS: f64 = 1.0;
const MOST_REPEATS: usize = 50;
/// Room for every decoded photo of an epoch.
const CACHE_BYTES: u64 = 4_000_000_000;

/// One thing to measure.
pub struct Row {
    pub name: &'static str,
    pub needs: Needs,
    pub measure: fn(&Setup) -> Result<Samples>,
}

/// What a row cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Photos,
    /// A batch that takes minutes without a GPU.
    Gpu,
}

const fn row(name: &'static str, needs: Needs, measure: fn(&Setup) -> Result<Samples>) -> Row {
    Row {
        name,
        needs,
        measure,
    }
}

const fn photos(name: &'static str, measure: fn(&Setup) -> Result<Samples>) -> Row {
    row(name, Needs::Photos, measure)
}

const fn synthetic(name: &'static str, measure: fn(&Setup) -> Result<Samples>) -> Row {
    row(name, Needs::Nothing, measure)
}

const fn large(name: &'static str, measure: fn(&Setup) -> Result<Samples>) -> Row {
    row(name, Needs::Gpu, measure)
}

/// `-first` decodes, `-cached` is a later epoch; `-w1` has one loader thread, `-wN` as many as `--threads`.
pub const ROWS: [Row; 21] = [
    photos("load-eval-first-w1", |s| s.load(Augmentation::None, 1)),
    photos("load-eval-first-wN", |s| {
        s.load(Augmentation::None, s.threads)
    }),
    photos("load-eval-cached-w1", |s| {
        s.load_cached(Augmentation::None, 1)
    }),
    photos("load-eval-cached-wN", |s| {
        s.load_cached(Augmentation::None, s.threads)
    }),
    photos("load-crop-first-w1", |s| s.load(Augmentation::Crop, 1)),
    photos("load-crop-first-wN", |s| {
        s.load(Augmentation::Crop, s.threads)
    }),
    photos("load-crop-cached-w1", |s| {
        s.load_cached(Augmentation::Crop, 1)
    }),
    photos("load-crop-cached-wN", |s| {
        s.load_cached(Augmentation::Crop, s.threads)
    }),
    synthetic("eval-b1", |s| s.evaluation(1)),
    synthetic("eval-b32", |s| s.evaluation(32)),
    synthetic("eval-fused-b1", |s| s.fused_evaluation(1)),
    synthetic("eval-fused-b32", |s| s.fused_evaluation(32)),
    large("eval-fused-b256", |s| s.fused_evaluation(256)),
    synthetic("train-b8", |s| s.training_step(8)),
    synthetic("train-b32", |s| s.training_step(32)),
    large("train-b128", |s| s.training_step(128)),
    large("train-b256", |s| s.training_step(256)),
    large("train-b512", |s| s.training_step(512)),
    photos("train-epoch", Setup::training_epoch),
    photos("frozen-first", Setup::frozen_first_epoch),
    photos("frozen-later", Setup::frozen_later_epoch),
];

/// What one row took.
pub struct Samples {
    /// Images that each repetition works through.
    pub images: usize,
    /// Wall time of each repetition.
    pub seconds: Vec<f64>,
}

/// What the rows work on.
pub struct Setup {
    pub threads: usize,
    pub repeats: usize,
    quick: bool,
    folder: Option<ImageFolder>,
    model: ResNet,
    device: Device,
    pub device_name: String,
}

impl Setup {
    pub fn new(options: &Options, threads: usize) -> Result<Self> {
        let selected = select(options.device)?;
        let format = selected.format(options.precision)?;
        let (device, device_name) = (selected.device, selected.name);
        let model = match &options.weights {
            Some(file) => load(file, &device)?.model,
            None => ResNet::new(&ResNetConfig::new(Architecture::Resnet18, 1000), 0, &device)?,
        };
        let model = match format {
            NumberFormat::Float32 => model,
            NumberFormat::Bfloat16 => model.in_bfloat16(),
        };
        let mut folder = None;
        if let Some(data) = &options.data {
            let train = SplitFolders::find(data)?.map_or(data.clone(), |folders| folders.train);
            folder = Some(spread(ImageFolder::open(train)?, options.images));
        }
        Ok(Setup {
            threads,
            repeats: options.repeats.max(1),
            quick: options.quick,
            folder,
            model,
            device,
            device_name,
        })
    }

    /// Does `work` once to warm up, then times it again and again. `state` passes through every repetition.
    fn time<S>(
        &self,
        images: usize,
        state: S,
        mut work: impl FnMut(S) -> Result<S>,
    ) -> Result<Samples> {
        let mut state = work(state)?;
        let mut seconds = Vec::new();
        let mut spent = 0.0;
        let is_short =
            |spent: f64, done: usize| !self.quick && spent < LEAST_SECONDS && done < MOST_REPEATS;
        while seconds.len() < self.repeats || is_short(spent, seconds.len()) {
            let started = Instant::now();
            state = work(state)?;
            let elapsed = started.elapsed().as_secs_f64();
            spent += elapsed;
            seconds.push(elapsed);
        }
        Ok(Samples { images, seconds })
    }

    fn images(
        &self,
        augmentation: Augmentation,
        workers: usize,
        cache_bytes: u64,
    ) -> Result<ImageSource> {
        self.images_on(self.device.clone(), augmentation, workers, cache_bytes)
    }

    /// Normalised images of the photos, on `device`; `cache_bytes` 0 decodes each time anew.
    fn images_on(
        &self,
        device: Device,
        augmentation: Augmentation,
        workers: usize,
        cache_bytes: u64,
    ) -> Result<ImageSource> {
        let preprocess = Preprocess::imagenet(224);
        let mode = match augmentation {
            Augmentation::None => LoaderMode::Eval,
            _ => LoaderMode::Train {
                augmentation,
                seed: 0,
            },
        };
        let config = LoaderConfig {
            workers,
            cache: Arc::new(ImageCache::new(cache_bytes)),
            ..LoaderConfig::new(BATCH_SIZE, preprocess.clone(), mode)
        };
        let folder = self.folder.clone().ok_or("this row needs --data")?;
        let loader = Loader::new(folder, config);
        Ok(ImageSource::new(loader, preprocess, device))
    }

    /// A first epoch of loading: files to normalised batches, the cache being filled on the way.
    fn load(&self, augmentation: Augmentation, workers: usize) -> Result<Samples> {
        let images = self.images(augmentation, workers, 0)?.samples();
        self.time(images, (), |()| {
            drain(&self.images(augmentation, workers, CACHE_BYTES)?, 0)
        })
    }

    /// A later epoch of loading.
    fn load_cached(&self, augmentation: Augmentation, workers: usize) -> Result<Samples> {
        let source = self.images(augmentation, workers, CACHE_BYTES)?;
        self.time(source.samples(), 0, |epoch| {
            drain(&source, epoch)?;
            Ok(epoch + 1)
        })
    }

    fn evaluation(&self, batch_size: usize) -> Result<Samples> {
        let images = noise(batch_size, &self.device);
        self.time(batch_size, (), |()| {
            let logits = self.model.forward(images.clone(), Mode::Eval);
            std::hint::black_box(logits.into_data());
            Ok(())
        })
    }

    fn fused_evaluation(&self, batch_size: usize) -> Result<Samples> {
        let images = noise(batch_size, &self.device);
        let model = self.model.fused();
        self.time(batch_size, (), |()| {
            std::hint::black_box(model.forward(images.clone()).into_data());
            Ok(())
        })
    }

    /// Forward, loss, backward and optimizer on one fixed batch, every layer trained.
    fn training_step(&self, batch_size: usize) -> Result<Samples> {
        let device = self.device.clone().autodiff();
        let images = noise(batch_size, &device);
        let targets: Vec<usize> = (0..batch_size).map(|i| i % CLASSES).collect();
        let learner = Learner::new(OptimizerKind::Sgd)?;
        let model = self.model.clone().with_new_head(CLASSES, 0)?.train();
        self.time(batch_size, (model, learner), |(model, mut learner)| {
            let logits = model.forward(images.clone(), Mode::Train);
            let model = learner.step(model, logits, &targets);
            Ok((model, learner))
        })
    }

    /// Loader and training step together: random crops of decoded photos, every layer trained.
    fn training_epoch(&self) -> Result<Samples> {
        let device = self.device.clone().autodiff();
        let source = self.images_on(device, Augmentation::Crop, self.threads, 0)?;
        let learner = Learner::new(OptimizerKind::Sgd)?;
        let model = self.model.clone().with_new_head(CLASSES, 0)?.train();
        let state = (model, learner, 0);
        self.time(source.samples(), state, |(model, learner, epoch)| {
            let (model, learner) = epoch_of(model, learner, &source, epoch)?;
            Ok((model, learner, epoch + 1))
        })
    }

    fn features(&self, backbone: &FusedResNet) -> Result<FeatureTable> {
        let images = self.images(Augmentation::None, self.threads, CACHE_BYTES)?;
        let table = FeatureTable::empty(images.samples()).complete(backbone, &images, |_| true)?;
        Ok(table.ok_or("computing features was interrupted")?)
    }

    fn frozen(&self) -> Result<ResNet> {
        let model = self.model.clone().with_new_head(CLASSES, 0)?;
        Ok(model.train().freeze_backbone())
    }

    /// Training only the classifier: photos to features, then one epoch over them.
    fn frozen_first_epoch(&self) -> Result<Samples> {
        let frozen = self.frozen()?;
        let backbone = frozen.fused();
        let images = self.images(Augmentation::None, 1, 0)?.samples();
        self.time(images, (), |()| {
            let source = self.feature_source(self.features(&backbone)?);
            let learner = Learner::new(OptimizerKind::Adamw)?;
            epoch_of(frozen.clone(), learner, &source, 0)?;
            Ok(())
        })
    }

    /// Training only the classifier: an epoch over features that are there already.
    fn frozen_later_epoch(&self) -> Result<Samples> {
        let model = self.frozen()?;
        let source = self.feature_source(self.features(&model.fused())?);
        let learner = Learner::new(OptimizerKind::Adamw)?;
        let state = (model, learner, 0);
        self.time(source.samples(), state, |(model, learner, epoch)| {
            let (model, learner) = epoch_of(model, learner, &source, epoch)?;
            Ok((model, learner, epoch + 1))
        })
    }

    fn feature_source(&self, table: FeatureTable) -> FeatureSource {
        FeatureSource::new(table, BATCH_SIZE, Some(0), self.device.clone().autodiff())
    }
}

/// Takes every batch of an epoch.
fn drain(source: &ImageSource, epoch: usize) -> Result<()> {
    for batch in source.epoch(epoch, 0) {
        if let Inputs::Images(images) = batch?.inputs {
            std::hint::black_box(images);
        }
    }
    Ok(())
}

/// `count` samples at equal distances, so that every part of the folder is present; 0 keeps all.
fn spread(mut folder: ImageFolder, count: usize) -> ImageFolder {
    let all = std::mem::take(&mut folder.samples);
    let count = if count == 0 {
        all.len()
    } else {
        count.min(all.len())
    };
    folder.samples = (0..count)
        .map(|i| all[i * all.len() / count].clone())
        .collect();
    folder
}

fn noise(batch_size: usize, device: &Device) -> Tensor<4> {
    let shape = [batch_size, 3, 224, 224];
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}
