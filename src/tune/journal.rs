//! What happened in a study, a line for each thing that did.
//!
//! Input: records, appended as they come and on disk when the call returns. Output: the [`Trial`]s, after any crash: a last line
//! that was cut off is dropped, and what it would have said happens again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::space::Values;

/// How a trial ended, in SageMaker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Completed,
    /// Early, because others were better.
    Stopped,
    Failed,
}

/// What a trial came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub status: Status,
    /// Of the objective; `None` where no epoch was finished.
    pub value: Option<f64>,
    /// The objective's value of each epoch that counts.
    pub epochs: Vec<f64>,
    /// Wall time, interruptions left out.
    pub seconds: f64,
    /// When it ended, UTC.
    pub at: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peak_memory_bytes: Option<u64>,
}

/// A trial as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// From 1.
    pub number: usize,
    pub values: Values,
    /// When it was started first, UTC.
    pub started: String,
    /// Spent before it was interrupted.
    pub seconds_before: f64,
    /// `None`: it has not ended yet.
    pub outcome: Option<Outcome>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record {
    Started {
        trial: usize,
        values: Values,
        at: String,
    },
    /// In good order; it goes on later.
    Interrupted { trial: usize, seconds: f64 },
    Ended {
        trial: usize,
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// They count as not ended: what they failed of had nothing to do with their values.
    Withdrawn { trials: Vec<usize> },
}

/// A journal that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{path}: line {line} is damaged ({message}): remove it and all that follow, or start another study"
    )]
    Damaged {
        path: PathBuf,
        line: usize,
        message: String,
    },
}

/// The open file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens or makes the file at `path`, and returns the trials that it tells of.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(path: &Path) -> Result<(Self, BTreeMap<usize, Trial>), JournalError> {
        let failed = |source| JournalError::Io {
            path: path.to_owned(),
            source,
        };
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed)?,
        };
        let (records, whole) = records(path, &text)?;
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        file.set_len(whole as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut trials = BTreeMap::new();
        for record in records {
            apply(&mut trials, record);
        }
        let path = path.to_owned();
        Ok((Journal { path, file }, trials))
    }

    /// The trials that the file at `path` tells of, which is left as it is; none where it cannot be read.
    pub fn peek(path: &Path) -> BTreeMap<usize, Trial> {
        let text = std::fs::read(path).unwrap_or_default();
        let (records, _) = records(path, &text).unwrap_or_default();
        let mut trials = BTreeMap::new();
        for record in records {
            apply(&mut trials, record);
        }
        trials
    }

    /// Appends a record, and notes it in `trials`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append(
        &mut self,
        trials: &mut BTreeMap<usize, Trial>,
        record: Record,
    ) -> Result<(), JournalError> {
        let failed = |source| JournalError::Io {
            path: self.path.clone(),
            source,
        };
        let mut line = serde_json::to_vec(&record).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        apply(trials, record);
        Ok(())
    }
}

/// The records in a file, and how many of its bytes they take.
fn records(path: &Path, text: &[u8]) -> Result<(Vec<Record>, usize), JournalError> {
    let mut records = Vec::new();
    let mut whole = 0;
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        // Cut off; a line is written at once, but maybe not all of it was.
        if !line.ends_with(b"\n") {
            break;
        }
        let record = serde_json::from_slice(line).map_err(|error| JournalError::Damaged {
            path: path.to_owned(),
            line: index + 1,
            message: error.to_string(),
        })?;
        records.push(record);
        whole += line.len();
    }
    Ok((records, whole))
}

fn apply(trials: &mut BTreeMap<usize, Trial>, record: Record) {
    match record {
        Record::Started { trial, values, at } => {
            // Once more after a crash: the first start counts.
            trials.entry(trial).or_insert(Trial {
                number: trial,
                values,
                started: at,
                seconds_before: 0.0,
                outcome: None,
            });
        }
        Record::Interrupted { trial, seconds } => {
            if let Some(trial) = trials.get_mut(&trial) {
                trial.seconds_before += seconds;
            }
        }
        Record::Ended { trial, outcome } => {
            if let Some(trial) = trials.get_mut(&trial) {
                trial.outcome = Some(outcome);
            }
        }
        Record::Withdrawn { trials: withdrawn } => {
            for number in withdrawn {
                if let Some(trial) = trials.get_mut(&number) {
                    (trial.outcome, trial.seconds_before) = (None, 0.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(trial: usize) -> Record {
        Record::Started {
            trial,
            values: Values::from([("epochs".into(), "3".into())]),
            at: "2026-01-02T03:04:05Z".into(),
        }
    }

    fn ended(trial: usize) -> Record {
        Record::Ended {
            trial,
            outcome: Outcome {
                status: Status::Failed,
                value: None,
                epochs: vec![0.1, 0.30000000000000004],
                seconds: 1.5,
                at: "2026-01-02T03:05:05Z".into(),
                reason: Some("line\nbreak".into()),
                peak_memory_bytes: None,
            },
        }
    }

    #[test]
    fn what_is_appended_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let (mut journal, mut trials) = Journal::open(&path).unwrap();
        let interrupted = Record::Interrupted {
            trial: 2,
            seconds: 4.0,
        };
        for record in [started(1), ended(1), started(2), interrupted, started(2)] {
            journal.append(&mut trials, record).unwrap();
        }
        let (_, again) = Journal::open(&path).unwrap();
        assert_eq!(again, trials);
        assert_eq!(again[&2].seconds_before, 4.0);
        assert!(again[&1].outcome.is_some() && again[&2].outcome.is_none());
        let withdrawn = Record::Withdrawn { trials: vec![1] };
        journal.append(&mut trials, withdrawn).unwrap();
        assert!(Journal::open(&path).unwrap().1[&1].outcome.is_none());
    }

    #[test]
    fn a_line_that_was_cut_off_is_dropped_wherever_the_cut_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let (mut journal, mut trials) = Journal::open(&path).unwrap();
        journal.append(&mut trials, started(1)).unwrap();
        let first = std::fs::read(&path).unwrap().len();
        journal.append(&mut trials, ended(1)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in first..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, mut cut_off) = Journal::open(&path).unwrap();
            assert!(cut_off[&1].outcome.is_none());
            journal.append(&mut cut_off, ended(1)).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn damage_in_the_middle_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, "{\"event\":\"st\n\n").unwrap();
        let error = Journal::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 1") && error.contains("journal.jsonl"),
            "{error}"
        );
    }
}
