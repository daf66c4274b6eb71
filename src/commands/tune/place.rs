//! Where a study and its photos are.
//!
//! Input: what was asked for. Output: folders.

use std::path::{Path, PathBuf};

use super::super::CommandError;
use crate::demo;
use crate::run_folder::RUNS;
use crate::tune::{Definition, Study};

/// Stands for the pictures that the program draws itself; no folder has a name that looks like this one from the root.
pub const DEMO: &str = "--demo";

/// The newest study under `runs/` that is this one and has trials left.
pub fn under_way(definition: &Definition, max_jobs: usize) -> Option<PathBuf> {
    let numbers = (1..).map(|number| Path::new(RUNS).join(format!("tune-{number}")));
    let folders: Vec<PathBuf> = numbers.take_while(|folder| folder.is_dir()).collect();
    let mut newest_first = folders.into_iter().rev();
    newest_first.find(|folder| Study::is_under_way(folder, definition, max_jobs))
}

/// The next free `runs/tune-N`.
pub fn next_free() -> PathBuf {
    let mut number = 1;
    loop {
        let folder = Path::new(RUNS).join(format!("tune-{number}"));
        match folder.exists() {
            true => number += 1,
            false => return folder,
        }
    }
}

/// The folder of photos; that of a demo is in the study.
pub fn data_of(study: &Study) -> PathBuf {
    match study.definition.data.as_os_str() == DEMO {
        true => study.folder.join("data"),
        false => study.definition.data.clone(),
    }
}

/// Draws the pictures of a demo, once: whole, or not at all.
pub fn draw_demo(study: &Study) -> Result<(), CommandError> {
    let data = data_of(study);
    if data.exists() {
        return Ok(());
    }
    let unfinished = study.folder.join(".data.tmp");
    tracing::info!("drawing pictures into {}", data.display());
    demo::draw(&unfinished, study.definition.seed)?;
    std::fs::rename(&unfinished, &data).map_err(|error| format!("{}: {error}", data.display()))?;
    Ok(())
}
