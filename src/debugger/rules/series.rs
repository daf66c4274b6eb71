//! Losses of a run as series: of each step, and of each pass over the training and validation data.
//!
//! Input: steps. Output: the mean loss of a step, and of a pass when the other mode takes over.

use fancy_regex::Regex;

use super::{Need, matching};
use crate::debugger::reduction::{Operation, Reduction};
use crate::debugger::tensor::{ModeKey, StepRecord};

const MEAN: Reduction = Reduction {
    operation: Operation::Mean,
    abs: false,
};

/// The mean of the losses that a step holds.
pub fn loss_of(step: &StepRecord, pattern: &Regex) -> Option<(String, f64)> {
    let losses =
        matching(step, pattern).filter_map(|entry| Some((&entry.name, entry.reduced(MEAN)?)));
    let (mut name, mut sum, mut count) = (None, 0.0, 0);
    for (each, loss) in losses {
        name = name.or(Some(each.clone()));
        sum += loss;
        count += 1;
    }
    name.map(|name| (name, sum / f64::from(count)))
}

/// Means over passes: training since the last validation, and one validation.
#[derive(Debug)]
pub struct Passes {
    /// The losses' names.
    pattern: Regex,
    train: (f64, usize),
    eval: (f64, usize),
}

/// A validation pass and the training before it; NaN where a side saved nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    pub train: f64,
    pub eval: f64,
}

impl Passes {
    pub fn new(pattern: Regex) -> Self {
        Passes {
            pattern,
            train: (0.0, 0),
            eval: (0.0, 0),
        }
    }

    /// Losses now and then in training, where reading one stalls a GPU, and all of validation.
    pub fn needs(&self) -> Vec<Need> {
        let pattern = self.pattern.as_str();
        vec![Need::of(pattern), Need::every_validation_step(pattern)]
    }

    /// Takes the losses of a step, as [`Passes::add`] does; `None` where it has none.
    pub fn step(&mut self, step: &StepRecord) -> Option<Option<Pass>> {
        let (_, loss) = loss_of(step, &self.pattern)?;
        Some(self.add(step.mode, loss))
    }

    /// Takes a loss. The pass that ends with it, where the step is the first of training after validation.
    fn add(&mut self, mode: ModeKey, loss: f64) -> Option<Pass> {
        let ended = match mode {
            ModeKey::Eval => None,
            _ => self.take(),
        };
        let sum = match mode {
            ModeKey::Eval => &mut self.eval,
            _ => &mut self.train,
        };
        *sum = (sum.0 + loss, sum.1 + 1);
        ended
    }

    /// The pass under way, if there was any validation in it.
    pub fn take(&mut self) -> Option<Pass> {
        if self.eval.1 == 0 {
            return None;
        }
        let mean = |(sum, count): (f64, usize)| sum / count as f64;
        let pass = Pass {
            train: mean(self.train),
            eval: mean(self.eval),
        };
        (self.train, self.eval) = ((0.0, 0), (0.0, 0));
        Some(pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_ends_where_training_begins_again() {
        let mut passes = Passes::new(Regex::new("loss").unwrap());
        for (mode, loss) in [
            (ModeKey::Train, 2.0),
            (ModeKey::Train, 4.0),
            (ModeKey::Eval, 1.0),
        ] {
            assert_eq!(passes.add(mode, loss), None);
        }
        let first = passes.add(ModeKey::Train, 9.0);
        assert_eq!(
            first,
            Some(Pass {
                train: 3.0,
                eval: 1.0
            })
        );
        assert_eq!(passes.take(), None);
        passes.add(ModeKey::Eval, 5.0);
        assert_eq!(
            passes.take(),
            Some(Pass {
                train: 9.0,
                eval: 5.0
            })
        );
    }
}
