//! Reading a trial back: ours, or one that any other Debugger hook wrote.
//!
//! Input: a folder with `index/` and `events/`, as it was written or as it was copied from S3. Output: [`StepRecord`]s in the order of
//! global steps.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::record::{Decoded, decode};
use super::reduction::Reduction;
use super::tensor::{Entry, ModeKey, StepRecord};
use super::writer::{END, REDUCTIONS};

/// The largest record that is read: a tensor of this size would not fit into a device either.
const MAX_RECORD_BYTES: u64 = 8 << 30;

/// A trial that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(
        "{path} holds no Debugger output: there is no folder index/ with a file per saved step; name the folder that \
         DebugHookConfig.LocalPath or RUN/debug-output says"
    )]
    NoTrial { path: PathBuf },
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is damaged: {message}")]
    Damaged { path: PathBuf, message: String },
}

/// A stored run.
#[derive(Debug)]
pub struct Trial {
    root: PathBuf,
    /// Index files by global step and worker.
    indices: BTreeMap<(usize, String), PathBuf>,
}

#[derive(Deserialize)]
struct Index {
    meta: Meta,
    #[serde(default)]
    tensor_payload: Vec<Payload>,
    #[serde(default)]
    shape_payload: Vec<Shape>,
}

#[derive(Deserialize)]
struct Meta {
    mode: String,
    mode_step: usize,
    event_file_name: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    tensorname: String,
    start_idx: u64,
    length: u64,
}

#[derive(Deserialize)]
struct Shape {
    tensorname: String,
    shape: Vec<usize>,
}

impl Trial {
    /// Lists the steps of a trial.
    ///
    /// # Errors
    /// A folder that holds none, or cannot be read.
    pub fn open(root: &Path) -> Result<Self, ReadError> {
        let mut indices = BTreeMap::new();
        let folders = root.join("index");
        let listed = |path: &Path| {
            std::fs::read_dir(path)
                .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
                .map_err(|source| ReadError::Io {
                    path: path.to_owned(),
                    source,
                })
        };
        if !folders.is_dir() {
            return Err(ReadError::NoTrial {
                path: root.to_owned(),
            });
        }
        for folder in listed(&folders)? {
            if !folder.path().is_dir() {
                continue;
            }
            for file in listed(&folder.path())? {
                let name = file.file_name().to_string_lossy().into_owned();
                let parts = name
                    .strip_suffix(".json")
                    .and_then(|stem| stem.split_once('_'));
                if let Some((step, worker)) = parts
                    && let Ok(step) = step.parse()
                {
                    indices.insert((step, worker.to_string()), file.path());
                }
            }
        }
        Ok(Trial {
            root: root.to_owned(),
            indices,
        })
    }

    /// Saved steps; with several workers each counts.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Whether the run said that it came to its end.
    pub fn is_complete(&self) -> bool {
        self.root.join(END).exists()
    }

    /// The steps one after the other; each is read when it is asked for.
    pub fn steps(&self) -> impl Iterator<Item = Result<StepRecord, ReadError>> + '_ {
        let indices = self.indices.iter();
        indices.map(|((step, _), path)| self.step(*step, path))
    }

    fn step(&self, global_step: usize, path: &Path) -> Result<StepRecord, ReadError> {
        let damaged = |message: String| ReadError::Damaged {
            path: path.to_owned(),
            message,
        };
        let text = std::fs::read_to_string(path).map_err(|source| ReadError::Io {
            path: path.to_owned(),
            source,
        })?;
        let index: Index =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let mode = ModeKey::of_name(&index.meta.mode)
            .ok_or_else(|| damaged(format!("there is no mode {}", index.meta.mode)))?;
        let tensors = match index.meta.event_file_name {
            Some(name) if !index.tensor_payload.is_empty() => {
                read_records(&self.root.join(name), &index.tensor_payload)?
            }
            _ => Vec::new(),
        };
        Ok(StepRecord {
            mode,
            mode_step: index.meta.mode_step,
            global_step,
            wall_time: tensors.first().map_or(0.0, |first| first.wall_time),
            entries: entries(tensors, index.shape_payload),
        })
    }
}

fn read_records(path: &Path, payloads: &[Payload]) -> Result<Vec<Decoded>, ReadError> {
    let io = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(io)?;
    let mut tensors = Vec::with_capacity(payloads.len());
    for payload in payloads {
        let damaged = |message: String| ReadError::Damaged {
            path: path.to_owned(),
            message: format!("tensor {}: {message}", payload.tensorname),
        };
        if payload.length > MAX_RECORD_BYTES {
            return Err(damaged(format!("a record of {} bytes", payload.length)));
        }
        file.seek(SeekFrom::Start(payload.start_idx)).map_err(io)?;
        let mut record = Vec::new();
        (&mut file)
            .take(payload.length)
            .read_to_end(&mut record)
            .map_err(io)?;
        tensors.push(decode(&record).map_err(damaged)?);
    }
    Ok(tensors)
}

/// Puts the reductions and the shape of a tensor beside it.
fn entries(tensors: Vec<Decoded>, shapes: Vec<Shape>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut positions = BTreeMap::new();
    let mut with = |name: &str, change: &mut dyn FnMut(&mut Entry)| {
        let at = *positions.entry(name.to_string()).or_insert(entries.len());
        if at == entries.len() {
            entries.push(Entry {
                name: name.to_string(),
                ..Default::default()
            });
        }
        change(&mut entries[at]);
    };
    for Decoded { name, tensor, .. } in tensors {
        let reduced = name
            .strip_prefix(REDUCTIONS)
            .and_then(|rest| rest.split_once('/'))
            .and_then(|(prefix, of)| Some((Reduction::of_tensor_prefix(prefix)?, of)));
        match (reduced, tensor.to_f64().first()) {
            (Some((reduction, of)), Some(value)) => {
                with(of, &mut |entry| entry.reductions.push((reduction, *value)));
            }
            _ => with(&name, &mut |entry| entry.value = Some(tensor.clone())),
        }
    }
    for shape in shapes {
        with(&shape.tensorname, &mut |entry| {
            entry.shape = Some(shape.shape.clone());
        });
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugger::collection::Collection;
    use crate::debugger::save::SaveConfig;
    use crate::debugger::tensor::HostTensor;
    use crate::debugger::writer::TrialWriter;

    fn step(global_step: usize, mode: ModeKey, entries: Vec<Entry>) -> StepRecord {
        StepRecord {
            mode,
            mode_step: global_step,
            global_step,
            wall_time: 1.0,
            entries,
        }
    }

    fn writer(root: &Path) -> TrialWriter {
        let losses = Collection::known("losses", SaveConfig::every(1)).unwrap();
        TrialWriter::create(root, vec![losses]).unwrap()
    }

    fn loss(value: f32) -> Entry {
        Entry::whole("CrossEntropyLoss_output_0", HostTensor::scalar(value))
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        let reduced = Entry {
            name: "ResNet_fc.weight".into(),
            reductions: vec![("abs_mean".parse().unwrap(), 0.5)],
            shape: Some(vec![3, 4]),
            ..Default::default()
        };
        let written = [
            step(0, ModeKey::Train, vec![loss(2.5), reduced]),
            step(1000, ModeKey::Eval, vec![loss(1.5)]),
        ];
        for step in &written {
            writer.write(step).unwrap();
        }
        writer.write(&step(7, ModeKey::Train, Vec::new())).unwrap();
        assert!(!Trial::open(dir.path()).unwrap().is_complete());
        writer.end().unwrap();
        let trial = Trial::open(dir.path()).unwrap();
        assert!(trial.is_complete());
        let read: Vec<StepRecord> = trial.steps().map(Result::unwrap).collect();
        let bare = |steps: &[StepRecord]| -> Vec<_> {
            let each = |s: &StepRecord| (s.mode, s.mode_step, s.global_step, s.entries.clone());
            steps.iter().map(each).collect()
        };
        assert_eq!(bare(&read), bare(&written));
        let collections = dir
            .path()
            .join("collections/000000000/worker_0_collections.json");
        let collections = std::fs::read_to_string(collections).unwrap();
        assert!(
            collections.contains("CrossEntropyLoss_output_0")
                && collections.contains("num_workers")
        );
    }

    #[test]
    fn a_killed_writer_leaves_what_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        writer(dir.path())
            .write(&step(3, ModeKey::Train, vec![loss(1.0)]))
            .unwrap();
        // Killed between the event file and its index, and within a file.
        std::fs::create_dir_all(dir.path().join("events/000000000004")).unwrap();
        std::fs::write(
            dir.path()
                .join("events/000000000004/000000000004_worker_0.tfevents"),
            "x",
        )
        .unwrap();
        std::fs::write(
            dir.path()
                .join("index/000000000/000000000005_worker_0.json.tmp"),
            "{",
        )
        .unwrap();
        let trial = Trial::open(dir.path()).unwrap();
        assert_eq!(trial.steps().filter(Result::is_ok).count(), 1);
        assert_eq!(trial.len(), 1);
    }

    #[test]
    fn what_is_no_trial_or_damaged_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Trial::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("index/"), "{error}");
        writer(dir.path())
            .write(&step(0, ModeKey::Train, vec![loss(1.0)]))
            .unwrap();
        let events = dir
            .path()
            .join("events/000000000000/000000000000_worker_0.tfevents");
        std::fs::write(&events, "short").unwrap();
        let trial = Trial::open(dir.path()).unwrap();
        let error = trial.steps().next().unwrap().unwrap_err().to_string();
        assert!(
            error.contains("tfevents") && error.contains("CrossEntropyLoss"),
            "{error}"
        );
    }
}
