//! The input channels of a job.
//!
//! Input: `inputdataconfig.json`, or `SM_CHANNEL_*` variables where it is missing. Output: [`Channels`]. They are never
//! found by listing the directory: next to a channel's folder lie its manifest and, in Pipe mode, its FIFOs.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::data::RecordWrapper;

use super::{Environment, JobError, Paths, read_object};

/// How a channel's data arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputMode {
    /// Copied to disk before the job starts.
    File,
    /// The same folder, fetched when read; read-only.
    FastFile,
    /// A FIFO per epoch.
    Pipe,
}

/// How the data are shared out between hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    FullyReplicated,
    ShardedByS3Key,
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub name: String,
    /// Its folder; in Pipe mode the FIFO of the first epoch.
    pub path: PathBuf,
    pub mode: InputMode,
    pub distribution: Distribution,
    pub wrapper: RecordWrapper,
}

/// What a channel is for, and the names that say so. The `_lst` channels are those of Amazon's built-in algorithm.
const ROLES: [(&str, &[&str]); 8] = [
    ("training", &["train", "training"]),
    ("validation", &["valid", "val", "validation"]),
    ("testing", &["test", "testing"]),
    ("an earlier model", &["model"]),
    ("pretrained weights", &["pretrained", "weights"]),
    ("class names", &["classes"]),
    (
        "the list of training images",
        &["train_lst", "training_lst"],
    ),
    (
        "the list of validation images",
        &["validation_lst", "valid_lst", "val_lst"],
    ),
];

/// The channels of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    channels: Vec<Channel>,
    /// By role; positions in `channels`.
    roles: [Option<usize>; ROLES.len()],
}

impl Channels {
    /// Reads the channels and finds out what each is for. A single channel under any name is the training data.
    ///
    /// # Errors
    /// A damaged file, or two channels for one purpose.
    pub fn read(paths: &Paths, environment: &Environment) -> Result<Self, JobError> {
        let file = paths.config_file("inputdataconfig.json");
        let mut channels = Vec::new();
        for (name, entry) in read_object(&file)?.unwrap_or_default() {
            let entry = match entry {
                Value::Object(entry) => entry,
                Value::Null => Map::new(),
                _ => {
                    return Err(JobError::File {
                        path: file,
                        message: format!("channel `{name}`: expected a JSON object"),
                    });
                }
            };
            channels.push(channel(name, &entry, paths, environment));
        }
        if channels.is_empty() {
            channels = of_environment(environment);
        }
        Self::with_roles(channels)
    }

    fn with_roles(channels: Vec<Channel>) -> Result<Self, JobError> {
        let mut roles = [None; ROLES.len()];
        for (position, channel) in channels.iter().enumerate() {
            let name = channel.name.to_ascii_lowercase().replace('-', "_");
            let role = ROLES
                .iter()
                .position(|(_, names)| names.contains(&name.as_str()));
            match role {
                None if channels.len() == 1 => {
                    tracing::info!(
                        "channel `{}` is the only one: it is the training data",
                        channel.name
                    );
                    roles[0] = Some(position);
                }
                None => tracing::warn!(
                    "channel `{}` is not used: known names are {}",
                    channel.name,
                    known_names().join(", ")
                ),
                Some(role) => {
                    if let Some(first) = roles[role].replace(position) {
                        return Err(JobError::TwoChannels {
                            role: ROLES[role].0,
                            first: channels[first].name.clone(),
                            second: channel.name.clone(),
                        });
                    }
                }
            }
        }
        Ok(Channels { channels, roles })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.channels.iter()
    }

    fn role(&self, role: usize) -> Option<&Channel> {
        self.roles[role].map(|position| &self.channels[position])
    }

    pub fn train(&self) -> Option<&Channel> {
        self.role(0)
    }

    pub fn valid(&self) -> Option<&Channel> {
        self.role(1)
    }

    pub fn test(&self) -> Option<&Channel> {
        self.role(2)
    }

    /// The artifact of an earlier job, to go on from.
    pub fn model(&self) -> Option<&Channel> {
        self.role(3)
    }

    /// An ONNX file.
    pub fn weights(&self) -> Option<&Channel> {
        self.role(4)
    }

    /// A file of class names.
    pub fn classes(&self) -> Option<&Channel> {
        self.role(5)
    }

    pub fn train_list(&self) -> Option<&Channel> {
        self.role(6)
    }

    pub fn valid_list(&self) -> Option<&Channel> {
        self.role(7)
    }

    /// The training channel.
    ///
    /// # Errors
    /// There is none.
    pub fn require_train(&self) -> Result<&Channel, JobError> {
        self.train().ok_or_else(|| {
            let names: Vec<&str> = self.iter().map(|c| c.name.as_str()).collect();
            JobError::NoTrainChannel {
                found: match names.is_empty() {
                    true => "no channel at all".into(),
                    false => names.join(", "),
                },
            }
        })
    }
}

impl Channel {
    /// Its folder, which must be there.
    ///
    /// # Errors
    /// [`JobError::MissingChannel`].
    pub fn folder(&self) -> Result<&std::path::Path, JobError> {
        match self.path.is_dir() {
            true => Ok(&self.path),
            false => Err(JobError::MissingChannel {
                channel: self.name.clone(),
                path: self.path.clone(),
            }),
        }
    }

    /// The only visible file in its folder with one of these endings, or of any ending where none are given.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn only_file(&self, endings: &[&str]) -> Result<PathBuf, JobError> {
        let folder = self.folder()?;
        let failed = |message: String| JobError::Channel {
            channel: self.name.clone(),
            path: folder.to_owned(),
            message,
        };
        let entries = std::fs::read_dir(folder).map_err(|error| failed(error.to_string()))?;
        let fits = |path: &PathBuf| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .to_ascii_lowercase();
            path.is_file()
                && !name.starts_with('.')
                && (endings.is_empty() || endings.iter().any(|ending| name.ends_with(ending)))
        };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(fits)
            .collect();
        files.sort();
        let wanted = match endings {
            [] => "file".to_string(),
            endings => format!("{} file", endings.join(" or ")),
        };
        match files.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(failed(format!("expected one {wanted}, found none"))),
            [first, second, ..] => Err(failed(format!(
                "expected one {wanted}, found {} and {}",
                first.display(),
                second.display()
            ))),
        }
    }
}

fn known_names() -> Vec<&'static str> {
    ROLES
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        .collect()
}

fn channel(
    name: String,
    entry: &Map<String, Value>,
    paths: &Paths,
    environment: &Environment,
) -> Channel {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let mode = match text("TrainingInputMode").to_ascii_lowercase().as_str() {
        "pipe" => InputMode::Pipe,
        "fastfile" => InputMode::FastFile,
        _ => InputMode::File,
    };
    let said = environment.get(&format!("SM_CHANNEL_{}", name.to_uppercase()));
    let path = match (said, mode) {
        // The variable names the folder that there would be; the pipes lie beside it.
        (Some(path), InputMode::Pipe) => PathBuf::from(format!("{path}_0")),
        (Some(path), _) => PathBuf::from(path),
        (None, InputMode::Pipe) => paths.fifo(&name),
        (None, _) => paths.channel(&name),
    };
    Channel {
        path,
        mode,
        distribution: match text("S3DistributionType") {
            "ShardedByS3Key" => Distribution::ShardedByS3Key,
            _ => Distribution::FullyReplicated,
        },
        wrapper: match text("RecordWrapperType").eq_ignore_ascii_case("recordio") {
            true => RecordWrapper::RecordIo,
            false => RecordWrapper::None,
        },
        name,
    }
}

/// Channels that only the environment speaks of, as in a container of Amazon's toolkit.
fn of_environment(environment: &Environment) -> Vec<Channel> {
    let named = environment.iter().filter_map(|(variable, path)| {
        let name = variable.strip_prefix("SM_CHANNEL_")?;
        (!path.trim().is_empty()).then(|| Channel {
            name: name.to_ascii_lowercase(),
            path: PathBuf::from(path),
            mode: InputMode::File,
            distribution: Distribution::FullyReplicated,
            wrapper: RecordWrapper::None,
        })
    });
    named.collect()
}

#[cfg(test)]
mod tests;
