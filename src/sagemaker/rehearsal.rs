//! A training job's folder without SageMaker: to try on a laptop what will run in the cloud.
//!
//! Input: a folder of photos, hyperparameters and perhaps a file of weights. Output: the tree that the platform would mount,
//! with the photos linked into their channels.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::JobError;
use crate::data::{DataError, SplitFolders};
use crate::files::write_atomically;

/// What to rehearse with.
#[derive(Debug)]
pub struct Rehearsal<'a> {
    /// A folder with split folders, or with class folders alone.
    pub data: &'a Path,
    /// An ONNX file that becomes the channel `weights`.
    pub weights: Option<&'a Path>,
    /// Names and values as they would be given to an estimator.
    pub hyperparameters: Vec<(String, String)>,
}

/// Why a rehearsal cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("{path} is there already and not empty: give another folder, or remove it")]
    Taken { path: PathBuf },
}

/// Lays the job out below `base`; returns the names of its channels.
///
/// # Errors
/// Data that are not a data set, and a folder that is taken or cannot be written.
pub fn init(base: &Path, rehearsal: &Rehearsal) -> Result<Vec<String>, RehearsalError> {
    let absolute = |path: &Path| fs::canonicalize(path).map_err(io(path));
    let mut channels = Vec::new();
    match SplitFolders::find(rehearsal.data)? {
        Some(folders) => {
            channels.push(("train", absolute(&folders.train)?));
            if let Some(valid) = &folders.valid {
                channels.push(("validation", absolute(valid)?));
            }
            if let Some(test) = &folders.test {
                channels.push(("test", absolute(test)?));
            }
        }
        None => channels.push(("train", absolute(rehearsal.data)?)),
    }
    if fs::read_dir(base).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(RehearsalError::Taken {
            path: base.to_owned(),
        });
    }
    for folder in [
        "input/config",
        "input/data",
        "model",
        "output/data",
        "checkpoints",
    ] {
        let folder = base.join(folder);
        fs::create_dir_all(&folder).map_err(io(&folder))?;
    }
    for (name, folder) in &channels {
        link(folder, &base.join("input/data").join(name))?;
    }
    let mut names: Vec<String> = channels.iter().map(|(name, _)| name.to_string()).collect();
    if let Some(weights) = rehearsal.weights {
        let weights = absolute(weights)?;
        let channel = base.join("input/data/weights");
        fs::create_dir_all(&channel).map_err(io(&channel))?;
        link(
            &weights,
            &channel.join(weights.file_name().unwrap_or_default()),
        )?;
        names.push("weights".into());
    }
    write_config(
        &base.join("input/config"),
        &names,
        &rehearsal.hyperparameters,
    )?;
    Ok(names)
}

/// The three files that are documented, in the form in which the platform writes them.
fn write_config(
    folder: &Path,
    channels: &[String],
    hyperparameters: &[(String, String)],
) -> Result<(), JobError> {
    let channel = |name: &String| {
        let content_type = match name.as_str() {
            "weights" => "application/octet-stream",
            _ => "application/x-image",
        };
        let entry = json!({
            "ContentType": content_type,
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        });
        (name.clone(), entry)
    };
    let values = hyperparameters.iter().map(|(k, v)| (k.clone(), json!(v)));
    let resources = json!({
        "current_host": "algo-1",
        "current_instance_type": "local",
        "hosts": ["algo-1"],
        "network_interface_name": "eth0",
    });
    for (name, content) in [
        (
            "hyperparameters.json",
            Value::Object(values.collect::<Map<_, _>>()),
        ),
        (
            "inputdataconfig.json",
            Value::Object(channels.iter().map(channel).collect()),
        ),
        ("resourceconfig.json", resources),
    ] {
        let path = folder.join(name);
        // The pretty form of a JSON value cannot fail.
        let text = serde_json::to_string_pretty(&content).unwrap_or_default();
        write_atomically(&path, text.as_bytes()).map_err(io(&path))?;
    }
    Ok(())
}

#[cfg(unix)]
fn link(target: &Path, place: &Path) -> Result<(), JobError> {
    std::os::unix::fs::symlink(target, place).map_err(io(place))
}

#[cfg(windows)]
fn link(target: &Path, place: &Path) -> Result<(), JobError> {
    let made = match target.is_dir() {
        true => std::os::windows::fs::symlink_dir(target, place),
        false => std::os::windows::fs::symlink_file(target, place),
    };
    made.map_err(io(place))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> JobError {
    let path = path.to_owned();
    move |source| JobError::Io { path, source }
}
