//! Where a job's files are.
//!
//! Input: the environment, `checkpointconfig.json` and `tensorboardoutputconfig.json`. Output: [`Paths`].

use std::path::{Path, PathBuf};

use super::{Environment, JobError, read_object};

/// Where SageMaker mounts everything.
const MOUNT: &str = "/opt/ml";
/// Another root, as Amazon's toolkits name it; for rehearsals and tests.
const BASE_DIR: &str = "SAGEMAKER_BASE_DIR";

/// The folders of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    base: PathBuf,
    config: PathBuf,
    data: PathBuf,
    pub model: PathBuf,
    /// Becomes `output.tar.gz`.
    pub output_data: PathBuf,
    /// Where SageMaker fetches TensorBoard's files from, if the job has a TensorBoardOutputConfig.
    pub tensorboard: Option<PathBuf>,
    /// Synchronised with S3 while the job runs, restored when it is started again.
    pub checkpoints: PathBuf,
    /// Its first 1,024 characters become the job's FailureReason.
    pub failure: PathBuf,
    /// What the debugger and the profiler are asked for; the files need not exist.
    pub hook_config: PathBuf,
    pub profiler_config: PathBuf,
}

impl Paths {
    /// The folders of the job that this process is part of; `None` outside of SageMaker.
    pub fn find(environment: &Environment) -> Option<Self> {
        let base = match environment.get(BASE_DIR) {
            Some(base) => PathBuf::from(base),
            None => {
                let mount = Path::new(MOUNT);
                mount
                    .join("input/config")
                    .is_dir()
                    .then(|| mount.to_owned())?
            }
        };
        Some(Self::below(&base, environment))
    }

    /// The folders of the container that this process may be in, whether for training or for an endpoint.
    pub fn of_container(environment: &Environment) -> Option<Self> {
        let base = environment
            .get(BASE_DIR)
            .map_or_else(|| PathBuf::from(MOUNT), PathBuf::from);
        base.is_dir().then(|| Self::below(&base, environment))
    }

    /// The folders of a job below `base`.
    pub fn below(base: &Path, environment: &Environment) -> Self {
        // Absolute, as a restarted job compares the paths of its weights.
        let base = &std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
        let or = |variable: &str, place: &str| match environment.get(variable) {
            Some(path) => PathBuf::from(path),
            None => base.join(place),
        };
        let config = or("SM_INPUT_CONFIG_DIR", "input/config");
        // Amazon's hooks look for these two files under the same variables.
        let file = |variable: &str, name: &str| match environment.get(variable) {
            Some(path) => PathBuf::from(path),
            None => config.join(name),
        };
        Paths {
            hook_config: file("SMDEBUG_CONFIG_FILE_PATH", "debughookconfig.json"),
            profiler_config: file("SMPROFILER_CONFIG_PATH", "profilerconfig.json"),
            data: or("SM_INPUT_DIR", "input").join("data"),
            model: or("SM_MODEL_DIR", "model"),
            output_data: or("SM_OUTPUT_DATA_DIR", "output/data"),
            tensorboard: None,
            checkpoints: base.join("checkpoints"),
            failure: or("SM_OUTPUT_DIR", "output").join("failure"),
            base: base.to_owned(),
            config,
        }
    }

    /// Puts the checkpoints and TensorBoard's files where the job's CheckpointConfig and TensorBoardOutputConfig say.
    ///
    /// # Errors
    /// One of their files is not a JSON object.
    pub fn with_output_configs(mut self) -> Result<Self, JobError> {
        if let Some(path) = self.local_path("checkpointconfig.json")? {
            self.checkpoints = path;
        }
        self.tensorboard = self.local_path("tensorboardoutputconfig.json")?;
        Ok(self)
    }

    /// The `LocalPath` in a file of `input/config`; `None` where there is no file, or it names none.
    fn local_path(&self, file: &str) -> Result<Option<PathBuf>, JobError> {
        let config = read_object(&self.config_file(file))?.unwrap_or_default();
        let mut entries = config.iter();
        let entry = entries.find(|(key, _)| key.eq_ignore_ascii_case("LocalPath"));
        let path = entry.and_then(|(_, path)| path.as_str());
        Ok(path
            .filter(|path| !path.is_empty())
            .map(|path| self.rooted(Path::new(path))))
    }

    /// A path as the platform names it: under another root its own mount means that root.
    fn rooted(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(MOUNT) {
            Ok(below) => self.base.join(below),
            Err(_) => path.to_owned(),
        }
    }

    /// Where the profiler's files go; `asked` is the `LocalPath` of its configuration.
    pub fn profiler(&self, asked: Option<&Path>) -> PathBuf {
        self.rooted(asked.unwrap_or(Path::new("/opt/ml/output/profiler")))
    }

    /// Where the debugger's tensors go; `asked` is the `LocalPath` of its configuration.
    pub fn tensors(&self, asked: Option<&Path>) -> PathBuf {
        self.rooted(asked.unwrap_or(Path::new("/opt/ml/output/tensors")))
    }

    pub fn base(&self) -> &Path {
        &self.base
    }

    /// A file of `input/config`.
    pub fn config_file(&self, name: &str) -> PathBuf {
        self.config.join(name)
    }

    /// The folder of a channel in File and FastFile mode.
    pub fn channel(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// The FIFO of a channel's first epoch in Pipe mode.
    pub fn fifo(&self, name: &str) -> PathBuf {
        self.data.join(format!("{name}_0"))
    }

    /// Removes the reason of an earlier attempt in the same place, as in a rehearsal that is repeated.
    pub fn forget_failure(&self) {
        if let Err(error) = std::fs::remove_file(&self.failure)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("{} cannot be removed: {error}", self.failure.display());
        }
    }

    /// Makes the folders that are written to, and finds out now rather than after hours of training that one cannot be.
    ///
    /// # Errors
    /// [`JobError::Unwritable`].
    pub fn prepare(&self) -> Result<(), JobError> {
        let unwritable = |path: &Path, source, fix| JobError::Unwritable {
            path: path.to_owned(),
            source,
            fix,
        };
        for (folder, fix) in [
            (
                &self.model,
                "the trained model goes there; mount it writable",
            ),
            (
                &self.output_data,
                "results and the report go there; mount it writable",
            ),
            (
                &self.checkpoints,
                "checkpoints go there; mount it writable or set CheckpointConfig.LocalPath",
            ),
        ] {
            std::fs::create_dir_all(folder)
                .and_then(|()| tempfile::tempfile_in(folder).map(drop))
                .map_err(|source| unwritable(folder, source, fix))?;
            crate::files::remove_leftovers(folder);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_of_ones_own_and_single_folders_of_ones_own() {
        let environment =
            Environment::of([("SAGEMAKER_BASE_DIR", "/tmp/job"), ("SM_MODEL_DIR", "/m")]);
        let paths = Paths::find(&environment).unwrap();
        assert_eq!(paths.model, Path::new("/m"));
        assert_eq!(paths.output_data, Path::new("/tmp/job/output/data"));
        assert_eq!(
            paths.channel("train"),
            Path::new("/tmp/job/input/data/train")
        );
        assert_eq!(
            paths.fifo("train"),
            Path::new("/tmp/job/input/data/train_0")
        );
        assert_eq!(paths.failure, Path::new("/tmp/job/output/failure"));
    }

    #[test]
    fn checkpoints_follow_their_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let paths = || Paths::below(dir.path(), &Environment::of([]));
        std::fs::create_dir_all(dir.path().join("input/config")).unwrap();
        let said = |text: &str| {
            std::fs::write(dir.path().join("input/config/checkpointconfig.json"), text).unwrap();
            paths().with_output_configs().map(|p| p.checkpoints)
        };
        let usual = dir.path().join("checkpoints");
        assert_eq!(paths().with_output_configs().unwrap().checkpoints, usual);
        for nothing in ["", "null", "{}", r#"{"S3Uri":"s3://b/c","LocalPath":""}"#] {
            assert_eq!(said(nothing).unwrap(), usual, "{nothing}");
        }
        assert_eq!(
            said(r#"{"LocalPath":"/opt/ml/checkpoints/mine"}"#).unwrap(),
            usual.join("mine")
        );
        assert_eq!(
            said(r#"{"LocalPath":"/elsewhere"}"#).unwrap(),
            Path::new("/elsewhere")
        );
        assert!(
            said("[")
                .unwrap_err()
                .to_string()
                .contains("checkpointconfig.json")
        );
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("model"), "a file, not a folder").unwrap();
        let error = Paths::below(dir.path(), &Environment::of([])).prepare();
        let error = error.unwrap_err().to_string();
        assert!(error.contains("model cannot be written"), "{error}");
    }
}
