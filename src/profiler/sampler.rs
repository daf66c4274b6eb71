//! A thread that looks at the machine while a run goes on.
//!
//! Input: a period. Output: [`Sample`]s, in memory and, where that is asked for, in files of Amazon's form:
//! `system/incremental/<hour>/<minute>.algo-1.json`, a JSON object a line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::config::{Follow, PlaceOf, ProfilerConfig};
use super::proc::Counters;
use super::profile::Sample;
use super::timeline::hour;
use crate::device::nvidia;

/// How the files of this process are called; Amazon's readers accept no other form.
const NODE: &str = "algo-1";
/// Moments kept in memory: an hour and more at the usual period. Then every other one goes.
const MOST_MOMENTS: usize = 10_000;
/// How often a changed configuration is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// What is written, and where; both threads look at it, and either may end it.
#[derive(Clone, Debug)]
pub struct Place(Arc<Mutex<Written>>);

/// See [`Place`].
#[derive(Debug)]
pub struct Written {
    /// `None` where no files are written.
    pub root: Option<PathBuf>,
    pub config: ProfilerConfig,
}

impl Place {
    pub fn new(written: Written) -> Self {
        Place(Arc::new(Mutex::new(written)))
    }

    pub fn look(&self) -> MutexGuard<'_, Written> {
        // It is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files could not be written.
    pub fn give_up(&self, root: &Path, error: &std::io::Error) {
        tracing::warn!(
            "profiler: {}: {error}; its files end here, training goes on",
            root.display()
        );
        self.look().root = None;
    }
}

/// The running thread.
#[derive(Debug)]
pub struct Sampler {
    end: Sender<()>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    /// Starts to look. `follow` is the file that may change what is written; `place_of` says where its paths are.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(place: Place, follow: Option<Follow>, place_of: PlaceOf) -> std::io::Result<Self> {
        let (end, ended) = channel();
        let work = Work {
            place,
            follow,
            place_of,
            samples: Vec::new(),
            moments: 0,
            keep_every: 1,
        };
        let thread = std::thread::Builder::new()
            .name("profiler".into())
            .spawn(move || work.run(&ended))?;
        Ok(Sampler { end, thread })
    }

    /// Ends the thread and hands over what it saw.
    pub fn finish(self) -> Vec<Sample> {
        drop(self.end);
        self.thread.join().unwrap_or_default()
    }
}

struct Work {
    place: Place,
    follow: Option<Follow>,
    place_of: PlaceOf,
    samples: Vec<Sample>,
    moments: usize,
    keep_every: usize,
}

impl Work {
    fn run(mut self, ended: &Receiver<()>) -> Vec<Sample> {
        let (mut before, mut at) = (Counters::now(), Instant::now());
        let mut looked = Instant::now();
        loop {
            let period = Duration::from_millis(self.place.look().config.interval_ms);
            let end = match ended.recv_timeout(period) {
                Err(RecvTimeoutError::Timeout) => false,
                Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            };
            let now = Counters::now();
            let seconds = at.elapsed().as_secs_f64();
            // The end may follow the last look too closely for the kernel's clock to have ticked.
            if !end || seconds > 0.05 {
                let mut figures = now.since(&before, seconds);
                figures.extend(nvidia::figures());
                self.take(figures);
            }
            if end {
                return self.samples;
            }
            (before, at) = (now, Instant::now());
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look_for_changes();
            }
        }
    }

    fn look_for_changes(&mut self) {
        if let Some(config) = self.follow.as_mut().and_then(Follow::look) {
            let root = (self.place_of)(&config);
            let state = if root.is_some() { "on" } else { "off" };
            tracing::info!("profiler files: {state}, as the configuration says now");
            *self.place.look() = Written { root, config };
        }
    }

    fn take(&mut self, figures: Vec<nvidia::Figure>) {
        let time = crate::files::seconds_since_epoch();
        let root = self.place.look().root.clone();
        if let Some(root) = root
            && let Err(error) = append(&root, time, &figures)
        {
            self.place.give_up(&root, &error);
        }
        self.moments += 1;
        if !self.moments.is_multiple_of(self.keep_every) {
            return;
        }
        let of_moment = figures
            .into_iter()
            .map(|(kind, name, dimension, value)| Sample {
                kind: kind.into(),
                name,
                dimension: dimension.into(),
                value,
                time,
            });
        self.samples.extend(of_moment);
        if self.moments / self.keep_every >= MOST_MOMENTS {
            self.thin();
        }
    }

    /// Drops every other moment.
    fn thin(&mut self) {
        let (mut keep, mut last) = (false, f64::NAN);
        self.samples.retain(|sample| {
            if sample.time != last {
                (keep, last) = (!keep, sample.time);
            }
            keep
        });
        self.keep_every *= 2;
    }
}

/// Adds lines to the file of the minute. A process that is killed leaves at most one line half written, which readers skip.
fn append(root: &Path, time: f64, figures: &[nvidia::Figure]) -> std::io::Result<()> {
    let folder = root.join("system/incremental").join(hour(time));
    std::fs::create_dir_all(&folder)?;
    let minute = (time / 60.0) as u64 * 60;
    let mut lines = String::new();
    for (kind, name, dimension, value) in figures {
        let line = json!({
            "Type": kind, "Name": name, "Dimension": dimension, "Value": value, "NodeId": NODE, "Timestamp": time,
        });
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    let path = folder.join(format!("{minute}.{NODE}.json"));
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    file.write_all(lines.as_bytes())
}
