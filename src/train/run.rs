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

use std::path::PathBuf;

use super::checkpoint::{CheckpointError, Progress, TrainState};
use super::feeds::{Feeds, Loaders, build_feeds};
use super::fit::{Ended, FitError, Plan, fit};
use super::keeper::Keeper;
use super::loss::Loss;
use super::setup::{data_identity, open_data};
use super::start::{continued, fresh};
use super::{Schedule, Stop, StopSignal, summary};
use crate::artifact::ArtifactError;
use crate::config::{Resolved, TrainConfig};
use crate::data::{DataError, DataSource, Opening, Preprocess, Splits};
use crate::demo::{self, DemoError};
use crate::device::{DeviceError, Selected, select};
use crate::logging::terminal;
use crate::model::onnx::OnnxError;
use crate::model::{Architecture, NetworkError, ResNet};
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
    #[error("signals cannot be listened to: {0}")]
    Signals(std::io::Error),
}

/// What to train on and where to put it.
#[derive(Debug)]
pub struct Request {
    pub data: RunData,
    pub destination: Destination,
    /// The command as it was typed.
    pub command: Vec<String>,
    /// Listening already, as the start-up is part of the run.
    pub stop: StopSignal,
}

/// The pictures of a run.
#[derive(Debug)]
pub enum RunData {
    /// They are drawn by the program.
    Demo,
    Photos(DataSource),
}

/// Where results go.
#[derive(Debug)]
pub enum Destination {
    /// A new run folder.
    New { output: Option<PathBuf> },
    /// That of the run to go on with.
    Resumed(RunFolder),
    /// The folders of a SageMaker job, which goes on where it has a checkpoint.
    Job(RunFolder),
}

/// How a run ended, and where its results are.
#[derive(Debug)]
pub struct Trained {
    pub ended: Ended,
    pub folder: PathBuf,
}

/// Trains as configured and fills the run folder. Says how it ended.
///
/// # Errors
/// [`TrainError`]. A new run folder in which nothing was trained yet is removed again; otherwise the last checkpoint and
/// the best weights are in it.
pub fn train(resolved: Resolved, request: Request) -> Result<Trained, TrainError> {
    let device = select(resolved.config.device, resolved.config.precision)?;
    tracing::info!("device: {} ({})", device.name, device.why);
    let (folder, resumed) = match &request.destination {
        Destination::Resumed(folder) => (folder.clone(), true),
        Destination::Job(folder) => (folder.clone(), folder.has_checkpoint()),
        Destination::New { output } => {
            let kind = match request.data {
                RunData::Demo => "demo",
                RunData::Photos(_) => "train",
            };
            (RunFolder::create(output.as_deref(), kind)?, false)
        }
    };
    let is_new = matches!(request.destination, Destination::New { .. });
    let ended = start(resolved, request, folder.clone(), device, resumed);
    if is_new && ended.is_err() {
        folder.remove_if_untouched();
    }
    Ok(Trained {
        ended: ended?,
        folder: folder.path().to_owned(),
    })
}

fn start(
    resolved: Resolved,
    request: Request,
    folder: RunFolder,
    device: Selected,
    resumed: bool,
) -> Result<Ended, TrainError> {
    let config = resolved.config.clone();
    let is_job = matches!(request.destination, Destination::Job(_));
    // What a job needs on disk for a while must not end up in what it leaves.
    let scratch = tempfile::tempdir().map_err(|source| TrainError::Write {
        path: std::env::temp_dir(),
        source,
    })?;
    let data = match request.data {
        RunData::Photos(data) => data,
        RunData::Demo => {
            let place = if is_job {
                scratch.path()
            } else {
                folder.path()
            };
            let data = place.join("data");
            tracing::info!("drawing pictures into {}", data.display());
            demo::draw(&data, config.seed)?;
            DataSource::folder(data)
        }
    };
    let stopped = request.stop.clone();
    let opening = Opening {
        scratch: scratch.path(),
        stopped: &|| stopped.requested().is_some(),
    };
    let Some(splits) = open_data(&data, &config, opening)? else {
        return Ok(stopped_early());
    };
    summary::announce_data(&splits);
    let identity = data_identity(&splits);
    let state = match resumed {
        true => continued(&config, &device, &folder, &identity)?,
        false => {
            let fresh = fresh(&config, &device, &splits.train.classes, opening.stopped)?;
            let Some(fresh) = fresh else {
                return Ok(stopped_early());
            };
            fresh
        }
    };
    let data = data.train.place();
    let args = RunArgs {
        data: std::fs::canonicalize(data).unwrap_or_else(|_| data.to_owned()),
        command: request.command,
    };
    let stop = request.stop;
    stop.started().map_err(TrainError::Signals)?;
    tracing::info!("results: {}", folder.path().display());
    let run = Run {
        resolved,
        args,
        folder,
        config,
        device,
        splits,
        stop,
        is_job,
    };
    run.execute(state, identity)
}

/// How a run ends that was stopped before it had data and a network.
fn stopped_early() -> Ended {
    tracing::warn!("stopped by SIGTERM while data or weights came in: there is no model");
    Ended::Stopped(Stop::Terminate)
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
}

impl Run {
    fn execute(mut self, state: TrainState, identity: String) -> Result<Ended, TrainError> {
        self.note_architecture(&state.model);
        self.folder
            .write_args(&self.args, &self.resolved.settings)?;
        let preprocess = Preprocess::imagenet(self.config.image_size);
        let loaders = Loaders::new(&self.config, &preprocess);
        let mut sinks = self.sinks();
        sinks.emit(&self.started(&state.progress));
        let feeds = build_feeds(
            &loaders,
            &self.splits,
            &state.model,
            &self.device,
            &self.stop,
            &mut sinks,
            self.folder.weights(),
        )?;
        let (state, ended) = match &feeds {
            Some(feeds) => self.fit(state, feeds, identity, &mut sinks)?,
            // A signal came while features were computed.
            None => {
                let stop = self.stop.requested().unwrap_or(Stop::Interrupt);
                (state, Ended::Stopped(stop))
            }
        };
        if ended == Ended::Stopped(Stop::Interrupt) {
            sinks.emit(&Event::RunEnded);
            summary::announce_interrupted(&self.folder, self.is_job, &state.progress);
            return Ok(ended);
        }
        self.conclude(state, ended, feeds.as_ref(), &loaders, &mut sinks)
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
        Sinks::new()
            .with(MetricLineSink::stdout(terminal()))
            .with(CsvSink::new(csv))
            .with(TensorBoardSink::new(self.folder.path()))
            .with(ProgressSink::new(terminal()))
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
