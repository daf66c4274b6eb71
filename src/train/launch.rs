//! The start of a run: device, folder, data and network, until the loop can begin.
//!
//! Input: the resolved configuration and a [`Request`]. Output: [`Trained`], what the run came to.

use std::path::PathBuf;

use super::fit::Ended;
use super::inside::Inside;
use super::rescue::stopped_early;
use super::run::{Run, TrainError};
use super::setup::{data_identity, open_data};
use super::start::{continued, fresh};
use super::{StopSignal, summary};
use crate::config::{Precision, Resolved};
use crate::data::{DataSource, Opening};
use crate::demo;
use crate::device::{NumberFormat, Selected, select};
use crate::run_folder::{RunArgs, RunFolder};

/// What to train on and where to put it.
#[derive(Debug)]
pub struct Request {
    pub data: RunData,
    pub destination: Destination,
    /// The command as it was typed.
    pub command: Vec<String>,
    /// Folder in which runs share the features of a frozen backbone.
    pub feature_cache: Option<PathBuf>,
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
    let device = select(resolved.config.device)?;
    let format = device.format(resolved.config.precision)?;
    warn_of_slow_format(&device, format);
    // What cannot be looked for is told before a folder is made.
    let inside = Inside::read(&resolved.config)?;
    tracing::info!("device: {} ({}), {format}", device.name, device.why);
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
    let ended = start(resolved, request, folder.clone(), device, inside, resumed);
    if is_new && ended.is_err() {
        folder.remove_if_untouched();
    }
    Ok(Trained {
        ended: ended?,
        folder: folder.path().to_owned(),
    })
}

fn warn_of_slow_format(device: &Selected, format: NumberFormat) {
    match format {
        NumberFormat::Bfloat16 if device.is_cpu => {
            tracing::warn!("--precision bfloat16 is many times slower than float32 on the CPU")
        }
        NumberFormat::Float32
            if device.format(Precision::Auto).ok() == Some(NumberFormat::Bfloat16) =>
        {
            tracing::warn!(
                "with float32 the first step on a GPU takes a minute or more, in which kernels are tried out; --precision auto takes \
                 bfloat16, which has its own kernels and is faster"
            )
        }
        _ => {}
    }
}

fn start(
    resolved: Resolved,
    request: Request,
    folder: RunFolder,
    device: Selected,
    inside: Inside,
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
        return stopped_early(&folder, &resolved);
    };
    summary::announce_data(&splits);
    let identity = data_identity(&splits);
    let state = match resumed {
        true => continued(&config, &device, &folder, &identity)?,
        false => {
            let fresh = fresh(&config, &device, &splits.train.classes, opening.stopped)?;
            let Some(fresh) = fresh else {
                return stopped_early(&folder, &resolved);
            };
            fresh
        }
    };
    let data = data.train.place();
    let args = RunArgs {
        data: std::fs::canonicalize(data).unwrap_or_else(|_| data.to_owned()),
        command: request.command,
        classes: splits.train.classes.clone(),
        split: Some(splits.origin.clone()),
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
        feature_cache: request.feature_cache,
    };
    run.execute(state, identity, inside)
}
