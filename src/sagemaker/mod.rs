//! The contract between a SageMaker training job and its container.
//!
//! ```text
//! SAGEMAKER_BASE_DIR or /opt/ml
//!   input/config/hyperparameters.json    -> config (a Layer)
//!   input/config/inputdataconfig.json    -> Channels
//!   input/config/resourceconfig.json     -> Resources (hosts, rank)
//!   input/config/checkpointconfig.json   -> Paths::checkpoints
//!   input/data/<channel>/                <- photos
//!   checkpoints/                         <- last and best weights, restored when a job is restarted
//!   model/                               <- the artifact
//!   output/data/                         <- the run folder and its report
//!   output/failure                       <- why it failed
//! ```
//!
//! Input: the folder and the environment. Output: [`Job`]. Amazon's Python toolkit derives `SM_*` variables from the same
//! files; where one is set it wins, as a user may set it in the job's `Environment`.

mod channels;
mod environment;
mod failure;
#[cfg(target_os = "linux")]
mod orphans;
mod paths;
mod rehearsal;
pub mod request;
mod resources;
#[cfg(target_os = "linux")]
mod supervisor;

use std::path::PathBuf;

use serde_json::Value;

pub use channels::{Channel, Channels, Distribution, InputMode};
pub use environment::{Environment, derived_variables};
pub use failure::{
    Reserve, catching_panics, record as record_failure, reserve as reserve_room,
    text as failure_text,
};
#[cfg(target_os = "linux")]
pub use orphans::wait_for_all;
pub use paths::Paths;
pub use rehearsal::{Rehearsal, init};
pub use resources::Resources;
#[cfg(target_os = "linux")]
pub use supervisor::{Child, supervise};

/// What is wrong with a job's files.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("{path}: {message}")]
    File { path: PathBuf, message: String },
    #[error("{variable}={value}: {message}")]
    Variable {
        variable: String,
        value: String,
        message: String,
    },
    #[error(
        "this job has no training channel: name one `train` or `training` in InputDataConfig; found {found}"
    )]
    NoTrainChannel { found: String },
    #[error("channels `{first}` and `{second}` are both for {role}: leave one of them out")]
    TwoChannels {
        role: &'static str,
        first: String,
        second: String,
    },
    #[error(
        "channel `{channel}` has no data: {path} does not exist; check its S3Uri in InputDataConfig"
    )]
    MissingChannel { channel: String, path: PathBuf },
    #[error("channel `{channel}` ({path}): {message}")]
    Channel {
        channel: String,
        path: PathBuf,
        message: String,
    },
    #[error("{path} cannot be written ({source}): {fix}")]
    Unwritable {
        path: PathBuf,
        source: std::io::Error,
        fix: &'static str,
    },
    #[error(
        "{hosts} hosts with data sharded by S3 key: each sees only a part of the photos and one trains. Set \
         S3DataDistributionType to FullyReplicated or InstanceCount to 1; to train on the first host's part all the same, \
         name all classes with the hyperparameter `classes` or a channel `classes`"
    )]
    Sharded { hosts: usize },
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// A training job as its container sees it.
#[derive(Clone, Debug)]
pub struct Job {
    pub paths: Paths,
    /// `hyperparameters.json`, where there is one.
    pub hyperparameters: Option<PathBuf>,
    pub channels: Channels,
    pub resources: Resources,
}

impl Job {
    /// Reads what the platform says of the job. Every file may be missing: SageMaker's local mode, tuning jobs and the
    /// console each leave out others.
    ///
    /// # Errors
    /// A file that is there and not readable, or contradicts itself.
    pub fn read(paths: Paths, environment: &Environment) -> Result<Self, JobError> {
        let hyperparameters = paths.config_file("hyperparameters.json");
        let channels = Channels::read(&paths, environment)?;
        let resources = Resources::read(&paths, environment)?;
        Ok(Job {
            hyperparameters: read_object(&hyperparameters)?.map(|_| hyperparameters),
            channels,
            resources,
            paths,
        })
    }

    /// Refuses what would train on a part of the data without anybody having meant it.
    ///
    /// # Errors
    /// [`JobError::Sharded`].
    pub fn check_sharding(&self, classes_are_given: bool) -> Result<(), JobError> {
        let hosts = self.resources.hosts.len();
        let channels = &self.channels;
        let photos = [channels.train(), channels.valid(), channels.test()];
        let sharded = photos
            .into_iter()
            .flatten()
            .any(|channel| channel.distribution == Distribution::ShardedByS3Key);
        match sharded && hosts > 1 && !classes_are_given {
            true => Err(JobError::Sharded { hosts }),
            false => Ok(()),
        }
    }
}

/// The JSON object in a file of the job; `None` where there is no such file or it is empty, which is how the platform says
/// that there is nothing to say.
pub(crate) fn read_object(
    path: &std::path::Path,
) -> Result<Option<serde_json::Map<String, Value>>, JobError> {
    let failed = |message: String| JobError::File {
        path: path.to_owned(),
        message,
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(Some(map)),
        Ok(Value::Null) => Ok(None),
        Ok(_) => Err(failed("expected one JSON object".into())),
        Err(error) => Err(failed(format!("not JSON: {error}"))),
    }
}
