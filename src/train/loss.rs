//! Cross-entropy with label smoothing, class weights and mixup, as PyTorch's `CrossEntropyLoss` defines it.
//!
//! Input: logits `[N, K]` and target classes. Output: the mean loss, a scalar tensor. The weighted target matrix is made
//! on the host, where it is a few kilobytes; the device sees one multiplication.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};

use crate::config::ClassWeights;
use crate::feed::Mix;

/// The loss of a run.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Weight of each class.
    weights: Vec<f64>,
    label_smoothing: f64,
}

impl Loss {
    /// `counts` holds the training images of each class.
    pub fn new(kind: ClassWeights, counts: &[usize], label_smoothing: f64) -> Self {
        let images: usize = counts.iter().sum();
        let weights = counts
            .iter()
            .map(|count| match kind {
                ClassWeights::None => 1.0,
                // scikit-learn's `class_weight="balanced"`; an absent class is never a target.
                ClassWeights::Balanced => images as f64 / (counts.len() * (*count).max(1)) as f64,
            })
            .collect();
        Loss {
            weights,
            label_smoothing,
        }
    }

    /// Mean loss over the batch. `mix` says how the inputs were blended.
    pub fn forward(&self, logits: Tensor<2>, targets: &[usize], mix: Option<&Mix>) -> Tensor<1> {
        let matrix = self.target_matrix(targets, mix);
        let shape = [targets.len(), self.weights.len()];
        let matrix = Tensor::<2>::from_data(TensorData::new(matrix, shape), &logits.device());
        (log_softmax(logits, 1) * matrix).sum().neg()
    }

    /// What each log-probability counts in the mean, row-major `[N, K]`.
    fn target_matrix(&self, targets: &[usize], mix: Option<&Mix>) -> Vec<f32> {
        let classes = self.weights.len();
        let mut hard = vec![0.0f64; targets.len() * classes];
        for (row, target) in targets.iter().enumerate() {
            match mix {
                None => hard[row * classes + target] = 1.0,
                Some(mix) => {
                    hard[row * classes + target] += mix.share;
                    hard[row * classes + targets[mix.partner[row]]] += 1.0 - mix.share;
                }
            }
        }
        // PyTorch divides by the weights of the true classes, smoothing left out.
        let total: f64 = hard
            .chunks(classes)
            .flat_map(|row| row.iter().zip(&self.weights))
            .map(|(q, w)| q * w)
            .sum();
        let spread = self.label_smoothing / classes as f64;
        hard.iter()
            .zip(self.weights.iter().cycle())
            .map(|(q, weight)| {
                ((q * (1.0 - self.label_smoothing) + spread) * weight / total) as f32
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    const LOGITS: [[f32; 3]; 2] = [[1.0, 2.0, 0.5], [0.2, -1.0, 3.0]];

    fn value(loss: &Loss, targets: &[usize], mix: Option<&Mix>) -> f32 {
        loss.forward(Tensor::from_floats(LOGITS, &Device::flex()), targets, mix)
            .into_scalar::<f32>()
    }

    #[test]
    fn plain_smoothed_and_weighted_losses_equal_pytorch() {
        // torch 2.x: F.cross_entropy(LOGITS, [1, 2]), then label_smoothing=0.1, then weight=[2, 1, 0.5] with both.
        let plain = Loss::new(ClassWeights::None, &[1, 1, 1], 0.0);
        assert!((value(&plain, &[1, 2], None) - 0.270_260).abs() < 1e-5);
        let smooth = Loss::new(ClassWeights::None, &[1, 1, 1], 0.1);
        assert!((value(&smooth, &[1, 2], None) - 0.425_260).abs() < 1e-5);
        let weighted = Loss {
            weights: vec![2.0, 1.0, 0.5],
            label_smoothing: 0.1,
        };
        assert!((value(&weighted, &[1, 2], None) - 0.617_951).abs() < 1e-5);
    }

    #[test]
    fn balanced_weights_give_each_class_the_same_total() {
        let loss = Loss::new(ClassWeights::Balanced, &[30, 10], 0.0);
        assert!((loss.weights[0] * 30.0 - loss.weights[1] * 10.0).abs() < 1e-9);
        assert!((loss.weights[0] * 30.0 + loss.weights[1] * 10.0 - 40.0).abs() < 1e-9);
    }

    #[test]
    fn mixup_is_the_weighted_mean_of_both_targets() {
        let loss = Loss::new(ClassWeights::None, &[1, 1, 1], 0.0);
        let mix = Mix {
            share: 0.7,
            partner: vec![1, 0],
        };
        let expected = 0.7 * value(&loss, &[1, 2], None) + 0.3 * value(&loss, &[2, 1], None);
        assert!((value(&loss, &[1, 2], Some(&mix)) - expected).abs() < 1e-6);
    }
}
