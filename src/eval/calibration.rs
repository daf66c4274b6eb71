//! Whether a model is as right as it is sure.
//!
//! Input: the probabilities of each image. Output: [`Calibration`]: the expected calibration error over 15 bins of equal width (Guo et
//! al., "On Calibration of Modern Neural Networks", 2017), the Brier score, and the bins for a picture.

use serde::Serialize;

/// Bins, as in the paper.
pub const BINS: usize = 15;

/// Images whose largest probability lies in a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    pub images: u64,
    /// Of those, how many are right.
    pub correct: u64,
    /// Sum of the largest probabilities.
    pub confidence_sum: f64,
}

impl Bin {
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images as f64
    }

    pub fn confidence(&self) -> f64 {
        self.confidence_sum / self.images as f64
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Calibration {
    pub bins: [Bin; BINS],
    brier_sum: f64,
}

impl Calibration {
    /// Adds an image: the probability of each class, the class predicted, the true one.
    pub fn add(&mut self, probabilities: &[f64], predicted: usize, target: usize) {
        let confidence = probabilities[predicted];
        if !confidence.is_finite() {
            return;
        }
        // Bins are open below and closed above, so that a probability of one lies in the last.
        let bin = (confidence * BINS as f64).ceil().max(1.0) as usize - 1;
        let bin = &mut self.bins[bin.min(BINS - 1)];
        bin.images += 1;
        bin.correct += u64::from(predicted == target);
        bin.confidence_sum += confidence;
        let error = |(class, p): (usize, &f64)| (p - f64::from(u8::from(class == target))).powi(2);
        self.brier_sum += probabilities.iter().enumerate().map(error).sum::<f64>();
    }

    pub fn images(&self) -> u64 {
        self.bins.iter().map(|bin| bin.images).sum()
    }

    /// Expected calibration error: the mean distance between accuracy and confidence, each bin by its images; 0 to 1.
    pub fn ece(&self) -> f64 {
        let filled = self.bins.iter().filter(|bin| bin.images > 0);
        let distance = |bin: &Bin| (bin.accuracy() - bin.confidence()).abs() * bin.images as f64;
        filled.map(distance).sum::<f64>() / self.images().max(1) as f64
    }

    /// Mean largest probability.
    pub fn confidence(&self) -> f64 {
        self.bins.iter().map(|bin| bin.confidence_sum).sum::<f64>() / self.images().max(1) as f64
    }

    /// Mean squared distance of the probabilities from the truth, summed over classes: 0 to 2.
    pub fn brier(&self) -> f64 {
        self.brier_sum / self.images().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_an_independent_computation() {
        // By hand: four images in four bins; sums of squares for the Brier score.
        let mut calibration = Calibration::default();
        for (probabilities, target) in [
            ([0.9, 0.06, 0.04], 0),
            ([0.6, 0.3, 0.1], 1),
            ([0.3, 0.5, 0.2], 1),
            ([0.02, 0.03, 0.95], 0),
        ] {
            let predicted = (0..3)
                .max_by(|a, b| f64::total_cmp(&probabilities[*a], &probabilities[*b]))
                .unwrap();
            calibration.add(&probabilities, predicted, target);
        }
        assert_eq!(calibration.images(), 4);
        let expected = (0.1 + 0.6 + 0.5 + 0.95) / 4.0;
        assert!(
            (calibration.ece() - expected).abs() < 1e-12,
            "{}",
            calibration.ece()
        );
        assert!((calibration.confidence() - 0.7375).abs() < 1e-12);
        let brier = (0.0152 + 0.86 + 0.38 + 1.8638) / 4.0;
        assert!(
            (calibration.brier() - brier).abs() < 1e-12,
            "{}",
            calibration.brier()
        );
    }

    #[test]
    fn certainty_lies_in_the_last_bin_and_what_is_no_number_in_none() {
        let mut calibration = Calibration::default();
        calibration.add(&[1.0, 0.0], 0, 0);
        calibration.add(&[f64::NAN, f64::NAN], 0, 0);
        assert_eq!(
            (calibration.bins[BINS - 1].images, calibration.images()),
            (1, 1)
        );
        assert_eq!((calibration.ece(), calibration.brier()), (0.0, 0.0));
        assert_eq!(Calibration::default().ece(), 0.0);
    }
}
