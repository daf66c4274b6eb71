//! StalledTraining: a run that no longer makes steps.

use super::spec::Options;
use super::{Need, Rule, Verdict};
use crate::debugger::tensor::StepRecord;

/// No step for `threshold` seconds: live by the clock, in a stored run by the times of its steps.
pub struct StalledTraining {
    threshold: f64,
    stops: bool,
    last: Option<(usize, f64)>,
    /// Whether the clock is looked at, and not the times that steps carry.
    live: bool,
}

impl StalledTraining {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(StalledTraining {
            threshold: options.number("threshold", 1800.0)?,
            stops: options.boolean("stop_training_on_fire", false)?,
            last: None,
            live: false,
        })
    }
}

impl Rule for StalledTraining {
    fn name(&self) -> &'static str {
        "StalledTraining"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("threshold", self.threshold.to_string()),
            ("stop_training_on_fire", self.stops.to_string()),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::of("[Ll]oss_(?!input).*output")]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        let before = self.last.replace((step.global_step, step.wall_time));
        match before {
            // Live, steps that nobody saves count as well.
            Some((at, time)) if !self.live && step.wall_time - time > self.threshold => {
                Verdict::found(
                    None,
                    format!(
                        "{:.0} s passed between the steps {at} and {}",
                        step.wall_time - time,
                        step.global_step
                    ),
                )
            }
            _ => Verdict::Fine,
        }
    }

    fn waiting(&mut self, seconds: f64) -> Verdict {
        self.live = true;
        match seconds > self.threshold {
            true => Verdict::found(None, format!("no step has come for {seconds:.0} s")),
            false => Verdict::Unrelated,
        }
    }

    fn advice(&self) -> &'static str {
        "see what the process waits for: a channel that delivers nothing, a full disk, a network file system"
    }

    fn stops_training(&self) -> bool {
        self.stops
    }
}
