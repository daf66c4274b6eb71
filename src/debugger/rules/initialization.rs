//! PoorWeightInitialization: the first steps of a run that does not get going.

use fancy_regex::Regex;

use super::series::loss_of;
use super::spec::{Options, expression_of};
use super::{Need, Rule, Verdict, matching};
use crate::debugger::reduction::{Operation, Reduction};
use crate::debugger::tensor::{ModeKey, StepRecord};

/// Initial weights that keep a network from learning.
///
/// Amazon's three signs are: variances of activation inputs that differ between layers by more than `threshold` times, gradients
/// that lie within `distribution_range` (5th to 95th percentile), and a loss that does not fall for `patience` steps, all within
/// the first `steps`. A pretrained network shows the first two and learns well, so here the loss must be one of the signs.
pub struct PoorWeightInitialization {
    threshold: f64,
    distribution_range: f64,
    patience: usize,
    steps: usize,
    inputs: Regex,
    gradients: Regex,
    losses: Regex,
    best_loss: f64,
    /// Steps without a better loss.
    since: usize,
    looked: usize,
    /// The first of the other signs.
    sign: Option<String>,
}

impl PoorWeightInitialization {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(PoorWeightInitialization {
            threshold: options.number("threshold", 10.0)?,
            distribution_range: options.number("distribution_range", 0.001)?,
            patience: options.count("patience", 5)?,
            steps: options.count("steps", 10)?,
            inputs: expression_of(options, "activation_inputs_regex", ".*relu_input")?,
            gradients: expression_of(options, "gradients_regex", "^gradient.*weight")?,
            losses: expression_of(options, "losses_regex", "[Ll]oss_(?!input).*output")?,
            best_loss: f64::INFINITY,
            since: 0,
            looked: 0,
            sign: None,
        })
    }

    fn variances_differ(&self, step: &StepRecord) -> Option<String> {
        let variance = Reduction {
            operation: Operation::Variance,
            abs: false,
        };
        let inputs = matching(step, &self.inputs);
        let found = inputs.filter_map(|entry| Some((&entry.name, entry.reduced(variance)?)));
        let found: Vec<(&String, f64)> = found.collect();
        let (small, least) = found.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
        let (large, most) = found.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        // A loss that is no number leaves activations that are none.
        let is_wide = most / least > self.threshold || !(most / least).is_finite();
        is_wide.then(|| {
            format!("the inputs of activations vary by {least:.2e} in {small} and by {most:.2e} in {large}")
        })
    }

    fn gradients_are_narrow(&self, step: &StepRecord) -> Option<String> {
        for entry in matching(step, &self.gradients) {
            let Some(tensor) = &entry.value else { continue };
            let mut values = tensor.to_f64();
            values.sort_by(f64::total_cmp);
            let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
            if values.is_empty() {
                continue;
            }
            let range = at(0.95) - at(0.05);
            if range < self.distribution_range {
                return Some(format!(
                    "nine tenths of {} lie within {range:.1e}",
                    entry.name
                ));
            }
        }
        None
    }
}

impl Rule for PoorWeightInitialization {
    fn name(&self) -> &'static str {
        "PoorWeightInitialization"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("threshold", self.threshold.to_string()),
            ("distribution_range", self.distribution_range.to_string()),
            ("patience", self.patience.to_string()),
            ("steps", self.steps.to_string()),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        [&self.inputs, &self.gradients, &self.losses]
            .map(|pattern| Need::first_steps(pattern.as_str(), self.steps))
            .into()
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        if step.mode == ModeKey::Eval || self.looked >= self.steps {
            return Verdict::Unrelated;
        }
        let Some((_, loss)) = loss_of(step, &self.losses) else {
            return Verdict::Unrelated;
        };
        self.looked += 1;
        if self.sign.is_none() {
            self.sign = self
                .variances_differ(step)
                .or_else(|| self.gradients_are_narrow(step));
        }
        match loss < self.best_loss {
            true => (self.best_loss, self.since) = (loss, 0),
            false => self.since += 1,
        }
        match (&self.sign, self.since >= self.patience) {
            (Some(sign), true) => Verdict::found(
                None,
                format!(
                    "the loss has not fallen below {:.4} for {} steps, and {sign}",
                    self.best_loss, self.since
                ),
            ),
            _ => Verdict::Fine,
        }
    }

    fn advice(&self) -> &'static str {
        "start from pretrained weights; with --weights none raise --warmup-epochs or lower --learning-rate"
    }
}
