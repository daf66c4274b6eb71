//! Figures of an evaluation, gathered image by image.
//!
//! Input: logits and targets. Output: [`Scores`] and, per class, [`ClassScores`].

use serde::Serialize;

use super::calibration::Calibration;

/// Counts of images by true class (row) and predicted class (column).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    num_classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    pub fn new(num_classes: usize) -> Self {
        Confusion {
            num_classes,
            counts: vec![0; num_classes * num_classes],
        }
    }

    pub fn count(&self, target: usize, predicted: usize) -> u64 {
        self.counts[target * self.num_classes + predicted]
    }

    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// One vector per true class.
    pub fn rows(&self) -> Vec<Vec<u64>> {
        self.counts
            .chunks(self.num_classes.max(1))
            .map(<[u64]>::to_vec)
            .collect()
    }

    fn add(&mut self, target: usize, predicted: usize) {
        self.counts[target * self.num_classes + predicted] += 1;
    }
}

/// Precision, recall and F1 of one class, as fractions; 0 where nothing was predicted or nothing was there, which is
/// what scikit-learn's `zero_division=0` gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// Images of the class.
    pub support: u64,
}

/// An image that was taken for another class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mistake {
    /// Position in the folder's list.
    pub index: usize,
    pub target: usize,
    pub predicted: usize,
    /// Probability of the predicted class.
    pub confidence: f64,
}

/// Mistakes that are kept: those that the model is surest of.
const MOST_MISTAKES: usize = 24;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    pub confusion: Confusion,
    pub calibration: Calibration,
    /// The surest first.
    pub mistakes: Vec<Mistake>,
    top_k: usize,
    images: u64,
    loss_sum: f64,
    correct: u64,
    correct_top_k: u64,
}

impl Scores {
    /// Nothing seen yet. With `top_k` at the number of classes or above every image counts as right, under the name that was asked for.
    pub fn new(num_classes: usize, top_k: usize) -> Self {
        Scores {
            confusion: Confusion::new(num_classes),
            calibration: Calibration::default(),
            mistakes: Vec::new(),
            top_k,
            images: 0,
            loss_sum: 0.0,
            correct: 0,
            correct_top_k: 0,
        }
    }

    /// Adds the image at a position of its folder's list, which is kept where it is a mistake.
    pub fn add_image(&mut self, logits: &[f32], target: usize, index: usize) {
        let (predicted, confidence) = self.add(logits, target);
        if predicted == target || !confidence.is_finite() {
            return;
        }
        let place = self
            .mistakes
            .partition_point(|other| other.confidence >= confidence);
        self.mistakes.insert(
            place,
            Mistake {
                index,
                target,
                predicted,
                confidence,
            },
        );
        self.mistakes.truncate(MOST_MISTAKES);
    }

    /// Adds one image; the class that was predicted and its probability come back. Ties rank the lower class first, as argmax does; a
    /// NaN ranks last.
    pub fn add(&mut self, logits: &[f32], target: usize) -> (usize, f64) {
        let better = |a: f32, b: f32| a > b || (b.is_nan() && !a.is_nan());
        let mut predicted = 0;
        for (class, logit) in logits.iter().enumerate() {
            if better(*logit, logits[predicted]) {
                predicted = class;
            }
        }
        let own = logits[target];
        let ahead = logits
            .iter()
            .enumerate()
            .filter(|(class, logit)| better(**logit, own) || (**logit == own && *class < target))
            .count();
        self.images += 1;
        self.loss_sum += cross_entropy(logits, target);
        self.correct += u64::from(predicted == target);
        self.correct_top_k += u64::from(ahead < self.top_k && !own.is_nan());
        self.confusion.add(target, predicted);
        let probabilities = softmax(logits);
        self.calibration.add(&probabilities, predicted, target);
        (predicted, probabilities[predicted])
    }

    pub fn images(&self) -> u64 {
        self.images
    }

    /// Mean cross-entropy in nats.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.images.max(1) as f64
    }

    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }

    /// `(k, accuracy)`.
    pub fn top_k(&self) -> (usize, f64) {
        (
            self.top_k,
            self.correct_top_k as f64 / self.images.max(1) as f64,
        )
    }

    /// Figures of each class in order.
    pub fn per_class(&self) -> Vec<ClassScores> {
        let classes = self.confusion.num_classes();
        let ratio = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
        (0..classes)
            .map(|class| {
                let hit = self.confusion.count(class, class);
                let support = (0..classes)
                    .map(|other| self.confusion.count(class, other))
                    .sum();
                let predicted = (0..classes)
                    .map(|other| self.confusion.count(other, class))
                    .sum();
                let (precision, recall) = (ratio(hit, predicted), ratio(hit, support));
                let sum = precision + recall;
                let f1 = if sum == 0.0 {
                    0.0
                } else {
                    2.0 * precision * recall / sum
                };
                ClassScores {
                    precision,
                    recall,
                    f1,
                    support,
                }
            })
            .collect()
    }
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits.iter().map(|x| f64::from(x - max).exp());
    let powers: Vec<f64> = powers.collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// Cross-entropy of one image in nats.
pub(crate) fn cross_entropy(logits: &[f32], target: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let sum: f64 = logits.iter().map(|x| (f64::from(*x) - max).exp()).sum();
    sum.ln() + max - f64::from(logits[target])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(rows: &[([f32; 3], usize)], top_k: usize) -> Scores {
        let mut scores = Scores::new(3, top_k);
        for (logits, target) in rows {
            scores.add(logits, *target);
        }
        scores
    }

    #[test]
    fn accuracy_top_k_and_confusion_count_images() {
        let s = scored(
            &[
                ([3.0, 1.0, 0.0], 0),
                ([3.0, 1.0, 0.0], 1),
                ([3.0, 1.0, 0.0], 2),
            ],
            2,
        );
        assert!((s.accuracy() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(s.top_k(), (2, 2.0 / 3.0));
        assert_eq!(s.confusion.rows(), [[1, 0, 0], [1, 0, 0], [1, 0, 0]]);
    }

    #[test]
    fn the_surest_mistakes_are_kept() {
        let mut scores = Scores::new(2, 1);
        for index in 0..40 {
            // Surer and surer that it is class 0; every other image is.
            scores.add_image(&[index as f32 / 10.0, 0.0], index % 2, index);
        }
        let kept: Vec<usize> = scores
            .mistakes
            .iter()
            .map(|mistake| mistake.index)
            .collect();
        assert_eq!(kept[..3], [39, 37, 35]);
        assert!(kept.len() == 20 && scores.mistakes[0].confidence > 0.97);
        assert_eq!(
            (scores.mistakes[0].target, scores.mistakes[0].predicted),
            (1, 0)
        );
    }

    #[test]
    fn loss_is_cross_entropy() {
        // PyTorch: F.cross_entropy(torch.tensor([[1., 2., 3.]]), torch.tensor([2])) = 0.40760597
        assert!((scored(&[([1.0, 2.0, 3.0], 2)], 1).loss() - 0.407_605_97).abs() < 1e-6);
        // Large logits neither overflow nor vanish.
        assert!(scored(&[([1000.0, 0.0, -1000.0], 0)], 1).loss().abs() < 1e-9);
    }

    #[test]
    fn per_class_figures_follow_the_definitions() {
        // Class 0: two images, one found; predicted three times.
        let s = scored(
            &[
                ([1.0, 0.0, 0.0], 0),
                ([0.0, 1.0, 0.0], 0),
                ([1.0, 0.0, 0.0], 1),
                ([1.0, 0.0, 0.0], 1),
            ],
            1,
        );
        let per_class = s.per_class();
        assert!((per_class[0].precision - 1.0 / 3.0).abs() < 1e-12);
        assert!((per_class[0].recall - 0.5).abs() < 1e-12);
        assert!((per_class[0].f1 - 0.4).abs() < 1e-12);
        assert_eq!(
            per_class[2],
            ClassScores {
                precision: 0.0,
                recall: 0.0,
                f1: 0.0,
                support: 0
            }
        );
    }

    #[test]
    fn nan_logits_are_never_a_hit_by_accident() {
        let s = scored(&[([f32::NAN, 1.0, 0.0], 0)], 1);
        assert_eq!((s.accuracy(), s.top_k().1), (0.0, 0.0));
    }

    #[test]
    fn top_k_keeps_its_name_where_there_are_fewer_classes() {
        assert_eq!(scored(&[([0.0, 1.0, 2.0], 0)], 5).top_k(), (5, 1.0));
    }
}
