//! Amazon's profiler rules over a profile.
//!
//! Input: a [`Profile`]. Output: a [`RuleReport`] each, and `profiler-reports/<Rule>.json` with Amazon's keys. Thresholds are those of
//! SageMaker's rules configuration. `patience` is Amazon's 1,000 samples, or half of the samples of a run that has fewer.

mod steps;
mod system;

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::profile::Profile;

/// What a rule made of a profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleReport {
    pub rule: String,
    pub triggered: bool,
    pub violations: usize,
    pub datapoints: usize,
    pub details: Map<String, Value>,
    /// Names and values.
    pub parameters: Vec<(String, String)>,
    /// What was seen, or why nothing could be.
    pub finding: String,
    /// What to change; empty where nothing needs to be.
    pub advice: String,
}

impl RuleReport {
    fn new(rule: &str, parameters: &[(&str, f64)]) -> Self {
        RuleReport {
            rule: rule.to_string(),
            triggered: false,
            violations: 0,
            datapoints: 0,
            details: Map::new(),
            parameters: parameters
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            finding: String::new(),
            advice: String::new(),
        }
    }

    /// It does not apply, or there is too little to say.
    fn nothing(mut self, why: &str) -> Self {
        self.finding = why.to_string();
        self
    }

    fn fine(mut self, datapoints: usize, finding: String) -> Self {
        (self.datapoints, self.finding) = (datapoints, finding);
        self
    }

    fn found(
        mut self,
        violations: usize,
        datapoints: usize,
        finding: String,
        advice: &str,
    ) -> Self {
        self.triggered = true;
        (self.violations, self.datapoints) = (violations, datapoints);
        (self.finding, self.advice) = (finding, advice.to_string());
        self
    }

    /// As Amazon's reports have it.
    fn to_json(&self) -> Value {
        let parameters = self.parameters.iter();
        let parameters: Vec<String> = parameters
            .map(|(name, value)| format!("{name}:{value}"))
            .collect();
        json!({
            "RuleTriggered": u8::from(self.triggered),
            "Violations": self.violations,
            "Details": self.details,
            "Datapoints": self.datapoints,
            "RuleParameters": parameters.join("\n"),
        })
    }
}

/// All rules.
pub fn evaluate(profile: &Profile) -> Vec<RuleReport> {
    vec![
        system::low_gpu_utilization(profile),
        system::gpu_memory_increase(profile),
        system::cpu_bottleneck(profile),
        system::io_bottleneck(profile),
        system::batch_size(profile),
        system::load_balancing(profile),
        steps::step_outlier(profile),
        steps::max_initialization_time(profile),
        steps::dataloader(profile),
    ]
}

/// Writes a file for each rule into `root/profiler-reports`.
///
/// # Errors
/// A file cannot be written.
pub fn write_reports(root: &Path, reports: &[RuleReport]) -> std::io::Result<()> {
    let folder = root.join("profiler-reports");
    std::fs::create_dir_all(&folder)?;
    for report in reports {
        let text =
            serde_json::to_string_pretty(&report.to_json()).map_err(std::io::Error::other)?;
        crate::files::write_atomically(
            &folder.join(format!("{}.json", report.rule)),
            text.as_bytes(),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
