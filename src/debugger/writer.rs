//! The files of a trial, as Amazon's reader expects them.
//!
//! Input: [`StepRecord`]s. Output: `events/`, `index/` and `collections/` in one folder. A file appears whole or not at all, and an
//! event file before the index that names it, so that a run which was killed can be read up to its last step.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::collection::Collection;
use super::record::{Position, encode};
use super::tensor::{Entry, HostTensor, StepRecord};

/// How readers know the name of a reduction.
pub const REDUCTIONS: &str = "smdebug/reductions/";
/// One process trains on one device.
const WORKER: &str = "worker_0";
/// Index files of so many steps share a folder.
const STEPS_OF_FOLDER: usize = 1000;

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct WriteError {
    path: PathBuf,
    source: io::Error,
}

/// Writes the files of one worker.
#[derive(Debug)]
pub struct TrialWriter {
    root: PathBuf,
    /// The names of the tensors seen so far and the collections that each is in.
    members: BTreeMap<String, Vec<usize>>,
    collections: Vec<Collection>,
}

impl TrialWriter {
    /// Makes the folder, in which an earlier part of the same run may have left files.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(root: &Path, collections: Vec<Collection>) -> Result<Self, WriteError> {
        std::fs::create_dir_all(root).map_err(|source| WriteError {
            path: root.to_owned(),
            source,
        })?;
        let writer = TrialWriter {
            root: root.to_owned(),
            members: BTreeMap::new(),
            collections,
        };
        // A run that goes on is not at its end any more.
        let _ = std::fs::remove_file(writer.root.join(END));
        Ok(writer)
    }

    /// Writes a step. Steps without tensors leave no file.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&mut self, step: &StepRecord) -> Result<(), WriteError> {
        let position = Position {
            mode: step.mode,
            mode_step: step.mode_step,
            global_step: step.global_step,
        };
        let (mut events, mut tensors, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
        let mut append = |name: &str, tensor: &HostTensor| {
            // Readers take an empty tensor for a broken one.
            if tensor.is_empty() {
                return;
            }
            let record = encode(name, tensor, position, step.wall_time);
            tensors.push(json!({
                "tensorname": name, "start_idx": events.len(), "length": record.len()
            }));
            events.extend(record);
        };
        for entry in &step.entries {
            for (reduction, value) in &entry.reductions {
                let name = format!("{REDUCTIONS}{}/{}", reduction.tensor_prefix(), entry.name);
                append(&name, &HostTensor::scalar(*value as f32));
            }
            if let Some(value) = &entry.value {
                append(&entry.name, value);
            }
            if let Some(shape) = &entry.shape {
                shapes.push(json!({
                    "tensorname": entry.name, "originalname": entry.name, "shape": shape
                }));
            }
        }
        if tensors.is_empty() && shapes.is_empty() {
            return Ok(());
        }
        let event_file = format!("events/{0:012}/{0:012}_{WORKER}.tfevents", step.global_step);
        let index_file = format!(
            "index/{:09}/{:012}_{WORKER}.json",
            step.global_step / STEPS_OF_FOLDER,
            step.global_step
        );
        let index = json!({
            "meta": {
                "mode": step.mode.name(),
                "mode_step": step.mode_step,
                "event_file_name": event_file,
            },
            "tensor_payload": tensors,
            "shape_payload": shapes,
        });
        if !events.is_empty() {
            self.put(&event_file, &events)?;
        }
        // Before the first index: readers ask the collections what they may expect of it.
        self.note_members(&step.entries)?;
        self.put(&index_file, index.to_string().as_bytes())
    }

    /// Marks the trial as complete. Not in a training job, whose state tells readers the same.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end(self) -> Result<(), WriteError> {
        if self.members.is_empty() {
            self.write_collections()?;
        }
        match std::env::var_os("TRAINING_JOB_NAME") {
            Some(_) => Ok(()),
            None => self.put(END, b""),
        }
    }

    /// Writes the collections anew where there are tensors that were not seen before.
    fn note_members(&mut self, entries: &[Entry]) -> Result<(), WriteError> {
        let known = self.members.len();
        for entry in entries {
            if !self.members.contains_key(&entry.name) {
                let of = self.collections.iter().enumerate();
                let of = of.filter(|(_, collection)| collection.contains(&entry.name));
                let of = of.map(|(index, _)| index).collect();
                self.members.insert(entry.name.clone(), of);
            }
        }
        match self.members.len() > known {
            true => self.write_collections(),
            false => Ok(()),
        }
    }

    fn write_collections(&self) -> Result<(), WriteError> {
        let described = self
            .collections
            .iter()
            .enumerate()
            .map(|(index, collection)| {
                let tensors = self.members.iter().filter(|(_, of)| of.contains(&index));
                let tensors: Vec<&str> = tensors.map(|(name, _)| name.as_str()).collect();
                (collection.name.clone(), collection.to_json(&tensors))
            });
        let described: Map<String, Value> = described.collect();
        let file = json!({ "collections": described, "_meta": { "num_workers": 1 } });
        self.put(
            &format!("collections/{:09}/{WORKER}_collections.json", 0),
            file.to_string().as_bytes(),
        )
    }

    /// Writes to a temporary name first. Not synced: what a power cut takes was no checkpoint, and syncs would cost more than the
    /// steps that are watched.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let path = self.root.join(name);
        let written = || {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let mut temporary = path.clone().into_os_string();
            temporary.push(".tmp");
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(bytes)?;
            drop(file);
            std::fs::rename(&temporary, &path)
        };
        written().map_err(|source| WriteError {
            path: path.clone(),
            source,
        })
    }
}

/// An empty file that says that no more steps will come.
pub const END: &str = "training_job_end.ts";
