//! Rules about how tensors move from step to step: WeightUpdateRatio, UnchangedTensor.

use std::collections::{BTreeMap, BTreeSet};

use fancy_regex::Regex;

use super::spec::{Options, expression};
use super::values::first_found;
use super::{Need, Rule, Verdict, matching};
use crate::debugger::tensor::{ModeKey, StepRecord};

/// Updates that are too large or too small for the weights they change.
///
/// The ratio is `mean |w - w'| / (mean |w'| + epsilon)` over `num_steps` steps. Weights without a gradient are left out where
/// gradients are saved: a frozen backbone does not move, and should not.
pub struct WeightUpdateRatio {
    large: f64,
    small: f64,
    epsilon: f64,
    num_steps: usize,
    pattern: Regex,
    before: BTreeMap<String, (usize, Vec<f64>)>,
    trained: BTreeSet<String>,
}

const GRADIENT: &str = "gradient/";

impl WeightUpdateRatio {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(WeightUpdateRatio {
            large: options.number("large_threshold", 10.0)?,
            small: options.number("small_threshold", 1e-8)?,
            epsilon: options.number("epsilon", 1e-9)?,
            num_steps: options.count("num_steps", 1)?,
            pattern: expression(options, "^(?!gradient).*weight")?,
            before: BTreeMap::new(),
            trained: BTreeSet::new(),
        })
    }
}

impl Rule for WeightUpdateRatio {
    fn name(&self) -> &'static str {
        "WeightUpdateRatio"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("large_threshold", self.large.to_string()),
            ("small_threshold", self.small.to_string()),
            ("epsilon", self.epsilon.to_string()),
            ("num_steps", self.num_steps.to_string()),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![
            Need::every_step(self.pattern.as_str()),
            Need::every_step("^gradient"),
        ]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        if step.mode != ModeKey::Train {
            return Verdict::Unrelated;
        }
        let gradients = step
            .entries
            .iter()
            .filter_map(|e| e.name.strip_prefix(GRADIENT));
        self.trained.extend(gradients.map(str::to_string));
        let WeightUpdateRatio {
            before, trained, ..
        } = self;
        let (large, small, epsilon, num_steps) =
            (self.large, self.small, self.epsilon, self.num_steps);
        first_found(step, &self.pattern, |entry| {
            if !trained.is_empty() && !trained.contains(&entry.name) {
                return None;
            }
            let now = entry.value.as_ref()?.to_f64();
            let (since, old) = match before.get(&entry.name) {
                Some((since, old)) if old.len() == now.len() => (*since, old),
                _ => {
                    before.insert(entry.name.clone(), (step.mode_step, now));
                    return None;
                }
            };
            if step.mode_step < since + num_steps {
                return None;
            }
            let change: f64 = now.iter().zip(old).map(|(a, b)| (a - b).abs()).sum();
            let size: f64 = old.iter().map(|x| x.abs()).sum();
            let count = now.len().max(1) as f64;
            let ratio = (change / count) / (size / count + epsilon);
            before.insert(entry.name.clone(), (step.mode_step, now));
            Some(match ratio {
                r if r > large => Some(format!(
                    "updates are {r:.2e} times the weights, above {large}"
                )),
                r if r < small => Some(format!(
                    "updates are {r:.2e} times the weights, below {small:e}"
                )),
                _ => None,
            })
        })
    }

    fn advice(&self) -> &'static str {
        "updates too large: lower --learning-rate or add --grad-clip 1; too small: raise --learning-rate"
    }
}

/// Tensors that stay as they are.
pub struct UnchangedTensor {
    num_steps: usize,
    rtol: f64,
    atol: f64,
    equal_nan: bool,
    pattern: Regex,
    /// The last values of each tensor and the looks for which they have not changed.
    before: BTreeMap<String, (Vec<f64>, usize)>,
}

impl UnchangedTensor {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(UnchangedTensor {
            num_steps: options.count("num_steps", 3)?,
            rtol: options.number("rtol", 1e-5)?,
            atol: options.number("atol", 1e-8)?,
            equal_nan: options.boolean("equal_nan", false)?,
            pattern: expression(options, "[Ll]oss_(?!input).*output")?,
            before: BTreeMap::new(),
        })
    }
}

/// numpy's `allclose`.
pub(super) fn all_close(a: &[f64], b: &[f64], rtol: f64, atol: f64, equal_nan: bool) -> bool {
    let close = |(a, b): (&f64, &f64)| {
        (a - b).abs() <= atol + rtol * b.abs() || a == b || (equal_nan && a.is_nan() && b.is_nan())
    };
    a.len() == b.len() && a.iter().zip(b).all(close)
}

impl Rule for UnchangedTensor {
    fn name(&self) -> &'static str {
        "UnchangedTensor"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("num_steps", self.num_steps.to_string()),
            ("rtol", self.rtol.to_string()),
            ("atol", self.atol.to_string()),
            ("equal_nan", self.equal_nan.to_string()),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::of(self.pattern.as_str())]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        if step.mode == ModeKey::Eval {
            // Validation batches differ from each other; only the same one an epoch later could be compared.
            return Verdict::Unrelated;
        }
        let mut verdict = Verdict::Unrelated;
        for entry in matching(step, &self.pattern) {
            let Some(now) = entry.value.as_ref().map(|tensor| tensor.to_f64()) else {
                continue;
            };
            verdict = Verdict::Fine;
            let before = self.before.entry(entry.name.clone()).or_default();
            let same = all_close(&now, &before.0, self.rtol, self.atol, self.equal_nan);
            *before = (now, if same { before.1 + 1 } else { 0 });
            if before.1 >= self.num_steps {
                let finding = format!(
                    "{} has not changed over {} saved steps",
                    entry.name, before.1
                );
                return Verdict::found(entry.name.clone(), finding);
            }
        }
        verdict
    }

    fn advice(&self) -> &'static str {
        "nothing is learned: raise --learning-rate, and check that the layers which should learn are not frozen"
    }
}
