//! One run of training, from its folder to its model directory.
//!
//! Input: the resolved configuration and where data and results live. Output: the run folder:
//!
//! ```text
//! runs/train-1/
//!   args.json                    settings with their origin, data, command; what --resume reads
//!   results.csv                  a row per epoch
//!   events.out.tfevents.*        the same for TensorBoard
//!   confusion.csv                of the best weights, on test (else valid)
//!   report.html                  to look at
//!   weights/best.safetensors     best epoch, torchvision's names
//!   weights/last.safetensors     everything needed to go on
//!   model/                       the artifact
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::Module;

use super::checkpoint::{BEST, Checkpoint, CheckpointError, LAST, Progress, TrainState, read_best};
use super::ema::Ema;
use super::fit::{Ended, FitError, Plan, fit};
use super::loss::Loss;
use super::setup::{Feeds, Loaders, build_feeds, build_network, data_identity, open_data};
use super::{Schedule, Stop, StopSignal, optimizer, summary};
use crate::artifact::{self, ArtifactError, Manifest};
use crate::config::{Resolved, TrainConfig};
use crate::data::{DataError, Preprocess, Skipped, Splits};
use crate::demo::{self, DemoError};
use crate::device::{DeviceError, Selected, select};
use crate::eval::{Scores, evaluate};
use crate::feed::{ImageSource, Source};
use crate::logging::terminal;
use crate::model::onnx::OnnxError;
use crate::model::{Architecture, NetworkError, ResNet};
use crate::run_folder::{RunArgs, RunFolder, RunFolderError};
use crate::sinks::{
    BestMetric, CsvSink, EvaluationStep, Event, MetricLineSink, ProgressSink, RunStarted, Sinks,
    TensorBoardSink, TestMetrics,
};
use crate::zoo::ZooError;

/// Why a run failed. Each names the file, flag or class at fault.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Zoo(#[from] ZooError),
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("--weights {file} holds a {found}, but --model asks for {asked}: change one of them")]
    OtherNetwork {
        file: PathBuf,
        found: Architecture,
        asked: Architecture,
    },
    #[error(transparent)]
    Fit(#[from] FitError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    RunFolder(#[from] RunFolderError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("{path}: {source}")]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("signals cannot be listened to: {0}")]
    Signals(std::io::Error),
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub ended: Ended,
    pub folder: PathBuf,
    /// Figures of the exported weights.
    pub metrics: BTreeMap<String, f64>,
}

/// What to train on and where to put it.
#[derive(Debug)]
pub struct Request {
    /// Folder of photos; `None` draws the demo's pictures into the run folder.
    pub data: Option<PathBuf>,
    pub destination: Destination,
    /// The command as it was typed.
    pub command: Vec<String>,
}

/// A new run folder, or that of the run to go on with.
#[derive(Debug)]
pub enum Destination {
    New { output: Option<PathBuf> },
    Resumed(RunFolder),
}

/// Trains as configured and fills the run folder.
///
/// # Errors
/// [`TrainError`]. What is wrong with device, data or weights is found before a new run folder is made; later the folder
/// keeps the last checkpoint.
pub fn train(resolved: Resolved, request: Request) -> Result<Outcome, TrainError> {
    let stop = StopSignal::install().map_err(TrainError::Signals)?;
    let config = resolved.config.clone();
    let device = select(config.device, config.precision)?;
    tracing::info!("device: {} ({})", device.name, device.why);
    let new_folder = |kind: &str| match &request.destination {
        Destination::Resumed(folder) => Ok(folder.clone()),
        Destination::New { output } => RunFolder::create(output.as_deref(), kind),
    };
    let (data, mut folder) = match request.data.clone() {
        Some(data) => (data, None),
        None => {
            let folder = new_folder("demo")?;
            let data = folder.path().join("data");
            tracing::info!("drawing pictures into {}", data.display());
            demo::draw(&data, config.seed)?;
            (data, Some(folder))
        }
    };
    let splits = open_data(&data, &config)?;
    summary::announce_data(&splits);
    let identity = data_identity(&splits);
    let state = match &request.destination {
        Destination::Resumed(folder) => continued(&config, &device, folder, &identity)?,
        Destination::New { .. } => fresh(&config, &device, splits.train.classes.len())?,
    };
    let folder = match folder.take() {
        Some(folder) => folder,
        None => new_folder("train")?,
    };
    let args = RunArgs {
        data,
        command: request.command,
    };
    Run {
        resolved,
        args,
        folder,
        config,
        device,
        splits,
        stop,
    }
    .execute(state, identity)
}

fn fresh(
    config: &TrainConfig,
    device: &Selected,
    num_classes: usize,
) -> Result<TrainState, TrainError> {
    let model = trainable(build_network(config, num_classes, device)?, config);
    let ema = config.ema_decay.map(|decay| Ema::new(&model, decay));
    let optimizer = optimizer::build(config);
    Ok(TrainState {
        model,
        optimizer,
        ema,
        best_model: None,
        best_scores: None,
        progress: Progress::default(),
    })
}

fn continued(
    config: &TrainConfig,
    device: &Selected,
    folder: &RunFolder,
    identity: &str,
) -> Result<TrainState, TrainError> {
    let mut checkpoint = Checkpoint::read(&folder.weights().join(LAST), identity)?;
    let inner = &device.device;
    let model = trainable(checkpoint.model(inner)?, config);
    let ema = match config.ema_decay {
        Some(decay) => Some(
            checkpoint
                .ema(inner)?
                .map_or_else(|| Ema::new(&model, decay), |m| Ema::of(m, decay)),
        ),
        None => None,
    };
    let best_model = match checkpoint.progress.best.best {
        Some(_) => Some(read_best(
            &folder.weights().join(BEST),
            &checkpoint.network,
            inner,
        )?),
        None => None,
    };
    let optimizer = checkpoint.optimizer(optimizer::build(config))?;
    let progress = checkpoint.progress;
    tracing::info!(
        "resumed after {} epochs and {} batches",
        progress.epoch,
        progress.batch
    );
    Ok(TrainState {
        model,
        optimizer,
        ema,
        best_model,
        best_scores: None,
        progress,
    })
}

/// The network on the device that tracks gradients, with the backbone frozen where that was asked for.
fn trainable(model: ResNet, config: &TrainConfig) -> ResNet {
    match config.freeze {
        true => model.train().freeze_backbone(),
        false => model.train(),
    }
}

/// What all stages of a run look at.
struct Run {
    resolved: Resolved,
    args: RunArgs,
    folder: RunFolder,
    config: TrainConfig,
    device: Selected,
    splits: Splits,
    stop: StopSignal,
}

impl Run {
    fn execute(mut self, state: TrainState, identity: String) -> Result<Outcome, TrainError> {
        self.note_architecture(&state.model);
        self.folder
            .write_args(&self.args, &self.resolved.settings)?;

        let preprocess = Preprocess::imagenet(self.config.image_size);
        let loaders = Loaders::new(&self.config, &preprocess);
        let mut sinks = self.sinks();
        sinks.emit(&self.started(&state.progress));
        let feeds = build_feeds(
            &self.config,
            &self.splits,
            &loaders,
            &state.model,
            &self.device,
            &self.stop,
            &mut sinks,
        )?;
        let Some(feeds) = feeds else {
            // Nothing was trained since the last checkpoint, if there is one, so there is nothing to keep.
            sinks.emit(&Event::RunEnded);
            return Ok(self.left_early(&state));
        };
        let (state, ended) = self.fit(state, &feeds, identity, &mut sinks)?;
        if ended == Ended::Stopped(Stop::Interrupt) {
            sinks.emit(&Event::RunEnded);
            return Ok(self.left_early(&state));
        }
        self.conclude(state, ended, &feeds, &loaders, &preprocess, &mut sinks)
    }

    /// Once the weights are read it is known which network they hold; a resumed run needs to be told.
    fn note_architecture(&mut self, model: &ResNet) {
        let architecture = model.config().architecture;
        if let Some(setting) = self
            .resolved
            .settings
            .iter_mut()
            .find(|s| s.name == "model")
        {
            setting.value = architecture.to_string();
        }
    }

    fn sinks(&self) -> Sinks {
        let csv = self.folder.path().join("results.csv");
        Sinks::new()
            .with(MetricLineSink::stdout(terminal()))
            .with(CsvSink::new(csv))
            .with(TensorBoardSink::new(self.folder.path()))
            .with(ProgressSink::new(terminal()))
    }

    fn started(&self, progress: &Progress) -> Event {
        let settings = self
            .resolved
            .settings
            .iter()
            .map(|s| (s.name.clone(), s.value.clone().into()));
        let mut counts = vec![
            ("train".to_string(), self.splits.train.samples.len()),
            ("valid".to_string(), self.splits.valid.samples.len()),
        ];
        counts.extend(
            self.splits
                .test
                .iter()
                .map(|test| ("test".to_string(), test.samples.len())),
        );
        Event::RunStarted(RunStarted {
            config: serde_json::Value::Object(settings.collect()),
            classes: self.splits.train.classes.clone(),
            counts,
            epochs: self.config.epochs,
            first_epoch: progress.epoch + 1,
            global_step: progress.global_step,
        })
    }

    fn fit(
        &self,
        mut state: TrainState,
        feeds: &Feeds,
        data_identity: String,
        sinks: &mut Sinks,
    ) -> Result<(TrainState, Ended), TrainError> {
        let classes = &self.splits.train.classes;
        let mut counts = vec![0; classes.len()];
        for sample in &self.splits.train.samples {
            counts[sample.class] += 1;
        }
        let steps_per_epoch = feeds
            .train
            .batches()
            .div_ceil(self.config.grad_accumulation);
        // Computing features is the first epoch's work, so its time counts there.
        state.progress.seconds += feeds.seconds;
        let plan = Plan {
            config: &self.config,
            train: feeds.train.as_ref(),
            valid: feeds.valid.as_ref(),
            num_classes: classes.len(),
            loss: Loss::new(
                self.config.class_weights,
                &counts,
                self.config.label_smoothing,
            ),
            schedule: Schedule::new(&self.config, steps_per_epoch),
            weights: self.folder.weights(),
            data_identity,
            stop: &self.stop,
            lag: if self.device.is_cpu { 1 } else { 16 },
        };
        Ok(fit(state, &plan, sinks)?)
    }

    /// Leaves with nothing but the checkpoint.
    fn left_early(&self, state: &TrainState) -> Outcome {
        let resumable = self.folder.weights().join(LAST).is_file();
        summary::announce_interrupted(self.folder.path(), &state.progress, resumable);
        Outcome {
            ended: Ended::Stopped(Stop::Interrupt),
            folder: self.folder.path().to_owned(),
            metrics: BTreeMap::new(),
        }
    }

    /// Test figures, artifact and report of the best weights.
    fn conclude(
        &self,
        state: TrainState,
        ended: Ended,
        feeds: &Feeds,
        loaders: &Loaders,
        preprocess: &Preprocess,
        sinks: &mut Sinks,
    ) -> Result<Outcome, TrainError> {
        let best = state
            .best_model
            .clone()
            .unwrap_or_else(|| state.evaluated());
        let classes = &self.splits.train.classes;
        let top_k = self.config.top_k;
        let mut skipped: Vec<Skipped> = feeds.train.skipped();
        skipped.extend(feeds.valid.skipped());

        // After SIGTERM there are two minutes left, and the artifact matters more than the test split.
        let hurried = matches!(ended, Ended::Stopped(_));
        let (mut test, mut reported_test) = (None, None);
        if let Some(folder) = self.splits.test.as_ref().filter(|_| !hurried) {
            let started = std::time::Instant::now();
            let source = ImageSource::new(
                loaders.in_order(folder),
                preprocess.clone(),
                self.device.device.clone(),
            );
            let steps = source.batches();
            test = evaluate(&best, &source, classes.len(), top_k, |step| {
                sinks.emit(&Event::Evaluating(EvaluationStep {
                    split: "test",
                    step,
                    steps,
                }));
                self.stop.requested().is_none()
            })?;
            skipped.extend(source.skipped());
            if let Some(scores) = &test {
                let metrics = test_metrics(scores, top_k, started.elapsed().as_secs_f64());
                sinks.emit(&Event::TestEnded(metrics.clone()));
                reported_test = Some(metrics);
            }
        }
        let metrics = exported_metrics(&state.progress, test.as_ref());
        self.report_best(&state.progress, sinks);
        sinks.emit(&Event::RunEnded);

        let manifest = Manifest::new(
            best.config().clone(),
            classes.clone(),
            preprocess.clone(),
            Some(self.splits.origin.clone()),
            metrics.clone(),
            self.resolved.settings.clone(),
        );
        let model_folder = self.folder.model();
        artifact::save(&model_folder, &best, manifest)?;
        let (split, scores) = match test {
            Some(scores) => ("test", Some(scores)),
            None if hurried || state.best_scores.is_some() => {
                ("validation", state.best_scores.clone())
            }
            // A resumed run that found no better epoch: the features or pixels are at hand.
            None => (
                "validation",
                evaluate(&best, feeds.valid.as_ref(), classes.len(), top_k, |_| true)?,
            ),
        };
        let findings = summary::Findings {
            args: &self.args,
            settings: &self.resolved.settings,
            device: &self.device,
            splits: &self.splits,
            progress: &state.progress,
            ended,
            split,
            scores: scores.as_ref(),
            skipped: &skipped,
            test: reported_test.as_ref(),
        };
        findings.write(self.folder.path())?;
        findings.announce(self.folder.path());
        Ok(Outcome {
            ended,
            folder: self.folder.path().to_owned(),
            metrics,
        })
    }

    /// SageMaker scores a trial by the last value it printed, which is the last epoch's and not the best one's.
    fn report_best(&self, progress: &Progress, sinks: &mut Sinks) {
        let Some(best) = progress
            .best
            .best
            .as_ref()
            .filter(|best| best.epoch != progress.history.len())
        else {
            return;
        };
        if self.config.report_best {
            let metric = "validation:accuracy".to_string();
            sinks.emit(&Event::Best(BestMetric {
                metric,
                value: best.accuracy,
                epoch: best.epoch,
            }));
        }
    }
}

fn test_metrics(scores: &Scores, top_k: usize, seconds: f64) -> TestMetrics {
    TestMetrics {
        loss: scores.loss(),
        accuracy: scores.accuracy(),
        top_k: (top_k > 1).then(|| scores.top_k()),
        images: scores.images() as usize,
        seconds,
    }
}

fn exported_metrics(progress: &Progress, test: Option<&Scores>) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::new();
    if let Some(best) = &progress.best.best {
        metrics.insert("validation:accuracy".into(), best.accuracy);
        metrics.insert("validation:loss".into(), best.loss);
        metrics.insert("epoch".into(), best.epoch as f64);
    }
    if let Some(test) = test {
        metrics.insert("test:accuracy".into(), test.accuracy());
        metrics.insert("test:loss".into(), test.loss());
    }
    metrics
}
