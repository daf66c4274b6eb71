//! Rules about the values of single tensors: VanishingGradient, ExplodingTensor, AllZero, TensorVariance.

use fancy_regex::Regex;

use super::spec::{Options, expression};
use super::{Need, Rule, Verdict, matching};
use crate::debugger::reduction::{Operation, Reduction};
use crate::debugger::tensor::{Entry, StepRecord};

/// Gradients so small that layers no longer learn.
pub struct VanishingGradient {
    threshold: f64,
    pattern: Regex,
}

impl VanishingGradient {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(VanishingGradient {
            threshold: options.number("threshold", 1e-7)?,
            pattern: expression(options, "^gradient")?,
        })
    }
}

impl Rule for VanishingGradient {
    fn name(&self) -> &'static str {
        "VanishingGradient"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![("threshold", self.threshold.to_string())]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::of(self.pattern.as_str())]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        first_found(step, &self.pattern, |entry| {
            let mean = entry.reduced(Reduction::ABS_MEAN)?;
            Some((mean < self.threshold).then(|| {
                format!(
                    "the mean absolute gradient is {mean:.2e}, below {:e}",
                    self.threshold
                )
            }))
        })
    }

    fn advice(&self) -> &'static str {
        "raise --learning-rate or start from pretrained weights; with --precision bfloat16 try float32; if the loss is near zero, \
         training is simply done"
    }
}

/// Values that are no numbers any more.
pub struct ExplodingTensor {
    only_nan: bool,
    pattern: Regex,
}

impl ExplodingTensor {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(ExplodingTensor {
            only_nan: options.boolean("only_nan", false)?,
            pattern: expression(options, "^gradient|weight$|bias$|[Ll]oss_output")?,
        })
    }
}

impl Rule for ExplodingTensor {
    fn name(&self) -> &'static str {
        "ExplodingTensor"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![("only_nan", self.only_nan.to_string())]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::of(self.pattern.as_str())]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        let is_bad = |x: f64| x.is_nan() || (!self.only_nan && x.is_infinite());
        first_found(step, &self.pattern, |entry| {
            let (bad, of) = match &entry.value {
                Some(tensor) => (tensor.count(is_bad), tensor.len()),
                None if entry.reductions.is_empty() => return None,
                // A reduction over a value that is none is none either.
                None => {
                    let reductions = entry.reductions.iter();
                    (
                        reductions.filter(|(_, x)| is_bad(*x)).count(),
                        entry.reductions.len(),
                    )
                }
            };
            Some((bad > 0).then(|| format!("{bad} of {of} values are NaN or infinite")))
        })
    }

    fn advice(&self) -> &'static str {
        "lower --learning-rate, raise --warmup-epochs or add --grad-clip 1"
    }
}

/// Tensors of nothing but zeros.
pub struct AllZero {
    threshold: f64,
    pattern: Regex,
}

impl AllZero {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(AllZero {
            threshold: options.number("threshold", 100.0)?,
            // Biases and shifts start at zero.
            pattern: expression(options, "weight$")?,
        })
    }
}

impl Rule for AllZero {
    fn name(&self) -> &'static str {
        "AllZero"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![("threshold", self.threshold.to_string())]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::of(self.pattern.as_str())]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        first_found(step, &self.pattern, |entry| {
            let tensor = entry.value.as_ref()?;
            let percent = 100.0 * tensor.count(|x| x == 0.0) as f64 / tensor.len().max(1) as f64;
            Some(
                (percent >= self.threshold)
                    .then(|| format!("{percent:.0} % of its values are zero")),
            )
        })
    }

    fn advice(&self) -> &'static str {
        "a layer whose weights or gradients are all zero learns nothing: check the weights file and the initialisation"
    }
}

/// Weights whose spread leaves a range.
pub struct TensorVariance {
    max: f64,
    min: f64,
    pattern: Regex,
}

impl TensorVariance {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(TensorVariance {
            // Amazon has no defaults; these are those of its example.
            max: options.number("max_threshold", 10.0)?,
            min: options.number("min_threshold", 1e-5)?,
            pattern: expression(options, "^(?!gradient).*weight")?,
        })
    }
}

impl Rule for TensorVariance {
    fn name(&self) -> &'static str {
        "TensorVariance"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("max_threshold", self.max.to_string()),
            ("min_threshold", self.min.to_string()),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::of(self.pattern.as_str())]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        let variance = Reduction {
            operation: Operation::Variance,
            abs: false,
        };
        first_found(step, &self.pattern, |entry| {
            // The scales of a fresh batch norm are all one.
            if entry
                .value
                .as_ref()
                .is_some_and(|tensor| tensor.shape.len() < 2)
            {
                return None;
            }
            let variance = entry.reduced(variance)?;
            Some(match variance {
                v if v > self.max => Some(format!("its variance is {v:.3e}, above {}", self.max)),
                v if v < self.min => Some(format!("its variance is {v:.3e}, below {}", self.min)),
                _ => None,
            })
        })
    }

    fn advice(&self) -> &'static str {
        "too large a spread: lower --learning-rate or raise --weight-decay; too small a one: lower --weight-decay, check the \
         initialisation"
    }
}

/// Asks `check` about each tensor of the step: `None` where it cannot be judged, `Some(None)` where it is fine, else what is wrong.
pub(super) fn first_found(
    step: &StepRecord,
    pattern: &Regex,
    mut check: impl FnMut(&Entry) -> Option<Option<String>>,
) -> Verdict {
    let mut verdict = Verdict::Unrelated;
    for entry in matching(step, pattern) {
        match check(entry) {
            None => {}
            Some(None) => verdict = Verdict::Fine,
            Some(Some(finding)) => {
                return Verdict::found(entry.name.clone(), format!("{}: {finding}", entry.name));
            }
        }
    }
    verdict
}
