//! Random weights, as torchvision draws them.
//!
//! Input: a [`TensorSpec`] and a seeded generator. Output: its values, on the host. They are drawn
//! here and not on the device so that a seed means the same network on every device.

use std::f64::consts::TAU;

use rand::{RngExt, rngs::StdRng};

use super::layout::{Role, TensorSpec};

/// Draws one tensor, row-major: Kaiming normal over the fan-out for convolutions, 1 and 0 for
/// batch norms, uniform within `1/sqrt(fan_in)` for the classifier.
pub fn draw(spec: &TensorSpec, rng: &mut StdRng) -> Vec<f32> {
    let n = spec.num_elements();
    match spec.role {
        Role::ConvWeight { fan_out } => normal(n, (2.0 / fan_out as f64).sqrt(), rng),
        Role::NormWeight | Role::RunningVar => vec![1.0; n],
        Role::NormBias | Role::RunningMean => vec![0.0; n],
        Role::FcWeight { fan_in } | Role::FcBias { fan_in } => {
            uniform(n, 1.0 / (fan_in as f64).sqrt(), rng)
        }
    }
}

/// `n` values of a normal distribution with mean 0, by the Box-Muller transform.
fn normal(n: usize, standard_deviation: f64, rng: &mut StdRng) -> Vec<f32> {
    let mut values = Vec::with_capacity(n + 1);
    while values.len() < n {
        // `random` is in [0, 1); the logarithm needs (0, 1].
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * standard_deviation;
        let (sin, cos) = (TAU * rng.random::<f64>()).sin_cos();
        values.push((radius * cos) as f32);
        values.push((radius * sin) as f32);
    }
    values.truncate(n);
    values
}

fn uniform(n: usize, bound: f64, rng: &mut StdRng) -> Vec<f32> {
    (0..n)
        .map(|_| ((rng.random::<f64>() * 2.0 - 1.0) * bound) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn convolutions_are_normal_with_the_kaiming_deviation() {
        let spec = TensorSpec {
            name: "w".to_owned(),
            shape: vec![64, 64, 3, 3],
            role: Role::ConvWeight { fan_out: 64 * 9 },
        };
        let values = draw(&spec, &mut StdRng::seed_from_u64(1));
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let moment = |p: i32| values.iter().map(|v| f64::from(*v).powi(p)).sum::<f64>() / n;
        let variance = 2.0 / (64.0 * 9.0);
        assert!(mean.abs() < 1e-3, "{mean}");
        assert!((moment(2) / variance - 1.0).abs() < 0.03, "{}", moment(2));
        // The fourth moment tells a normal distribution (3) from a uniform one (1.8).
        let kurtosis = moment(4) / moment(2).powi(2);
        assert!((kurtosis - 3.0).abs() < 0.15, "{kurtosis}");
    }

    #[test]
    fn the_classifier_is_uniform_within_its_bound() {
        let spec = TensorSpec {
            name: "fc.weight".to_owned(),
            shape: vec![100, 64],
            role: Role::FcWeight { fan_in: 64 },
        };
        let values = draw(&spec, &mut StdRng::seed_from_u64(1));
        let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(largest <= 0.125 && largest > 0.12, "{largest}");
    }
}
