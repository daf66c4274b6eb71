//! How far a study is, for whoever watches stderr.
//!
//! Input: trials as they start and end. Output: a line for each.

use std::time::{Duration, Instant};

use super::journal::Status;
use super::space::Values;
use super::study::Study;
use crate::report::duration;

pub struct Progress {
    max_jobs: usize,
    began: Instant,
    /// Trials that ended since.
    ended: usize,
    /// When something was said last.
    said: Instant,
}

/// Between two lines about epochs: enough to see that long trials are alive, and short ones go without.
const EPOCH_LINE_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    pub fn new(max_jobs: usize) -> Self {
        Progress {
            max_jobs,
            began: Instant::now(),
            ended: 0,
            said: Instant::now(),
        }
    }

    pub fn started(&mut self, number: usize, values: &Values) {
        self.said = Instant::now();
        tracing::info!("trial {number}/{}: {}", self.max_jobs, shown(values));
    }

    /// Says how far a trial is, if nothing was said for a while.
    pub fn epoch(&mut self, study: &Study, number: usize, values: &[f64], epochs: usize) {
        if let Some(value) = values
            .last()
            .filter(|_| self.said.elapsed() > EPOCH_LINE_EVERY)
        {
            let metric = study.definition.objective.metric;
            let done = values.len();
            tracing::info!("trial {number} epoch {done}/{epochs}: {metric} {value:.4}");
            self.said = Instant::now();
        }
    }

    /// Says what a trial came to, which is the best one, and how long the rest will take.
    pub fn ended(&mut self, study: &Study, number: usize) {
        (self.ended, self.said) = (self.ended + 1, Instant::now());
        let trial = study.trials.get(&number);
        let Some((trial, outcome)) = trial.and_then(|t| Some((t, t.outcome.as_ref()?))) else {
            return;
        };
        let finished = study.ended().count();
        let metric = study.definition.objective.metric;
        let best = study.best().map_or(String::new(), |(best, value)| {
            format!("; best {value:.4} (trial {})", best.number)
        });
        let left = self.left(finished);
        let head = format!("trial {number} {}", word(outcome.status));
        let tail = format!(
            "{}{best}; {finished}/{} done{left}",
            duration(outcome.seconds),
            self.max_jobs
        );
        match (&outcome.reason, outcome.value) {
            (Some(reason), _) => {
                tracing::warn!("{head}: {reason} ({}), {tail}", shown(&trial.values));
            }
            (None, value) => {
                let epochs = match outcome.epochs.len() {
                    1 => "1 epoch".to_string(),
                    count => format!("{count} epochs"),
                };
                let value = value.unwrap_or(f64::NAN);
                tracing::info!("{head}: {metric} {value:.4} after {epochs}, {tail}");
            }
        }
    }

    fn left(&self, finished: usize) -> String {
        let left = self.max_jobs.saturating_sub(finished);
        if left == 0 {
            return String::new();
        }
        // The mean over what ran side by side, so that this is right with any number at once.
        let each = self.began.elapsed().as_secs_f64() / self.ended.max(1) as f64;
        format!(", about {} left", duration(each * left as f64))
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Completed => "completed",
        Status::Stopped => "stopped early",
        Status::Failed => "failed",
    }
}

/// Values as a person reads them.
pub fn shown(values: &Values) -> String {
    let parts: Vec<String> = values.iter().map(|(k, v)| format!("{k} {v}")).collect();
    parts.join(", ")
}
