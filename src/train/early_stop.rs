//! Which epoch is the best so far, and when to give up.
//!
//! Input: each epoch's validation figures. Output: whether it is the best, and whether to stop. Plain data that a
//! checkpoint carries.

use serde::{Deserialize, Serialize};

/// The best epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// From 1.
    pub epoch: usize,
    pub accuracy: f64,
    pub loss: f64,
}

/// Remembers the best epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BestSoFar {
    pub best: Option<Best>,
}

impl BestSoFar {
    /// Takes an epoch's figures; true where it is the best so far: higher accuracy, or equal accuracy with lower loss.
    /// A loss that is no number is never the best.
    pub fn offer(&mut self, epoch: usize, accuracy: f64, loss: f64) -> bool {
        let better = loss.is_finite()
            && self
                .best
                .as_ref()
                .is_none_or(|b| accuracy > b.accuracy || (accuracy == b.accuracy && loss < b.loss));
        if better {
            self.best = Some(Best {
                epoch,
                accuracy,
                loss,
            });
        }
        better
    }

    /// Whether `patience` epochs have passed since the best, and at least `min_epochs` in all.
    pub fn should_stop(&self, epoch: usize, patience: Option<usize>, min_epochs: usize) -> bool {
        let (Some(best), Some(patience)) = (&self.best, patience) else {
            return false;
        };
        epoch >= min_epochs && epoch >= best.epoch + patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_decides_and_loss_breaks_ties() {
        let mut so_far = BestSoFar::default();
        assert!(so_far.offer(1, 0.5, 1.0));
        assert!(so_far.offer(2, 0.5, 0.9));
        assert!(!so_far.offer(3, 0.5, 0.9));
        assert!(!so_far.offer(4, 0.4, 0.1));
        assert!(so_far.offer(5, 0.6, 9.0));
        assert_eq!(so_far.best.unwrap().epoch, 5);
    }

    #[test]
    fn a_diverged_epoch_is_never_the_best() {
        let mut so_far = BestSoFar::default();
        assert!(!so_far.offer(1, 0.9, f64::NAN));
        assert_eq!(so_far.best, None);
    }

    #[test]
    fn patience_counts_from_the_best_epoch_and_respects_the_minimum() {
        let mut so_far = BestSoFar::default();
        so_far.offer(1, 0.5, 1.0);
        assert!(!so_far.should_stop(2, Some(2), 1));
        assert!(so_far.should_stop(3, Some(2), 1));
        assert!(!so_far.should_stop(3, Some(2), 4));
        assert!(!so_far.should_stop(99, None, 1));
    }
}
