//! Run folders: where a run leaves what it did, and how a later one finds it.
//!
//! Input: `--output`, `--resume` or nothing. Output: a [`RunFolder`]: `runs/train-N` with the next free N, or the one
//! asked for.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::Setting;
use crate::data::SplitOrigin;
use crate::profiler::ProfilerConfig;
use crate::sagemaker::Paths;

/// Where runs go unless `--output` says otherwise.
pub const RUNS: &str = "runs";
const ARGS: &str = "args.json";
/// The profiler's files in a run folder.
pub const PROFILER: &str = "profiler";
/// The debugger's files in a run folder.
pub const DEBUG_OUTPUT: &str = "debug-output";
const LAST: &str = "last.safetensors";
const CHECKPOINT: &str = "weights/last.safetensors";
const MODEL: &str = "model/manifest.json";

/// A run folder that cannot be made or found.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    #[error(
        "{path} cannot be written ({source}); outside of a SageMaker job, --output DIR chooses another folder"
    )]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "--output {path} already holds a run: give another folder, or continue that run with --resume {path}"
    )]
    Taken { path: PathBuf },
    #[error("--resume: there is no run under {path}/ to continue; name the run folder")]
    NothingToResume { path: PathBuf },
    #[error("--resume {path}: no checkpoint there (expected {path}/weights/last.safetensors)")]
    NoCheckpoint { path: PathBuf },
    #[error("--model: there is no finished run under {path}/; name a model directory")]
    NoModel { path: PathBuf },
    #[error("{path}: not readable ({message})")]
    Args { path: PathBuf, message: String },
}

/// What a run was asked to do besides its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunArgs {
    /// The data set. A name that is no UTF-8 is written as well as it can be; resuming then needs --local-data.
    #[serde(serialize_with = "crate::data::path_text::one")]
    pub data: PathBuf,
    /// The command as it was typed.
    pub command: Vec<String>,
    /// Class names in the order of the network's outputs.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Where the validation images came from.
    #[serde(default)]
    pub split: Option<SplitOrigin>,
}

/// `args.json`.
#[derive(Debug, Serialize, Deserialize)]
struct ArgsFile {
    version: String,
    #[serde(flatten)]
    args: RunArgs,
    settings: Vec<Setting>,
}

/// The folder of one run; a SageMaker job has its checkpoints and its model elsewhere.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    weights: PathBuf,
    model: PathBuf,
    /// Root of a job's folders.
    job: Option<Paths>,
}

impl RunFolder {
    /// Makes a new run folder: `output`, or the next free `runs/<kind>-N`.
    ///
    /// # Errors
    /// It cannot be made, or holds a run already.
    pub fn create(output: Option<&Path>, kind: &str) -> Result<Self, RunFolderError> {
        let path = match output {
            Some(path) if holds_results(path) => {
                return Err(RunFolderError::Taken {
                    path: path.to_owned(),
                });
            }
            Some(path) => make(path).map(|()| path.to_owned())?,
            None => next_free(Path::new(RUNS), kind)?,
        };
        let folder = Self::at(path);
        make(&folder.weights)?;
        Ok(folder)
    }

    fn at(path: PathBuf) -> Self {
        RunFolder {
            weights: path.join("weights"),
            model: path.join("model"),
            path,
            job: None,
        }
    }

    /// The folders of a SageMaker job, all of which exist.
    pub fn of_job(paths: &Paths) -> Self {
        RunFolder {
            path: paths.output_data.clone(),
            weights: paths.checkpoints.clone(),
            model: paths.model.clone(),
            job: Some(paths.clone()),
        }
    }

    /// Whether there is a checkpoint to go on from.
    pub fn has_checkpoint(&self) -> bool {
        self.weights.join(LAST).is_file()
    }

    /// Removes the folder again if no training was done in it, so that a failed start leaves nothing behind.
    pub fn remove_if_untouched(&self) {
        if !holds_results(&self.path) && !self.path.join(ARGS).exists() {
            // What is not empty stays: it is not ours. The demo's pictures are.
            let _ = std::fs::remove_dir_all(self.path.join("data"));
            let _ = std::fs::remove_dir(&self.weights);
            let _ = std::fs::remove_dir(&self.path);
            // Made for this run, if it is empty now.
            let _ = std::fs::remove_dir(RUNS);
        }
    }

    /// Finds the run to continue: the folder named, or without a name the newest under `runs/`.
    ///
    /// # Errors
    /// There is none, or it has no checkpoint.
    pub fn resume(name: Option<&Path>) -> Result<Self, RunFolderError> {
        let path = match name {
            Some(name) => name.to_owned(),
            None => newest(Path::new(RUNS), CHECKPOINT)
                .ok_or_else(|| RunFolderError::NothingToResume { path: RUNS.into() })?,
        };
        let folder = Self::at(path);
        crate::files::remove_leftovers(&folder.weights);
        match folder.has_checkpoint() {
            true => Ok(folder),
            false => Err(RunFolderError::NoCheckpoint { path: folder.path }),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of the checkpoints.
    pub fn weights(&self) -> &Path {
        &self.weights
    }

    /// The model directory.
    pub fn model(&self) -> &Path {
        &self.model
    }

    /// Where TensorBoard looks.
    pub fn tensorboard(&self) -> &Path {
        let asked = self.job.as_ref().and_then(|job| job.tensorboard.as_deref());
        asked.unwrap_or(&self.path)
    }

    /// Where the debugger's tensors go; `asked` is what its configuration says.
    pub fn tensors(&self, asked: Option<&Path>) -> PathBuf {
        match (&self.job, asked) {
            (Some(job), asked) => job.tensors(asked),
            (None, Some(asked)) => asked.to_owned(),
            (None, None) => self.path.join(DEBUG_OUTPUT),
        }
    }

    /// Where the profiler's files go, where they are written: in a job only if its configuration says so.
    pub fn profiler(&self, config: &ProfilerConfig) -> Option<PathBuf> {
        let folder = match &self.job {
            Some(job) => job.profiler(config.local_path.as_deref()),
            None => self.path.join(PROFILER),
        };
        config.enabled.then_some(folder)
    }

    /// The configuration of the profiler that SageMaker may change while a job runs.
    pub fn profiler_config(&self) -> Option<PathBuf> {
        self.job.as_ref().map(|job| job.profiler_config.clone())
    }

    /// Where `args.json` is: in the run folder, and for a job a copy beside its checkpoints, which alone come back when the
    /// job is started again.
    fn args_files(&self) -> Vec<PathBuf> {
        match self.weights.starts_with(&self.path) {
            true => vec![self.path.join(ARGS)],
            false => vec![self.weights.join(ARGS), self.path.join(ARGS)],
        }
    }

    /// Writes `args.json`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_args(&self, args: &RunArgs, settings: &[Setting]) -> Result<(), RunFolderError> {
        let file = ArgsFile {
            version: env!("CARGO_PKG_VERSION").into(),
            args: args.clone(),
            settings: settings.to_vec(),
        };
        for path in self.args_files() {
            let text = serde_json::to_string_pretty(&file).map_err(|e| RunFolderError::Args {
                path: path.clone(),
                message: e.to_string(),
            })?;
            crate::files::write_atomically(&path, text.as_bytes())
                .map_err(|source| RunFolderError::Io { path, source })?;
        }
        Ok(())
    }

    /// Reads `args.json`.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn read_args(&self) -> Result<(RunArgs, Vec<Setting>), RunFolderError> {
        let path = self.args_files().swap_remove(0);
        let text = std::fs::read_to_string(&path).map_err(|source| RunFolderError::Io {
            path: path.clone(),
            source,
        })?;
        let file: ArgsFile = serde_json::from_str(&text).map_err(|e| RunFolderError::Args {
            path,
            message: e.to_string(),
        })?;
        Ok((file.args, file.settings))
    }
}

/// The newest finished run's folder, for commands that need a model and were given none.
///
/// # Errors
/// There is none.
pub fn newest_model() -> Result<PathBuf, RunFolderError> {
    newest(Path::new(RUNS), MODEL).ok_or_else(|| RunFolderError::NoModel { path: RUNS.into() })
}

/// Whether overwriting the folder would lose something that was trained.
fn holds_results(path: &Path) -> bool {
    path.join(CHECKPOINT).exists() || path.join(MODEL).exists()
}

fn make(path: &Path) -> Result<(), RunFolderError> {
    std::fs::create_dir_all(path).map_err(|source| RunFolderError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Creates `<parent>/<kind>-N` for the first N that is free; creating it is what claims the number.
fn next_free(parent: &Path, kind: &str) -> Result<PathBuf, RunFolderError> {
    make(parent)?;
    let mut number = 1;
    loop {
        let path = parent.join(format!("{kind}-{number}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(RunFolderError::Io { path, source }),
        }
    }
}

/// The folder under `parent` whose `file` was written last.
fn newest(parent: &Path, file: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(parent).ok()?.flatten();
    let with_time = entries.filter_map(|entry| {
        let written = std::fs::metadata(entry.path().join(file))
            .ok()?
            .modified()
            .ok()?;
        Some((written, entry.path()))
    });
    with_time.max().map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_up_and_taken_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            next_free(dir.path(), "train").unwrap(),
            dir.path().join("train-1")
        );
        assert_eq!(
            next_free(dir.path(), "train").unwrap(),
            dir.path().join("train-2")
        );
        let run = RunFolder::create(Some(&dir.path().join("mine")), "train").unwrap();
        // A start that failed may be repeated; a run that trained may not be overwritten.
        RunFolder::create(Some(run.path()), "train").unwrap();
        std::fs::write(run.path().join(CHECKPOINT), "x").unwrap();
        let error = RunFolder::create(Some(run.path()), "train")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--resume") && error.contains("mine"),
            "{error}"
        );
    }

    #[test]
    fn args_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(Some(dir.path()), "train").unwrap();
        let args = RunArgs {
            data: "/data".into(),
            command: vec!["sagemaker-burn".into(), "--demo".into()],
            classes: vec!["ant".into(), "bee".into()],
            split: Some(SplitOrigin::Folders),
        };
        let settings = vec![Setting {
            name: "epochs".into(),
            value: "3".into(),
            source: "default".into(),
        }];
        run.write_args(&args, &settings).unwrap();
        assert_eq!(run.read_args().unwrap(), (args, settings));
    }

    #[test]
    fn resuming_needs_a_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            RunFolder::resume(Some(dir.path())),
            Err(RunFolderError::NoCheckpoint { .. })
        ));
    }
}
