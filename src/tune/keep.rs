//! Which files of the trials stay.
//!
//! Input: a study. Output: the best trial's model in `STUDY/model`; checkpoints of trials that have ended, and the models of all but
//! the best, are gone: a hundred trials would otherwise fill a disk with what the same values give again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::study::Study;

const MODEL: &str = "model";
const MANIFEST: &str = "manifest.json";
const UNFINISHED: &str = ".model.tmp";

/// A study folder that cannot be put in order.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct KeepError {
    path: PathBuf,
    source: io::Error,
}

/// Puts the best model in place and removes what is not needed any more. With `keep_models` no model is removed.
///
/// # Errors
/// The folder cannot be written.
pub fn keep_best(study: &Study, keep_models: bool) -> Result<(), KeepError> {
    let best = study.best().map(|(trial, _)| trial.number);
    if let Some(number) = best {
        put_in_place(&study.trial_folder(number).join(MODEL), &study.folder)?;
    }
    for (trial, _) in study.ended() {
        let folder = study.trial_folder(trial.number);
        remove(&folder.join("weights"))?;
        if !keep_models && best != Some(trial.number) {
            remove(&folder.join(MODEL))?;
        }
    }
    Ok(())
}

/// Makes `STUDY/model` a copy of `model` that takes no room of its own where the file system has hard links.
fn put_in_place(model: &Path, study: &Path) -> Result<(), KeepError> {
    let (unfinished, finished) = (study.join(UNFINISHED), study.join(MODEL));
    let manifest = |folder: &Path| fs::read(folder.join(MANIFEST)).ok();
    let wanted = manifest(model);
    // A trial that was stopped in its first moments may have none.
    if wanted.is_none() || wanted == manifest(&finished) {
        return Ok(());
    }
    remove(&unfinished)?;
    link_folder(model, &unfinished).map_err(failed(&unfinished))?;
    remove(&finished)?;
    fs::rename(&unfinished, &finished).map_err(failed(&finished))?;
    crate::files::sync_folder_of(&finished);
    Ok(())
}

fn link_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            link_folder(&old, &new)?;
        } else if fs::hard_link(&old, &new).is_err() {
            fs::copy(&old, &new)?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), KeepError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(folder)(error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> KeepError {
    let path = path.to_owned();
    move |source| KeepError { path, source }
}
