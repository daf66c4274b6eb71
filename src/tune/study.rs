//! A study: a folder that says what is searched and what came of it.
//!
//! ```text
//! STUDY/
//!   study.json      the Definition, written once
//!   journal.jsonl   what happened, see super::journal
//!   trials/001/     the run folder of a trial, and its log.txt
//!   features/       of the frozen backbone, shared by the trials
//!   model/          that of the best trial so far
//! ```
//!
//! Input: the folder and a [`Definition`]. Output: [`Study`], new or as far as it got.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::definition::Definition;
use super::journal::{Journal, JournalError, Outcome, Record, Status, Trial};

const STUDY: &str = "study.json";
const JOURNAL: &str = "journal.jsonl";
const LOCK: &str = "lock";

/// A study that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} holds something else than a study: give another --output")]
    Taken { path: PathBuf },
    #[error("{path}: not readable ({message}); start another study with another --output")]
    Damaged { path: PathBuf, message: String },
    #[error(
        "the study in {path} was started with another {what}: there {there}, now {now}. Say the same, or start another study with \
         another --output"
    )]
    Differs {
        path: PathBuf,
        what: String,
        there: String,
        now: String,
    },
    #[error("another sagemaker-burn tune is at work in {path}")]
    InUse { path: PathBuf },
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// An open study. No other process has it open.
#[derive(Debug)]
pub struct Study {
    pub folder: PathBuf,
    pub definition: Definition,
    pub trials: BTreeMap<usize, Trial>,
    journal: Journal,
    _lock: File,
}

impl Study {
    /// Opens the study in `folder`, or begins it there.
    ///
    /// # Errors
    /// [`StudyError`].
    pub fn open(folder: &Path, definition: Definition) -> Result<Self, StudyError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StudyError::Io { path, source }
        };
        let path = folder.join(STUDY);
        if !path.exists() && has_files(folder) {
            return Err(StudyError::Taken {
                path: folder.to_owned(),
            });
        }
        std::fs::create_dir_all(folder).map_err(io(folder))?;
        let lock = lock(folder)?;
        crate::files::remove_leftovers(folder);
        match read_definition(folder)? {
            Some(there) => {
                if let Some((what, there, now)) = there.difference(&definition) {
                    let path = folder.to_owned();
                    return Err(StudyError::Differs {
                        path,
                        what,
                        there,
                        now,
                    });
                }
            }
            None => {
                let text = serde_json::to_string_pretty(&definition).map_err(|error| {
                    StudyError::Damaged {
                        path: path.clone(),
                        message: error.to_string(),
                    }
                })?;
                crate::files::write_atomically(&path, text.as_bytes()).map_err(io(&path))?;
            }
        }
        let (journal, trials) = Journal::open(&folder.join(JOURNAL))?;
        Ok(Study {
            folder: folder.to_owned(),
            definition,
            trials,
            journal,
            _lock: lock,
        })
    }

    /// Whether the study in `folder` is this one and has fewer than `max_jobs` trials that ended.
    pub fn is_under_way(folder: &Path, definition: &Definition, max_jobs: usize) -> bool {
        let same = matches!(read_definition(folder), Ok(Some(there)) if there == *definition);
        let trials = Journal::peek(&folder.join(JOURNAL));
        let ended = trials.values().filter(|trial| trial.outcome.is_some());
        same && ended.count() < max_jobs
    }

    /// The run folder of a trial.
    pub fn trial_folder(&self, number: usize) -> PathBuf {
        self.folder.join("trials").join(format!("{number:03}"))
    }

    /// The name of a trial as SageMaker would give it.
    pub fn job_name(&self, number: usize) -> String {
        format!("{}-{number:03}", self.name())
    }

    pub fn name(&self) -> String {
        let path = std::fs::canonicalize(&self.folder).unwrap_or_else(|_| self.folder.clone());
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// Notes what happened.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn note(&mut self, record: Record) -> Result<(), StudyError> {
        Ok(self.journal.append(&mut self.trials, record)?)
    }

    /// Trials that ended, in order of their numbers.
    pub fn ended(&self) -> impl Iterator<Item = (&Trial, &Outcome)> {
        let trials = self.trials.values();
        trials.filter_map(|trial| trial.outcome.as_ref().map(|outcome| (trial, outcome)))
    }

    /// The best trial so far; the first one where several are equal.
    pub fn best(&self) -> Option<(&Trial, f64)> {
        let objective = self.definition.objective;
        let valued = self.ended().filter_map(|(trial, outcome)| {
            let value = outcome.value.filter(|_| outcome.status != Status::Failed)?;
            Some((trial, value))
        });
        valued.min_by(|a, b| objective.loss(a.1).total_cmp(&objective.loss(b.1)))
    }
}

/// Whether there is anything in a folder.
fn has_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| {
            // What a study was killed in the first moment of.
            entry.is_ok_and(|entry| {
                entry.file_name() != LOCK
                    && !entry.file_name().as_encoded_bytes().starts_with(b".tmp-")
            })
        })
    })
}

fn lock(folder: &Path) -> Result<File, StudyError> {
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(|source| StudyError::Io { path, source })?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(StudyError::InUse {
            path: folder.to_owned(),
        }),
        // Not every file system can lock; there the user has to take care.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

fn read_definition(folder: &Path) -> Result<Option<Definition>, StudyError> {
    let path = folder.join(STUDY);
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StudyError::Io { path, source }),
        Ok(text) => match serde_json::from_str(&text) {
            Ok(definition) => Ok(Some(definition)),
            Err(error) => Err(StudyError::Damaged {
                path,
                message: error.to_string(),
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::objective::{Metric, Objective};
    use crate::tune::space::{Space, Values};
    use crate::tune::stopping::StopRule;
    use crate::tune::strategy::StrategyKind;

    fn definition(space: &str, epochs: &str) -> Definition {
        Definition {
            data: "/data".into(),
            space: Space::parse(space).unwrap(),
            strategy: StrategyKind::Random,
            objective: Objective::new(Metric::Accuracy, None),
            early_stopping: StopRule::Never,
            seed: 42,
            fixed: Values::from([("epochs".into(), epochs.into())]),
        }
    }

    fn outcome(value: Option<f64>, status: Status) -> Outcome {
        Outcome {
            status,
            value,
            epochs: Vec::new(),
            seconds: 1.0,
            at: String::new(),
            reason: None,
            peak_memory_bytes: None,
        }
    }

    #[test]
    fn a_study_goes_on_only_with_the_same_words() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("study");
        let first = definition("batch-size=8,32", "3");
        drop(Study::open(&folder, first.clone()).unwrap());
        drop(Study::open(&folder, first.clone()).unwrap());
        for (other, parts) in [
            (
                definition("batch-size=8,16", "3"),
                ["space", "batch-size=8,32", "batch-size=8,16"],
            ),
            (
                definition("batch-size=8,32", "4"),
                ["--epochs", "there 3", "now 4"],
            ),
        ] {
            let error = Study::open(&folder, other).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{part} in {error}");
            }
        }
        let mut reseeded = first.clone();
        reseeded.seed = 1;
        let error = Study::open(&folder, reseeded).unwrap_err().to_string();
        assert!(error.contains("another seed: there 42, now 1"), "{error}");
        let open = Study::open(&folder, first.clone()).unwrap();
        let error = Study::open(&folder, first).unwrap_err();
        assert!(matches!(error, StudyError::InUse { .. }), "{error}");
        drop(open);
    }

    #[test]
    fn a_folder_with_other_things_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.txt"), "x").unwrap();
        let error = Study::open(dir.path(), definition("batch-size=8,32", "3")).unwrap_err();
        assert!(matches!(error, StudyError::Taken { .. }), "{error}");
    }

    #[test]
    fn the_first_of_the_best_is_the_best() {
        let dir = tempfile::tempdir().unwrap();
        let mut study = Study::open(dir.path(), definition("batch-size=8,32", "3")).unwrap();
        assert!(study.best().is_none());
        for (number, value, status) in [
            (1, Some(0.5), Status::Completed),
            (2, Some(0.9), Status::Failed),
            (3, Some(0.7), Status::Stopped),
            (4, Some(0.7), Status::Completed),
            (5, None, Status::Failed),
        ] {
            let (trial, values, at) = (number, Values::new(), String::new());
            study.note(Record::Started { trial, values, at }).unwrap();
            let outcome = outcome(value, status);
            study.note(Record::Ended { trial, outcome }).unwrap();
        }
        let best = study.best().map(|(trial, value)| (trial.number, value));
        assert_eq!(best, Some((3, 0.7)));
    }
}
