//! Rules about losses: LossNotDecreasing, Overfit, Overtraining.

use fancy_regex::Regex;

use super::series::{Pass, Passes, loss_of};
use super::spec::{Options, expression};
use super::{Need, Rule, Verdict};
use crate::debugger::tensor::{ModeKey, StepRecord};

const LOSSES: &str = "[Ll]oss_(?!input).*output";

/// A training loss that does not fall.
///
/// Every `num_steps` steps the loss is compared with the one saved at least `num_steps` steps before: it must have fallen by
/// `diff_percent`. A rise of more than `increase_threshold_percent` is said as such.
pub struct LossNotDecreasing {
    num_steps: usize,
    diff_percent: f64,
    increase_percent: f64,
    pattern: Regex,
    /// Steps and losses since the last comparison, that one first.
    saved: Vec<(usize, f64)>,
}

impl LossNotDecreasing {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(LossNotDecreasing {
            num_steps: options.count("num_steps", 10)?,
            diff_percent: options.number("diff_percent", 0.1)?,
            increase_percent: options.number("increase_threshold_percent", 5.0)?,
            pattern: expression(options, LOSSES)?,
            saved: Vec::new(),
        })
    }
}

impl Rule for LossNotDecreasing {
    fn name(&self) -> &'static str {
        "LossNotDecreasing"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("num_steps", self.num_steps.to_string()),
            ("diff_percent", self.diff_percent.to_string()),
            (
                "increase_threshold_percent",
                self.increase_percent.to_string(),
            ),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::of(self.pattern.as_str())]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        let Some((name, loss)) = loss_of(step, &self.pattern) else {
            return Verdict::Unrelated;
        };
        if step.mode == ModeKey::Eval {
            return Verdict::Unrelated;
        }
        self.saved.push((step.mode_step, loss));
        let Some(earliest) = step.mode_step.checked_sub(self.num_steps) else {
            return Verdict::Fine;
        };
        let due = self.saved[0].0 <= earliest;
        // The newest loss that is old enough.
        let before = self.saved.iter().rev().find(|(at, _)| *at <= earliest);
        let (Some((at, old)), true) = (before.copied(), due) else {
            return Verdict::Fine;
        };
        self.saved = vec![(step.mode_step, loss)];
        let fallen = 100.0 * (old - loss) / old.abs().max(f64::MIN_POSITIVE);
        let compared = format!(
            "{name} was {old:.4} at step {at} and {loss:.4} at step {}",
            step.mode_step
        );
        if fallen >= self.diff_percent {
            return Verdict::Fine;
        }
        let finding = match -fallen > self.increase_percent {
            true => format!("{compared}: it has risen by {:.1} %", -fallen),
            // Also a loss that is no number ends here.
            false => format!(
                "{compared}: it has fallen by less than {} %",
                self.diff_percent
            ),
        };
        Verdict::found(name, finding)
    }

    fn advice(&self) -> &'static str {
        "early in training: change --learning-rate (a third, or three times as much), and check labels and input images; late in \
         training: it has converged, fewer --epochs would do"
    }
}

/// A validation loss that lies too far above the training loss.
///
/// Both are means over a pass over the data; the ratio is `(validation - training) / training`.
pub struct Overfit {
    start_step: usize,
    patience: usize,
    ratio_threshold: f64,
    passes: Passes,
    /// Passes in a row above the threshold.
    above: usize,
    step: usize,
}

impl Overfit {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(Overfit {
            start_step: options.count("start_step", 0)?,
            patience: options.count("patience", 1)?,
            ratio_threshold: options.number("ratio_threshold", 0.1)?,
            passes: Passes::new(expression(options, LOSSES)?),
            above: 0,
            step: 0,
        })
    }

    fn judge(&mut self, pass: Option<Pass>) -> Verdict {
        let Some(pass) = pass.filter(|pass| pass.train.is_finite()) else {
            return Verdict::Unrelated;
        };
        if self.step < self.start_step {
            return Verdict::Fine;
        }
        let ratio = (pass.eval - pass.train) / pass.train;
        self.above = if ratio > self.ratio_threshold {
            self.above + 1
        } else {
            0
        };
        match self.above > self.patience {
            false => Verdict::Fine,
            true => Verdict::found(
                None,
                format!(
                    "the validation loss, {:.4}, is {:.0} % above the training loss, {:.4}, in {} validations in a row",
                    pass.eval,
                    100.0 * ratio,
                    pass.train,
                    self.above
                ),
            ),
        }
    }
}

impl Rule for Overfit {
    fn name(&self) -> &'static str {
        "Overfit"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("start_step", self.start_step.to_string()),
            ("patience", self.patience.to_string()),
            ("ratio_threshold", self.ratio_threshold.to_string()),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        self.passes.needs()
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        let Some(pass) = self.passes.step(step) else {
            return Verdict::Unrelated;
        };
        let verdict = self.judge(pass);
        self.step = step.global_step;
        verdict
    }

    fn end(&mut self) -> Verdict {
        let pass = self.passes.take();
        self.judge(pass)
    }

    fn advice(&self) -> &'static str {
        "add --augmentation crop or trivial, --label-smoothing 0.1, --mixup 0.2 or a larger --weight-decay; train fewer --epochs or set \
         --early-stopping-patience; more photos help most"
    }
}

/// Training that goes on although neither loss improves any more.
///
/// A loss improves where it falls `delta` below the best so far; both are means over a pass over the data.
pub struct Overtraining {
    patience_train: usize,
    patience_validation: usize,
    delta: f64,
    passes: Passes,
    train: Best,
    validation: Best,
}

/// The best loss so far and the passes since.
#[derive(Debug)]
struct Best {
    loss: f64,
    since: usize,
}

impl Best {
    fn new() -> Self {
        Best {
            loss: f64::INFINITY,
            since: 0,
        }
    }

    fn add(&mut self, loss: f64, delta: f64) {
        match loss < self.loss - delta {
            true => *self = Best { loss, since: 0 },
            false => self.since += 1,
        }
    }
}

impl Overtraining {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(Overtraining {
            patience_train: options.count("patience_train", 5)?,
            patience_validation: options.count("patience_validation", 10)?,
            delta: options.number("delta", 0.01)?,
            passes: Passes::new(expression(options, LOSSES)?),
            train: Best::new(),
            validation: Best::new(),
        })
    }

    fn judge(&mut self, pass: Option<Pass>) -> Verdict {
        let Some(pass) = pass else {
            return Verdict::Unrelated;
        };
        self.train.add(pass.train, self.delta);
        self.validation.add(pass.eval, self.delta);
        let over = self.train.since > self.patience_train
            && self.validation.since > self.patience_validation;
        match over {
            false => Verdict::Fine,
            true => Verdict::found(
                None,
                format!(
                    "the training loss has not improved by {0} on {1:.4} for {2} passes, the validation loss not on {3:.4} for {4}",
                    self.delta,
                    self.train.loss,
                    self.train.since,
                    self.validation.loss,
                    self.validation.since
                ),
            ),
        }
    }
}

impl Rule for Overtraining {
    fn name(&self) -> &'static str {
        "Overtraining"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("patience_train", self.patience_train.to_string()),
            ("patience_validation", self.patience_validation.to_string()),
            ("delta", self.delta.to_string()),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        self.passes.needs()
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        let pass = self.passes.step(step).flatten();
        self.judge(pass)
    }

    fn end(&mut self) -> Verdict {
        let pass = self.passes.take();
        self.judge(pass)
    }

    fn advice(&self) -> &'static str {
        "fewer --epochs would have done; --early-stopping-patience 5 ends such a run by itself"
    }
}
