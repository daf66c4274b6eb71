//! Rules: what to look for in the tensors of a run, as Amazon's built-in rules define it.
//!
//! Input: [`StepRecord`]s in order, live or from a stored trial. Output: [`RuleOutcome`]s: what was found, at which step, and what to
//! change. Names, parameters and defaults are those of the SageMaker Developer Guide, "List of Debugger built-in rules"; where a
//! definition there would fire on every healthy fine-tuning, the rule says what it does instead.

mod activations;
mod data;
mod engine;
mod initialization;
mod losses;
mod series;
mod similar;
mod spec;
mod stalled;
mod updates;
mod values;

use serde::Serialize;

pub use engine::{RuleOutcome, Rules, Status};
pub use spec::{RuleList, RuleSpec};

use super::collection::Collection;
use super::save::SaveConfig;
use super::tensor::{Entry, ModeKey, StepRecord};

/// What a rule makes of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The step holds nothing that the rule looks at.
    Unrelated,
    Fine,
    Found {
        /// The tensor in question.
        tensor: Option<String>,
        /// What was seen, with numbers.
        finding: String,
    },
}

impl Verdict {
    fn found(tensor: impl Into<Option<String>>, finding: String) -> Self {
        Verdict::Found {
            tensor: tensor.into(),
            finding,
        }
    }
}

/// Tensors that a rule looks at.
#[derive(Clone, Debug)]
pub struct Need {
    /// A regular expression for their names.
    pub pattern: String,
    /// Steps between two looks; `None` for the run's usual number.
    interval: Option<usize>,
    /// The first training step that is no longer looked at.
    end: Option<usize>,
    /// Whether training steps are of no interest.
    eval_only: bool,
}

impl Need {
    /// Now and then, in training and validation.
    fn of(pattern: &str) -> Self {
        Need {
            pattern: pattern.to_string(),
            interval: None,
            end: None,
            eval_only: false,
        }
    }

    fn every_step(pattern: &str) -> Self {
        Need {
            interval: Some(1),
            ..Need::of(pattern)
        }
    }

    fn every_validation_step(pattern: &str) -> Self {
        Need {
            eval_only: true,
            ..Need::every_step(pattern)
        }
    }

    /// Every step, but the first few only.
    fn first_steps(pattern: &str, steps: usize) -> Self {
        Need {
            end: Some(steps),
            ..Need::every_step(pattern)
        }
    }

    /// The collection that brings these tensors to the rule.
    pub fn collection(&self, rule: &str, interval: usize) -> Option<Collection> {
        let mut save = SaveConfig::every(self.interval.unwrap_or(interval));
        if let Some(end) = self.end {
            save = save.until(end);
        }
        if self.eval_only {
            save = save.without(ModeKey::Train);
        }
        let mut collection = Collection::empty(&format!("rule {rule}"), save);
        collection.include(&self.pattern).ok().map(|()| collection)
    }
}

/// Looks at steps one after the other.
pub trait Rule: Send {
    /// As Amazon spells it.
    fn name(&self) -> &'static str;

    /// The parameters in force, as `name: value`.
    fn parameters(&self) -> Vec<(&'static str, String)>;

    /// What it looks at.
    fn needs(&self) -> Vec<Need>;

    /// Looks at a step.
    fn step(&mut self, step: &StepRecord) -> Verdict;

    /// The run is over: a last look at what was gathered.
    fn end(&mut self) -> Verdict {
        Verdict::Unrelated
    }

    /// Called now and then in a run that is going on: `seconds` have passed since its last step.
    fn waiting(&mut self, _seconds: f64) -> Verdict {
        Verdict::Unrelated
    }

    /// What to change, in a sentence.
    fn advice(&self) -> &'static str;

    /// Whether this rule ends the training it fires in, whatever the action of the others is.
    fn stops_training(&self) -> bool {
        false
    }
}

/// A rule as an entry of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameter {
    pub name: String,
    pub value: String,
}

/// The entries of a step whose names match.
fn matching<'a>(
    step: &'a StepRecord,
    pattern: &'a fancy_regex::Regex,
) -> impl Iterator<Item = &'a Entry> {
    let entries = step.entries.iter();
    entries.filter(|entry| pattern.is_match(&entry.name).unwrap_or(false))
}
