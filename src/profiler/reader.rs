//! Reading a stored profile: ours, or what a SageMaker job left under `profiler-output`.
//!
//! Input: a folder with `framework/` or `system/` in it. Output: a [`Profile`]. A file that cannot be read is warned about and left out:
//! a job that was killed leaves such, and so does a copy under way.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::phase::Phase;
use super::profile::{Event, Profile, Sample};

/// A profile that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error(
        "{path} holds no profile: there is neither framework/ nor system/ with files in it; name RUN, RUN/profiler, or a copy of a job's \
         profiler-output"
    )]
    Nothing { path: PathBuf },
}

/// Reads all files below `root`.
///
/// # Errors
/// There are none.
pub fn read(root: &Path) -> Result<Profile, ProfileError> {
    let mut profile = Profile::default();
    for file in files(&root.join("framework/pevents")) {
        tell(&file, read_timeline(&file, &mut profile));
    }
    for file in files(&root.join("system")) {
        tell(&file, read_system(&file, &mut profile));
    }
    if profile.events.is_empty() && profile.samples.is_empty() {
        return Err(ProfileError::Nothing {
            path: root.to_owned(),
        });
    }
    profile.events.sort_by(|a, b| a.start.total_cmp(&b.start));
    profile.samples.sort_by(|a, b| a.time.total_cmp(&b.time));
    let first_event = profile
        .events
        .first()
        .map_or(f64::INFINITY, |event| event.start);
    let first_sample = profile
        .samples
        .first()
        .map_or(f64::INFINITY, |sample| sample.time);
    profile.started = first_event.min(first_sample);
    Ok(profile)
}

fn tell(file: &Path, read: Result<(), String>) {
    if let Err(problem) = read {
        tracing::warn!("{}: {problem}; it is left out", file.display());
    }
}

/// All JSON files below a folder, two levels deep, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 2)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && depth > 0 {
                folders.push((path, depth - 1));
            } else if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read_timeline(file: &Path, profile: &mut Profile) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let lines: Vec<Value> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut start_us = 0.0;
    // A phase may be a "process", of which its events are parts with names of their own.
    let mut processes = std::collections::HashMap::new();
    for line in &lines {
        let arguments = &line["args"];
        match line["ph"].as_str() {
            Some("M") => {
                if let Some(start) = arguments["start_time_since_epoch_in_micros"].as_f64() {
                    start_us = start;
                }
                if let (Some(pid), Some(name)) = (line["pid"].as_i64(), arguments["name"].as_str())
                {
                    processes.insert(pid, name.to_string());
                }
            }
            Some("X") => {
                let name = line["name"].as_str().unwrap_or_default();
                let process = line["pid"].as_i64().and_then(|pid| processes.get(&pid));
                let phase = Phase::of_event(name).or_else(|| Phase::of_event(process?));
                let (Some(phase), Some(ts), Some(dur)) =
                    (phase, line["ts"].as_f64(), line["dur"].as_f64())
                else {
                    continue;
                };
                let step = &arguments["step_num"];
                let step = step
                    .as_str()
                    .and_then(|step| step.parse().ok())
                    .or(step.as_u64());
                if let (Phase::Data, Some(workers)) = (phase, arguments["workers"].as_u64()) {
                    profile.facts.get_or_insert_default().workers = workers as usize;
                }
                profile.events.push(Event {
                    phase,
                    start: (start_us + ts) / 1e6,
                    seconds: dur / 1e6,
                    step: step.unwrap_or(0),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_system(file: &Path, profile: &mut Profile) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let mut broken = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let sample = serde_json::from_str::<Value>(line).ok().and_then(|line| {
            let word = |key: &str| line[key].as_str().unwrap_or_default().to_string();
            Some(Sample {
                kind: word("Type").to_lowercase(),
                name: word("Name"),
                dimension: word("Dimension"),
                value: line["Value"].as_f64()?,
                time: line["Timestamp"].as_f64()?,
            })
        });
        match sample {
            Some(sample) => profile.samples.push(sample),
            None => broken += 1,
        }
    }
    match broken {
        // A process that was killed leaves its last line half written.
        0 | 1 => Ok(()),
        _ => Err(format!("{broken} lines are no samples")),
    }
}
