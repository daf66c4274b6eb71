//! Rules about activation functions: DeadRelu, SaturatedActivation.

use fancy_regex::Regex;

use super::spec::{Options, expression};
use super::values::first_found;
use super::{Need, Rule, Verdict};
use crate::debugger::tensor::{HostTensor, StepRecord};

/// Values of a unit at the least: one percent of fewer is less than one.
const FEWEST_VALUES: usize = 100;

/// The share of values, in percent, for which `is_active` holds, for each unit: a channel of `[N, C, …]`.
fn activity(tensor: &HostTensor, is_active: impl Fn(f64) -> bool) -> Option<Vec<f64>> {
    let [batch, units, rest @ ..] = tensor.shape.as_slice() else {
        return None;
    };
    let inner: usize = rest.iter().product();
    let each = batch * inner;
    if each < FEWEST_VALUES || *units == 0 {
        return None;
    }
    let mut active = vec![0usize; *units];
    for (run, count) in tensor.counts(inner, is_active).into_iter().enumerate() {
        active[run % units] += count;
    }
    let percent = |count: usize| 100.0 * count as f64 / each as f64;
    Some(active.into_iter().map(percent).collect())
}

/// From where on a unit counts as inactive, and a layer as lost; both in percent.
struct Thresholds {
    inactivity: f64,
    layer: f64,
}

impl Thresholds {
    fn new(options: &Options) -> Result<Self, String> {
        Ok(Thresholds {
            inactivity: options.number("threshold_inactivity", 1.0)?,
            layer: options.number("threshold_layer", 50.0)?,
        })
    }

    fn parameters(&self) -> [(&'static str, String); 2] {
        [
            ("threshold_inactivity", self.inactivity.to_string()),
            ("threshold_layer", self.layer.to_string()),
        ]
    }

    /// The inactive units and their share in percent, where they are too many.
    fn exceeded(&self, activity: &[f64]) -> Option<(usize, f64)> {
        let inactive = activity
            .iter()
            .filter(|share| **share < self.inactivity)
            .count();
        let percent = 100.0 * inactive as f64 / activity.len() as f64;
        (percent > self.layer).then_some((inactive, percent))
    }
}

/// ReLUs that are zero for nearly every input. A unit is a channel: its weights are shared, so it dies as a whole.
pub struct DeadRelu {
    thresholds: Thresholds,
    pattern: Regex,
}

impl DeadRelu {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(DeadRelu {
            thresholds: Thresholds::new(options)?,
            pattern: expression(options, ".*relu_output|.*ReLU_output")?,
        })
    }
}

impl Rule for DeadRelu {
    fn name(&self) -> &'static str {
        "DeadRelu"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        self.thresholds.parameters().into()
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::of(self.pattern.as_str())]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        first_found(step, &self.pattern, |entry| {
            let activity = activity(entry.value.as_ref()?, |x| x > 0.0)?;
            let exceeded = self.thresholds.exceeded(&activity);
            Some(exceeded.map(|(dead, percent)| {
                format!(
                    "{dead} of {} channels ({percent:.0} %) are above zero for less than {} % of their inputs",
                    activity.len(),
                    self.thresholds.inactivity
                )
            }))
        })
    }

    fn advice(&self) -> &'static str {
        "lower --learning-rate, raise --warmup-epochs, or start again from pretrained weights: a dead ReLU gets no gradient and does \
         not come back"
    }
}

/// Tanh and sigmoid functions whose inputs lie where they are flat. ResNets have none; other networks' runs can be looked at.
pub struct SaturatedActivation {
    tanh: (f64, f64),
    sigmoid: (f64, f64),
    thresholds: Thresholds,
    pattern: Regex,
}

impl SaturatedActivation {
    pub fn new(options: &Options) -> Result<Self, String> {
        let number = |key, default| options.number(key, default);
        Ok(SaturatedActivation {
            tanh: (
                number("threshold_tanh_min", -9.4999)?,
                number("threshold_tanh_max", 9.4999)?,
            ),
            sigmoid: (
                number("threshold_sigmoid_min", -23.0)?,
                number("threshold_sigmoid_max", 16.99999)?,
            ),
            thresholds: Thresholds::new(options)?,
            pattern: expression(options, ".*tanh_input|.*sigmoid_input")?,
        })
    }
}

impl Rule for SaturatedActivation {
    fn name(&self) -> &'static str {
        "SaturatedActivation"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let ranges = [
            ("threshold_tanh_min", self.tanh.0.to_string()),
            ("threshold_tanh_max", self.tanh.1.to_string()),
            ("threshold_sigmoid_min", self.sigmoid.0.to_string()),
            ("threshold_sigmoid_max", self.sigmoid.1.to_string()),
        ];
        ranges
            .into_iter()
            .chain(self.thresholds.parameters())
            .collect()
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::of(self.pattern.as_str())]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        first_found(step, &self.pattern, |entry| {
            let (min, max) = match entry.name.contains("tanh") {
                true => self.tanh,
                false => self.sigmoid,
            };
            let activity = activity(entry.value.as_ref()?, |x| x > min && x < max)?;
            let exceeded = self.thresholds.exceeded(&activity);
            Some(exceeded.map(|(flat, percent)| {
                format!(
                    "{flat} of {} units ({percent:.0} %) get inputs outside {min} to {max} nearly always",
                    activity.len()
                )
            }))
        })
    }

    fn advice(&self) -> &'static str {
        "lower --learning-rate, normalise the inputs, or use smaller initial weights"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activity_is_counted_over_batch_and_positions_of_each_channel() {
        // [N, C = 2, 2]: the first channel is active in one of four places, the second in all.
        let two = [0.0, 1.0, 2.0, 3.0, 0.0, -1.0, 1.0, 1.0];
        let tensor = HostTensor::floats(two.repeat(50), [100, 2, 2]);
        assert_eq!(activity(&tensor, |x| x > 0.0), Some(vec![25.0, 100.0]));
        let few = HostTensor::floats(two.to_vec(), [2, 2, 2]);
        assert_eq!(activity(&few, |x| x > 0.0), None);
        assert_eq!(activity(&HostTensor::scalar(1.0), |_| true), None);
    }
}
