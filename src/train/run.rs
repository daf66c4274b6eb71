//! One run of training, from its data and network to its model directory.
//!
//! Input: a [`Run`] and the state that it starts from, see [`super::launch`]. Output: the run folder:
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
//!   rules.json                   what the rules found
//!   debug-output/                with --debugger: tensors in SageMaker Debugger's format
//! ```

use std::path::PathBuf;

use super::checkpoint::{CheckpointError, Progress, TrainState};
use super::feature_pass::Store;
use super::feeds::{Feeds, Loaders, Watchers, build_feeds};
use super::finish::Trained;
use super::fit::{Ended, FitError, Plan, fit};
use super::inside::Inside;
use super::keeper::Keeper;
use super::loss::Loss;
use super::{Schedule, Stop, StopSignal, summary};
use crate::artifact::ArtifactError;
use crate::config::{Resolved, TrainConfig};
use crate::data::{DataError, Preprocess, Splits};
use crate::debugger::{Debugger, DebuggerError, HookConfigError};
use crate::demo::DemoError;
use crate::device::{DeviceError, Selected};
use crate::logging::terminal;
use crate::model::onnx::OnnxError;
use crate::model::{Architecture, NetworkError, ResNet};
use crate::profiler::Profiler;
use crate::run_folder::{RunArgs, RunFolder, RunFolderError};
use crate::s3::S3Error;
use crate::sinks::{
    CsvSink, Event, MetricLineSink, ProgressSink, RunStarted, Sinks, TensorBoardSink,
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
    S3(#[from] S3Error),
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
    #[error(transparent)]
    HookConfig(#[from] HookConfigError),
    #[error(transparent)]
    Debugger(#[from] DebuggerError),
    #[error("--rules: {0}")]
    Rule(String),
    #[error("--profiler: no thread can be started ({0}); --profiler false does without")]
    Profiler(std::io::Error),
    #[error("signals cannot be listened to: {0}")]
    Signals(std::io::Error),
}

/// What all stages of a run look at.
pub struct Run {
    pub resolved: Resolved,
    pub args: RunArgs,
    pub folder: RunFolder,
    pub config: TrainConfig,
    pub device: Selected,
    pub splits: Splits,
    pub stop: StopSignal,
    pub is_job: bool,
    /// Where features are kept that runs share.
    pub feature_cache: Option<PathBuf>,
}

impl Run {
    pub(super) fn execute(
        mut self,
        state: TrainState,
        identity: String,
        inside: Inside,
    ) -> Result<Ended, TrainError> {
        self.note_architecture(&state.model);
        self.folder
            .write_args(&self.args, &self.resolved.settings)?;
        let preprocess = Preprocess::imagenet(self.config.image_size);
        let loaders = Loaders::new(&self.config, &preprocess);
        let mut sinks = self.sinks();
        let epochs_before = state.progress.history.len();
        sinks.emit(&self.started(&state.progress));
        let profiler = self.profiler()?;
        let built = build_feeds(
            &loaders,
            &self.splits,
            &state.model,
            &self.device,
            &self.stop,
            self.store(),
            Watchers {
                sinks: &mut sinks,
                profiler: &profiler,
            },
        );
        let (fitted, rules, feeds) = match built {
            Err(error) => (Err(error.into()), Vec::new(), None),
            // A signal came while features were computed.
            Ok(None) => {
                let stop = self.stop.requested().unwrap_or(Stop::Interrupt);
                (Ok((state, Ended::Stopped(stop))), Vec::new(), None)
            }
            Ok(Some(feeds)) => {
                let debugger = self.debugger(inside, &state.model, &feeds)?;
                let watching = (&debugger, &profiler);
                let fitted = self.fit(state, &feeds, watching, identity, &mut sinks);
                let rules = debugger.finish();
                self.stop.forget_rule();
                (fitted, rules, Some(feeds))
            }
        };
        // What was seen of a training that failed is worth most.
        let seen = self.seen(rules, profiler, &loaders)?;
        let (state, ended) = fitted?;
        if ended == Ended::Stopped(Stop::Interrupt) {
            sinks.emit(&Event::RunEnded);
            summary::announce_interrupted(&self.folder, self.is_job, &state.progress);
            return Ok(ended);
        }
        let trained = Trained {
            ended,
            epochs_before,
            feeds: feeds.as_ref(),
            seen,
        };
        self.conclude(state, trained, &loaders, &mut sinks)
    }

    /// Once the weights are read it is known which network they hold; a resumed run needs to be told.
    fn note_architecture(&mut self, model: &ResNet) {
        let architecture = model.config().architecture;
        let setting = self
            .resolved
            .settings
            .iter_mut()
            .find(|s| s.name == "model");
        if let Some(setting) = setting {
            setting.value = architecture.to_string();
        }
    }

    fn sinks(&self) -> Sinks {
        let csv = self.folder.path().join("results.csv");
        // The row of an epoch is in the file when its line is seen: a study looks there then.
        Sinks::new()
            .with(CsvSink::new(csv))
            .with(MetricLineSink::stdout(terminal()))
            .with(TensorBoardSink::new(self.folder.tensorboard()))
            .with(ProgressSink::new(terminal()))
    }

    /// Where the features of a frozen backbone are kept.
    pub(super) fn store(&self) -> Store<'_> {
        match &self.feature_cache {
            Some(cache) => Store::Shared(cache),
            None => Store::OfRun(self.folder.weights()),
        }
    }

    fn started(&self, progress: &Progress) -> Event {
        let settings = self.resolved.settings.iter();
        let settings = settings.map(|s| (s.name.clone(), s.value.clone().into()));
        let mut counts = vec![
            ("train".to_string(), self.splits.train.len()),
            ("valid".to_string(), self.splits.valid.len()),
        ];
        let test = self.splits.test.as_ref();
        counts.extend(test.map(|test| ("test".to_string(), test.len())));
        Event::RunStarted(RunStarted {
            config: serde_json::Value::Object(settings.collect()),
            classes: self.splits.train.classes.clone(),
            counts,
            epochs: self.config.epochs,
            first_epoch: progress.epoch + 1,
            global_step: progress.global_step,
            history: progress.history.clone(),
        })
    }

    fn fit(
        &self,
        mut state: TrainState,
        feeds: &Feeds,
        (debugger, profiler): (&Debugger, &Profiler),
        data_identity: String,
        sinks: &mut Sinks,
    ) -> Result<(TrainState, Ended), TrainError> {
        let counts = self.splits.train.class_counts();
        let steps_per_epoch = feeds
            .train
            .batches()
            .div_ceil(self.config.grad_accumulation);
        // Computing features is the first epoch's work, so its time counts there.
        state.progress.seconds += feeds.train_seconds;
        let plan = Plan {
            config: &self.config,
            train: feeds.train.as_ref(),
            valid: feeds.valid.as_ref(),
            num_classes: counts.len(),
            loss: Loss::new(
                self.config.class_weights,
                &counts,
                self.config.label_smoothing,
            ),
            schedule: Schedule::new(&self.config, steps_per_epoch),
            weights: self.folder.weights().to_owned(),
            stop: &self.stop,
            lag: if self.device.is_cpu { 1 } else { 16 },
            debugger,
            profiler,
            valid_seconds_before: feeds.valid_seconds,
        };
        let best_on_disk = state
            .best_model
            .as_ref()
            .and(state.progress.best.best.as_ref());
        let best_on_disk = best_on_disk.map(|best| best.epoch);
        let mut keeper = Keeper::new(
            self.folder.weights().to_owned(),
            data_identity,
            self.config.checkpoint_interval,
            best_on_disk,
            state.progress.global_step,
        );
        Ok(fit(state, &plan, &mut keeper, sinks)?)
    }
}
