//! What the training loop says, and who listens.
//!
//! Input: [`Event`]s, plain data without tensors. Output: the metric lines on stdout, a progress display on stderr,
//! `results.csv` and TensorBoard files. Sinks observe and the loop decides: no sink can change a run, so the order of
//! sinks never changes a result, and a sink that fails is dropped with one warning while training goes on.

mod csv;
mod event;
mod event_file;
mod histogram;
mod metric_line;
mod metric_table;
mod progress;
pub mod proto;
mod tensorboard;
mod terminal;
pub mod tfrecord;

pub use csv::CsvSink;
pub use event::{
    BestMetric, EpochMetrics, EvaluationStep, Event, RunStarted, StepMetrics, TestMetrics,
};
pub use histogram::{Histogram, HistogramFile};
pub use metric_line::MetricLineSink;
pub use metric_table::metric_definitions;
pub use progress::ProgressSink;
pub use tensorboard::TensorBoardSink;
pub use terminal::{Terminal, TerminalWriter};

use std::{io, path::PathBuf};

/// A listener to a run.
pub trait Sink: Send {
    /// A short name for messages, such as `results.csv`.
    fn name(&self) -> &str;

    /// Takes note of `event`.
    ///
    /// # Errors
    /// When the event could not be written. The caller then drops this sink.
    fn event(&mut self, event: &Event) -> Result<(), SinkError>;
}

/// Why a sink could not take note of an event.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A file could not be read or written.
    #[error(
        "cannot write {path}: {source}; check the free space and the permissions of its folder"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Stdout or stderr is closed.
    #[error("cannot write to {stream}: {source}")]
    Stream {
        /// `stdout` or `stderr`.
        stream: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A `results.csv` of another version stands where this run would append.
    #[error(
        "{path} has other columns than this version writes (first line `{found}`); move it away to resume this run"
    )]
    OtherColumns {
        /// The file.
        path: PathBuf,
        /// Its first line.
        found: String,
    },
}

impl SinkError {
    /// Names `path` in an input/output error.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

/// The listeners of one run.
#[derive(Default)]
pub struct Sinks {
    sinks: Vec<Box<dyn Sink>>,
}

impl Sinks {
    /// A list without listeners.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a listener.
    #[must_use]
    pub fn with(mut self, sink: impl Sink + 'static) -> Self {
        self.sinks.push(Box::new(sink));
        self
    }

    /// Tells every listener. One that fails is named in a warning and never told anything again.
    pub fn emit(&mut self, event: &Event) {
        self.sinks.retain_mut(|sink| match sink.event(event) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("{} stops here, training goes on: {error}", sink.name());
                false
            }
        });
    }

    /// How many listeners are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sinks.len()
    }

    /// Whether nobody listens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    struct Recorder {
        heard: Arc<Mutex<usize>>,
        fails_after: usize,
    }

    impl Sink for Recorder {
        fn name(&self) -> &str {
            "recorder"
        }

        fn event(&mut self, _: &Event) -> Result<(), SinkError> {
            let mut heard = self.heard.lock().unwrap();
            *heard += 1;
            if *heard > self.fails_after {
                return Err(SinkError::file("results.csv")(io::Error::other(
                    "disk full",
                )));
            }
            Ok(())
        }
    }

    #[test]
    fn a_failing_sink_is_dropped_and_the_others_go_on() {
        let (good, bad) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        let mut sinks = Sinks::new()
            .with(Recorder {
                heard: bad.clone(),
                fails_after: 1,
            })
            .with(Recorder {
                heard: good.clone(),
                fails_after: usize::MAX,
            });
        for _ in 0..5 {
            sinks.emit(&Event::RunEnded);
        }
        assert_eq!((*bad.lock().unwrap(), *good.lock().unwrap()), (2, 5));
        assert_eq!(sinks.len(), 1);
    }

    #[test]
    fn an_error_names_the_file() {
        let text = SinkError::file("run/results.csv")(io::Error::other("disk full")).to_string();
        assert!(
            text.contains("run/results.csv") && text.contains("disk full"),
            "{text}"
        );
    }
}
