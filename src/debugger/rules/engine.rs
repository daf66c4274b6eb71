//! Rules at work.
//!
//! Input: rules and steps. Output: an outcome for each rule, and each finding when it is made. A rule that has fired is not asked
//! again: as with Amazon's, its first finding is its result.

use serde::Serialize;

use super::{Parameter, Rule, Verdict};
use crate::debugger::tensor::StepRecord;

/// How a rule ended, in SageMaker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Status {
    IssuesFound,
    NoIssuesFound,
    /// No step held a tensor that the rule looks at.
    NothingToLookAt,
}

/// What became of a rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleOutcome {
    pub rule: String,
    pub status: Status,
    /// The global step of the finding.
    pub step: Option<usize>,
    /// The step within its mode, and the mode.
    pub mode_step: Option<(String, usize)>,
    pub tensor: Option<String>,
    /// What was seen; empty where nothing was.
    pub finding: String,
    /// What to change; empty where nothing needs to be.
    pub advice: String,
    /// Steps that the rule looked at.
    pub steps: usize,
    pub parameters: Vec<Parameter>,
    /// Expressions for the names of the tensors it looks at.
    pub looks_at: Vec<String>,
}

struct Running {
    rule: Box<dyn Rule>,
    outcome: RuleOutcome,
}

/// All rules of a run.
#[derive(Default)]
pub struct Rules {
    running: Vec<Running>,
}

impl Rules {
    pub fn new(rules: Vec<Box<dyn Rule>>) -> Self {
        let running = rules.into_iter().map(|rule| {
            let parameters = rule.parameters().into_iter();
            let outcome = RuleOutcome {
                rule: rule.name().to_string(),
                status: Status::NothingToLookAt,
                step: None,
                mode_step: None,
                tensor: None,
                finding: String::new(),
                advice: String::new(),
                steps: 0,
                parameters: parameters
                    .map(|(name, value)| Parameter {
                        name: name.to_string(),
                        value,
                    })
                    .collect(),
                looks_at: rule.needs().into_iter().map(|need| need.pattern).collect(),
            };
            Running { rule, outcome }
        });
        Rules {
            running: running.collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Shows a step to every rule; `found` is told what is found, and whether the rule ends the training.
    pub fn step(&mut self, step: &StepRecord, found: &mut dyn FnMut(&RuleOutcome, bool)) {
        self.ask(Some(step), found, |rule| rule.step(step));
    }

    /// No step has come for `seconds`.
    pub fn waiting(&mut self, seconds: f64, found: &mut dyn FnMut(&RuleOutcome, bool)) {
        self.ask(None, found, |rule| rule.waiting(seconds));
    }

    /// No more steps come.
    pub fn end(mut self, found: &mut dyn FnMut(&RuleOutcome, bool)) -> Vec<RuleOutcome> {
        self.ask(None, found, Rule::end);
        self.running.into_iter().map(|each| each.outcome).collect()
    }

    fn ask(
        &mut self,
        step: Option<&StepRecord>,
        found: &mut dyn FnMut(&RuleOutcome, bool),
        question: impl Fn(&mut (dyn Rule + 'static)) -> Verdict,
    ) {
        for Running { rule, outcome } in &mut self.running {
            if outcome.status == Status::IssuesFound {
                continue;
            }
            match question(rule.as_mut()) {
                Verdict::Unrelated => {}
                Verdict::Fine => {
                    outcome.steps += 1;
                    outcome.status = Status::NoIssuesFound;
                }
                Verdict::Found { tensor, finding } => {
                    outcome.steps += 1;
                    outcome.status = Status::IssuesFound;
                    outcome.step = step.map(|step| step.global_step);
                    outcome.mode_step =
                        step.map(|step| (step.mode.name().to_string(), step.mode_step));
                    outcome.tensor = tensor;
                    outcome.finding = finding;
                    outcome.advice = rule.advice().to_string();
                    found(outcome, rule.stops_training());
                }
            }
        }
    }
}
