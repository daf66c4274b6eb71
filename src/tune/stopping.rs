//! Which trials are not worth going on with.
//!
//! Input: the losses of a trial's epochs so far, lower being better, and those of the other trials. Output: whether to stop it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// When trials are stopped early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopRule {
    Never,
    /// SageMaker's: a trial is stopped where an epoch is worse than the median, over the trials that have ended, of their running
    /// averages up to the same epoch.
    Median,
    /// Asynchronous successive halving over `epochs`. Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning",
    /// 2020; like most programs this one stops a trial where the paper would pause it.
    Asha {
        epochs: usize,
    },
}

impl fmt::Display for StopRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopRule::Never => f.write_str("off"),
            StopRule::Median => f.write_str("median rule"),
            StopRule::Asha { epochs } => write!(f, "successive halving over {epochs} epochs"),
        }
    }
}

/// With fewer trials a median says little.
const LEAST_TRIALS: usize = 3;
/// One trial of so many goes on at each rung of successive halving.
const REDUCTION: usize = 3;

/// The losses of another trial's epochs.
#[derive(Clone, Copy, Debug)]
pub struct Curve<'a> {
    pub losses: &'a [f64],
    pub has_ended: bool,
}

impl StopRule {
    /// Whether a trial ends with the last of `losses`.
    pub fn stops(self, losses: &[f64], others: &[Curve]) -> bool {
        match (self, losses.last()) {
            (StopRule::Never, _) | (_, None) => false,
            (StopRule::Median, Some(now)) => below_median(*now, losses.len(), others),
            (StopRule::Asha { epochs }, Some(now)) => {
                is_rung(losses.len(), epochs) && loses_at_rung(*now, losses.len(), others)
            }
        }
    }

    /// The first epoch beyond `judged`, which were looked at before, with which a trial ends.
    pub fn first_stop(self, losses: &[f64], judged: usize, others: &[Curve]) -> Option<usize> {
        (judged + 1..=losses.len()).find(|epoch| self.stops(&losses[..*epoch], others))
    }
}

fn below_median(now: f64, epoch: usize, others: &[Curve]) -> bool {
    let ended = others.iter().filter(|curve| curve.has_ended);
    let reached = ended.filter(|curve| curve.losses.len() >= epoch);
    let mut averages: Vec<f64> = reached
        .map(|curve| curve.losses[..epoch].iter().sum::<f64>() / epoch as f64)
        .collect();
    averages.sort_by(f64::total_cmp);
    let count = averages.len();
    if count < LEAST_TRIALS {
        return false;
    }
    let median = (averages[(count - 1) / 2] + averages[count / 2]) / 2.0;
    now > median
}

/// Whether trials are compared after `epoch`: at 1, 3, 9, … and before the last.
fn is_rung(epoch: usize, epochs: usize) -> bool {
    let rungs = std::iter::successors(Some(1_usize), |rung| rung.checked_mul(REDUCTION));
    let mut reached = rungs.take_while(|rung| *rung <= epoch);
    epoch < epochs && reached.any(|rung| rung == epoch)
}

fn loses_at_rung(now: f64, epoch: usize, others: &[Curve]) -> bool {
    let there = others
        .iter()
        .filter_map(|curve| curve.losses.get(epoch - 1));
    let (mut count, mut better) = (1, 0);
    for other in there {
        count += 1;
        better += usize::from(*other < now);
    }
    better >= (count / REDUCTION).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(losses: &[f64]) -> Curve<'_> {
        Curve {
            losses,
            has_ended: true,
        }
    }

    #[test]
    fn the_median_of_running_averages() {
        // Running averages up to epoch 2: 0.8, 0.6, 0.5 and 0.3; their median is 0.55.
        let curves = [[1.0, 0.6], [0.8, 0.4], [0.6, 0.4], [0.4, 0.2]];
        let others: Vec<Curve> = curves.iter().map(|c| ended(c)).collect();
        assert!(StopRule::Median.stops(&[0.1, 0.56], &others));
        assert!(!StopRule::Median.stops(&[9.0, 0.54], &others));
        // Equal is not worse.
        assert!(!StopRule::Median.stops(&[9.0, 0.55], &others));
        // The first epoch's values are their own averages: the median is 0.7.
        assert_eq!(
            StopRule::Median.first_stop(&[0.6, 0.9], 0, &others),
            Some(2)
        );
        assert_eq!(
            StopRule::Median.first_stop(&[0.71, 0.1], 0, &others),
            Some(1)
        );
        assert_eq!(StopRule::Median.first_stop(&[0.71, 0.1], 1, &others), None);
        assert_eq!(StopRule::Median.first_stop(&[0.6, 0.1], 0, &others), None);
    }

    #[test]
    fn the_median_needs_trials_that_ended_and_got_so_far() {
        let short = [0.1];
        let long = [0.1, 0.1];
        let mut others = vec![ended(&long), ended(&long), ended(&short)];
        assert!(StopRule::Median.stops(&[9.0], &others));
        assert!(!StopRule::Median.stops(&[9.0, 9.0], &others));
        others.push(Curve {
            losses: &long,
            has_ended: false,
        });
        assert!(!StopRule::Median.stops(&[9.0, 9.0], &others));
        assert!(!StopRule::Never.stops(&[9.0], &others));
        assert!(!StopRule::Median.stops(&[], &others));
    }

    #[test]
    fn rungs_are_powers_of_three_before_the_end() {
        let rungs: Vec<usize> = (1..=20).filter(|epoch| is_rung(*epoch, 20)).collect();
        assert_eq!(rungs, [1, 3, 9]);
        assert!(!is_rung(9, 9) && !is_rung(1, 1));
    }

    #[test]
    fn the_best_third_of_a_rung_goes_on() {
        let rule = StopRule::Asha { epochs: 20 };
        let losses = [0.5, 0.4, 0.3, 0.2, 0.1];
        let firsts: Vec<[f64; 1]> = losses.iter().map(|loss| [*loss]).collect();
        let others = |count: usize| -> Vec<Curve> {
            let taken = firsts[..count].iter();
            taken
                .map(|losses| Curve {
                    losses,
                    has_ended: false,
                })
                .collect()
        };
        // Alone: it goes on. One of two, three, four and five: only the best.
        assert!(!rule.stops(&[9.0], &others(0)));
        assert!(rule.stops(&[0.6], &others(1)));
        assert!(!rule.stops(&[0.25], &others(3)));
        assert!(rule.stops(&[0.35], &others(3)));
        // Six have got there: the best two go on.
        assert!(!rule.stops(&[0.15], &others(5)));
        assert!(rule.stops(&[0.25], &others(5)));
        // Between rungs nothing is decided.
        assert!(!rule.stops(&[0.9, 0.9], &others(5)));
    }
}
