//! The running account of an epoch: losses and hits, read from the device a few steps late.
//!
//! Input: loss and logits of each batch, still on the device. Output: a [`Tally`]. Reading a number makes the host wait
//! for everything the device was asked to do; on a GPU that wait is paid once every few steps instead of at each.

use burn::tensor::Tensor;

use super::checkpoint::Tally;

/// Figures of a batch, not yet read.
pub struct Entry {
    pub loss: Tensor<1>,
    /// `[N, K]`.
    pub logits: Tensor<2>,
    pub targets: Vec<usize>,
}

/// Batches whose figures are under way, and the sums of those that are in.
pub struct Ledger {
    tally: Tally,
    pending: Vec<Entry>,
    lag: usize,
}

impl Ledger {
    pub fn new(tally: Tally, lag: usize) -> Self {
        Ledger {
            tally,
            pending: Vec::new(),
            lag: lag.max(1),
        }
    }

    pub fn push(&mut self, entry: Entry) {
        self.pending.push(entry);
    }

    /// Drops the last `entries`, which must not have been read yet.
    pub fn forget(&mut self, entries: usize) {
        let kept = self.pending.len().saturating_sub(entries);
        self.pending.truncate(kept);
    }

    /// Reads what is due, or everything with `all`. The mean loss of what was read; `None` where nothing was.
    pub fn settle(&mut self, all: bool) -> Option<f64> {
        if self.pending.is_empty() || (!all && self.pending.len() < self.lag) {
            return None;
        }
        let before = self.tally;
        for entry in std::mem::take(&mut self.pending) {
            self.add(entry);
        }
        let images = self.tally.images - before.images;
        Some((self.tally.loss_sum - before.loss_sum) / images.max(1) as f64)
    }

    pub fn tally(&self) -> Tally {
        self.tally
    }

    fn add(&mut self, entry: Entry) {
        let images = entry.targets.len();
        let loss = f64::from(entry.loss.into_scalar::<f32>());
        let predicted = entry.logits.argmax(1).into_data().convert::<i64>();
        let hits = predicted
            .iter::<i64>()
            .zip(&entry.targets)
            .filter(|(p, t)| *p == **t as i64)
            .count();
        self.tally.loss_sum += loss * images as f64;
        self.tally.correct += hits as u64;
        self.tally.images += images as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn entry(loss: f32, target: usize) -> Entry {
        let device = Device::flex();
        Entry {
            loss: Tensor::from_floats([loss], &device),
            logits: Tensor::from_floats([[0.0, 1.0]], &device),
            targets: vec![target],
        }
    }

    #[test]
    fn figures_wait_until_enough_are_due() {
        let mut ledger = Ledger::new(Tally::default(), 2);
        ledger.push(entry(1.0, 1));
        assert_eq!(ledger.settle(false), None);
        ledger.push(entry(3.0, 0));
        assert_eq!(ledger.settle(false), Some(2.0));
        assert_eq!(
            ledger.tally(),
            Tally {
                loss_sum: 4.0,
                correct: 1,
                images: 2
            }
        );
        ledger.push(entry(5.0, 1));
        assert_eq!(ledger.settle(true), Some(5.0));
        assert_eq!(ledger.settle(true), None);
    }

    #[test]
    fn what_is_forgotten_does_not_count() {
        let mut ledger = Ledger::new(Tally::default(), 9);
        for loss in [1.0, 5.0, 7.0] {
            ledger.push(entry(loss, 1));
        }
        ledger.forget(2);
        assert_eq!(ledger.settle(true), Some(1.0));
        assert_eq!(ledger.tally().images, 1);
    }

    #[test]
    fn a_loss_that_is_not_finite_shows() {
        let mut ledger = Ledger::new(Tally::default(), 1);
        ledger.push(entry(f32::NAN, 0));
        assert!(ledger.settle(false).unwrap().is_nan());
    }
}
