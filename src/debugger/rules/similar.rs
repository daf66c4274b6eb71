//! SimilarAcrossRuns: tensors that are the same in another run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use fancy_regex::Regex;

use super::spec::{Options, expression};
use super::updates::all_close;
use super::{Need, Rule, Verdict, matching};
use crate::debugger::reader::{ReadError, Trial};
use crate::debugger::tensor::{ModeKey, StepRecord};

/// Values by mode, step and name.
type Saved = HashMap<(ModeKey, usize, String), Vec<f64>>;

/// Tensors that equal those which another run saved at the same step, as `numpy.allclose` sees it.
pub struct SimilarAcrossRuns {
    other: PathBuf,
    pattern: Regex,
    saved: Saved,
}

impl SimilarAcrossRuns {
    pub fn new(options: &Options) -> Result<Self, String> {
        let other = options.text("other_trials").ok_or(
            "SimilarAcrossRuns needs other_trials, the Debugger output of another run: SimilarAcrossRuns:other_trials=RUN/debug-output",
        )?;
        let pattern = expression(options, "^gradient")?;
        let saved =
            load(Path::new(&other), &pattern).map_err(|error| format!("other_trials: {error}"))?;
        match saved.is_empty() {
            true => Err(format!(
                "other_trials: {other} holds no tensor that matches {}",
                pattern.as_str()
            )),
            false => Ok(SimilarAcrossRuns {
                other: other.into(),
                pattern,
                saved,
            }),
        }
    }
}

fn load(root: &Path, pattern: &Regex) -> Result<Saved, ReadError> {
    let mut saved = HashMap::new();
    for step in Trial::open(root)?.steps() {
        let step = step?;
        for entry in matching(&step, pattern) {
            if let Some(tensor) = &entry.value {
                let key = (step.mode, step.mode_step, entry.name.clone());
                saved.insert(key, tensor.to_f64());
            }
        }
    }
    Ok(saved)
}

impl Rule for SimilarAcrossRuns {
    fn name(&self) -> &'static str {
        "SimilarAcrossRuns"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![("other_trials", self.other.display().to_string())]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::of(self.pattern.as_str())]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        let mut verdict = Verdict::Unrelated;
        for entry in matching(step, &self.pattern) {
            let key = (step.mode, step.mode_step, entry.name.clone());
            let (Some(tensor), Some(other)) = (&entry.value, self.saved.get(&key)) else {
                continue;
            };
            verdict = Verdict::Fine;
            if all_close(&tensor.to_f64(), other, 1e-5, 1e-8, false) {
                let finding = format!("{} equals that of {}", entry.name, self.other.display());
                return Verdict::found(entry.name.clone(), finding);
            }
        }
        verdict
    }

    fn advice(&self) -> &'static str {
        "the two runs do the same work: change a setting or the --seed of one, or save the time"
    }
}
