//! The timeline of a run, in files that Amazon's readers and Perfetto open.
//!
//! Input: [`Event`]s. Output: `framework/pevents/<hour>/<end>_<pid>-algo-1_pythontimeline.json`, each whole when it appears: Chrome's trace
//! format, a "process" for each phase.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::phase::Phase;
use super::profile::Event;

/// What an event takes in a file, about.
const EVENT_BYTES: usize = 130;

/// Gathers events until a file is due.
#[derive(Debug)]
pub struct Timeline {
    events: Vec<Event>,
}

impl Timeline {
    pub fn new() -> Self {
        Timeline { events: Vec::new() }
    }

    pub fn add(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Whether what is gathered makes a file: by size, by age, or because the hour is over.
    pub fn is_due(&self, rotate_bytes: usize, rotate_seconds: f64) -> bool {
        let (Some(first), Some(last)) = (self.events.first(), self.events.last()) else {
            return false;
        };
        let hour = |event: &Event| (event.end() / 3600.0) as u64;
        self.events.len() * EVENT_BYTES >= rotate_bytes
            || last.end() - first.start >= rotate_seconds
            || hour(first) != hour(last)
    }

    /// Writes what is gathered, if anything is, into a file of its own below `root`.
    ///
    /// # Errors
    /// The file cannot be written; the events are lost.
    pub fn write(&mut self, root: &Path, workers: usize) -> std::io::Result<()> {
        let events = std::mem::take(&mut self.events);
        let Some(last) = events.iter().map(Event::end).reduce(f64::max) else {
            return Ok(());
        };
        let path = file(root, last);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        crate::files::write_atomically(&path, render(&events, workers).as_bytes())
    }
}

fn file(root: &Path, end: f64) -> PathBuf {
    let name = format!(
        "{}_{}-algo-1_pythontimeline.json",
        (end * 1e6) as u64,
        std::process::id()
    );
    root.join("framework/pevents").join(hour(end)).join(name)
}

/// `YYYYMMDDHH` in UTC.
pub fn hour(seconds: f64) -> String {
    let time = jiff::Timestamp::from_second(seconds as i64).unwrap_or_default();
    time.strftime("%Y%m%d%H").to_string()
}

/// One event a line, so that a file can be read by eye.
fn render(events: &[Event], workers: usize) -> String {
    let start = events
        .iter()
        .map(|event| event.start)
        .fold(f64::INFINITY, f64::min);
    let start_us = (start * 1e6) as u64;
    let mut lines = vec![
        json!({"name":"process_name","ph":"M","pid":0,"args":{"start_time_since_epoch_in_micros":start_us}}),
        json!({"name":"process_sort_index","ph":"M","pid":0,"args":{"sort_index":0}}),
    ];
    let pid = |phase: Phase| {
        Phase::ALL
            .iter()
            .position(|each| *each == phase)
            .unwrap_or(0)
            + 1
    };
    for phase in Phase::ALL {
        if events.iter().any(|event| event.phase == phase) {
            let pid = pid(phase);
            lines.push(
                json!({"name":"process_name","ph":"M","pid":pid,"args":{"name":phase.event()}}),
            );
            lines.push(
                json!({"name":"process_sort_index","ph":"M","pid":pid,"args":{"sort_index":pid}}),
            );
        }
    }
    for event in events {
        let mut arguments = json!({"pid": std::process::id(), "step_num": event.step.to_string()});
        if let (Phase::Data, Value::Object(map)) = (event.phase, &mut arguments) {
            map.insert("workers".into(), workers.into());
        }
        lines.push(json!({
            "name": event.phase.event(),
            "pid": pid(event.phase),
            "tid": 0,
            "ph": "X",
            "ts": ((event.start - start) * 1e6).max(0.0) as u64,
            "dur": (event.seconds * 1e6) as u64,
            "args": arguments,
        }));
    }
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(phase: Phase, start: f64, seconds: f64, step: u64) -> Event {
        Event {
            phase,
            start,
            seconds,
            step,
        }
    }

    #[test]
    fn a_file_is_chromes_trace_format_with_amazons_names() {
        let dir = tempfile::tempdir().unwrap();
        let mut timeline = Timeline::new();
        timeline.add(event(Phase::Data, 1_795_400_646.0, 0.25, 7));
        timeline.add(event(Phase::Train, 1_795_400_646.0, 0.5, 7));
        timeline.write(dir.path(), 3).unwrap();
        let folder = dir.path().join("framework/pevents/2026112302");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
        let name = files[0].file_name().into_string().unwrap();
        assert!(
            name.starts_with("1795400646500000_") && name.ends_with("-algo-1_pythontimeline.json"),
            "{name}"
        );
        let text = std::fs::read_to_string(files[0].path()).unwrap();
        let lines: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(
            lines[0]["args"]["start_time_since_epoch_in_micros"],
            1_795_400_646_000_000u64
        );
        let step = lines.last().unwrap();
        assert_eq!(
            (&step["ph"], &step["name"]),
            (&"X".into(), &"Step:ModeKeys.TRAIN".into())
        );
        assert_eq!(
            (step["ts"].as_u64(), step["dur"].as_u64()),
            (Some(0), Some(500_000))
        );
        assert_eq!(step["args"]["step_num"], "7");
        // A process for each phase that has events, declared before them.
        let declared = lines
            .iter()
            .find(|line| line["pid"] == step["pid"] && line["name"] == "process_name");
        assert_eq!(declared.unwrap()["args"]["name"], "Step:ModeKeys.TRAIN");
        assert!(text.contains(r#""workers":3"#));
        timeline.write(dir.path(), 3).unwrap();
        assert_eq!(
            std::fs::read_dir(dir.path().join("framework/pevents/2026112302"))
                .unwrap()
                .count(),
            1
        );
    }

    #[test]
    fn files_end_by_size_age_and_hour() {
        let mut timeline = Timeline::new();
        assert!(!timeline.is_due(1, 0.0));
        timeline.add(event(Phase::Train, 7190.0, 1.0, 0));
        assert!(timeline.is_due(1, 60.0) && !timeline.is_due(1 << 20, 60.0));
        timeline.add(event(Phase::Train, 7195.0, 4.0, 1));
        assert!(timeline.is_due(1 << 20, 9.0) && !timeline.is_due(1 << 20, 60.0));
        timeline.add(event(Phase::Train, 7199.0, 4.0, 2));
        assert!(timeline.is_due(1 << 20, 60.0), "a new hour");
    }
}
