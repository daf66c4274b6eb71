//! `results.csv`: one row an epoch, readable while the run is still going.
//!
//! Input: [`EpochMetrics`]. Output: a file with a header; an undefined value (not a number, not measured) is an empty cell.
//! A resumed run begins with the rows of the epochs before its first one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{EpochMetrics, Event, RunStarted, Sink, SinkError};
use crate::files::write_atomically;

const HEADER: &str = "epoch,global_step,learning_rate,train_loss,train_accuracy,valid_loss,valid_accuracy,top_k,valid_top_k,\
                      train_images_per_second,valid_images_per_second,seconds,peak_memory_bytes";

/// Writes `results.csv`.
pub struct CsvSink {
    path: PathBuf,
    file: Option<File>,
}

impl CsvSink {
    /// Will write to `path` once the run starts.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            file: None,
        }
    }
}

impl Sink for CsvSink {
    fn name(&self) -> &str {
        "results.csv"
    }

    fn event(&mut self, event: &Event) -> Result<(), SinkError> {
        match event {
            Event::RunStarted(run) => self.file = Some(open(&self.path, run)?),
            Event::EpochEnded(metrics) => {
                if let Some(file) = &mut self.file {
                    // One unbuffered write of a whole row: a reader never meets half a row.
                    file.write_all(row(metrics).as_bytes())
                        .map_err(SinkError::file(&self.path))?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Opens the table for appending the row of the run's first epoch. The rows before it are written anew from the run's own
/// memory: a crash may have cut the last one off, and a job that was started again does not find the file at all.
fn open(path: &Path, run: &RunStarted) -> Result<File, SinkError> {
    match fs::read_to_string(path) {
        Ok(text) if run.first_epoch > 1 && !text.is_empty() => {
            let found = text.lines().next().unwrap_or_default();
            if found != HEADER {
                return Err(SinkError::OtherColumns {
                    path: path.into(),
                    found: found.into(),
                });
            }
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(SinkError::file(path)(error));
        }
        _ => {}
    }
    let rows: String = run.history.iter().map(row).collect();
    write_atomically(path, format!("{HEADER}\n{rows}").as_bytes())
        .map_err(SinkError::file(path))?;
    OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(SinkError::file(path))
}

fn row(m: &EpochMetrics) -> String {
    let (k, top_k) = m.valid_top_k.unzip();
    let cells = [
        m.epoch.to_string(),
        m.global_step.to_string(),
        number(m.learning_rate),
        number(m.train_loss),
        number(m.train_accuracy),
        number(m.valid_loss),
        number(m.valid_accuracy),
        k.map_or_else(String::new, |k| k.to_string()),
        top_k.map_or_else(String::new, number),
        number(m.train_images_per_second),
        number(m.valid_images_per_second),
        number(m.seconds),
        m.peak_memory_bytes
            .map_or_else(String::new, |bytes| bytes.to_string()),
    ];
    cells.join(",") + "\n"
}

/// The shortest decimals that read back as the same number.
fn number(value: f64) -> String {
    if value.is_finite() {
        value.to_string()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::samples;
    use super::*;

    fn run(path: &Path, first_epoch: usize, epochs: &[usize]) -> Result<(), SinkError> {
        let mut sink = CsvSink::new(path);
        sink.event(&Event::RunStarted(samples::started(first_epoch)))?;
        for &epoch in epochs {
            sink.event(&Event::EpochEnded(samples::epoch(epoch)))?;
        }
        Ok(())
    }

    fn epochs_in(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().next(), Some(HEADER));
        text.lines()
            .skip(1)
            .map(|row| row.split(',').next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let text = row(&samples::epoch(2));
        assert_eq!(
            text,
            "2,188,0.00001,0.912,0.771,0.8012345,0.783,5,0.9375,52.149,151,61.25,1234567890\n"
        );
        assert_eq!(text.split(',').count(), HEADER.split(',').count());
        let bare = EpochMetrics {
            valid_top_k: None,
            peak_memory_bytes: None,
            train_loss: f64::NAN,
            ..samples::epoch(2)
        };
        assert_eq!(
            row(&bare),
            "2,188,0.00001,,0.771,0.8012345,0.783,,,52.149,151,61.25,\n"
        );
    }

    #[test]
    fn rows_are_there_before_the_run_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.csv");
        let mut sink = CsvSink::new(&path);
        sink.event(&Event::RunStarted(samples::started(1))).unwrap();
        assert!(epochs_in(&path).is_empty());
        sink.event(&Event::EpochEnded(samples::epoch(1))).unwrap();
        assert_eq!(epochs_in(&path), ["1"]);
    }

    #[test]
    fn a_resumed_run_replaces_the_rows_from_its_first_epoch_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.csv");
        run(&path, 1, &[1, 2, 3]).unwrap();
        // A crash in the middle of a row.
        fs::write(&path, fs::read_to_string(&path).unwrap() + "1,0.0").unwrap();
        run(&path, 3, &[3, 4]).unwrap();
        assert_eq!(epochs_in(&path), ["1", "2", "3", "4"]);
    }

    #[test]
    fn a_fresh_run_starts_over_and_a_resumed_one_that_finds_nothing_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.csv");
        run(&path, 3, &[3]).unwrap();
        assert_eq!(epochs_in(&path), ["1", "2", "3"]);
        run(&path, 1, &[1]).unwrap();
        assert_eq!(epochs_in(&path), ["1"]);
    }

    #[test]
    fn a_table_with_other_columns_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.csv");
        fs::write(&path, "epoch,loss\n1,0.5\n").unwrap();
        let error = run(&path, 2, &[]).unwrap_err().to_string();
        assert!(
            error.contains("results.csv") && error.contains("epoch,loss"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "epoch,loss\n1,0.5\n");
    }
}
