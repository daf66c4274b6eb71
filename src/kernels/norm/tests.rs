//! Batch norm against float64 and finite differences.

use super::*;
use crate::kernels::reference::noise;

/// Rows enough for several blocks; channels that fill no vector.
const ROWS: usize = 3000;
const K: usize = 37;

/// Channel k has mean k * 10 and deviation about k + 1.
fn values() -> Vec<f32> {
    let noise = noise(ROWS * K, 1);
    let scale = |i: usize| (i % K) as f32;
    (noise.iter().enumerate())
        .map(|(i, v)| v * (scale(i) + 1.0) * 1.7 + scale(i) * 10.0)
        .collect()
}

fn column(values: &[f32], channel: usize) -> impl Iterator<Item = f64> {
    values[channel..].iter().step_by(K).map(|v| f64::from(*v))
}

fn close(found: f32, expected: f64, scale: f64) {
    assert!(
        (f64::from(found) - expected).abs() < 1e-5 * scale,
        "{found} {expected}"
    );
}

#[test]
fn moments_are_those_of_float64() {
    let z = values();
    for isa in Isa::available() {
        let moments = moments(isa, &z, K);
        for channel in 0..K {
            let mean = column(&z, channel).sum::<f64>() / ROWS as f64;
            let squares = column(&z, channel).map(|v| (v - mean).powi(2)).sum::<f64>();
            close(moments.mean[channel], mean, mean.abs().max(1.0));
            let variance = squares / ROWS as f64;
            close(moments.variance[channel], variance, variance);
        }
    }
}

#[test]
fn nan_is_not_hidden() {
    for isa in Isa::available() {
        let z = [1.0, f32::NAN, -1.0, 2.0];
        let moments = moments(isa, &z, 2);
        assert!(moments.mean[1].is_nan() && moments.variance[1].is_nan());
        assert_eq!((moments.mean[0], moments.variance[0]), (0.0, 1.0));
        let mut y = [0.0; 4];
        scale_shift(isa, &z, (&[1.0; 2], &[0.0; 2]), None, true, &mut y);
        assert!(y[1].is_nan() && y[0] == 1.0 && y[2] == 0.0, "{isa:?} {y:?}");
        let sums = gradient_sums(isa, &[1.0; 4], Some(&y), &[0.0; 4], &[0.0; 2]);
        assert_eq!(sums.gradient, [1.0, 2.0], "{isa:?}");
    }
}

#[test]
fn a_large_mean_does_not_drown_the_variance() {
    let z: Vec<f32> = (0..4000).map(|i| 10_000.0 + (i % 2) as f32).collect();
    let moments = moments(Isa::detect(), &z, 1);
    assert_eq!(moments.mean, [10_000.5]);
    close(moments.variance[0], 0.25, 0.25);
}

#[test]
fn one_row_has_no_variance() {
    let moments = moments(Isa::detect(), &[3.0, -1.0], 2);
    assert_eq!(
        (moments.mean, moments.variance),
        (vec![3.0, -1.0], vec![0.0; 2])
    );
}

#[test]
fn scale_shift_shortcut_and_relu() {
    let (z, shortcut) = (values(), noise(ROWS * K, 2));
    let (scale, shift) = (noise(K, 3), noise(K, 4));
    for isa in Isa::available() {
        for (shortcut, relu) in [(Some(&shortcut), true), (None, false)] {
            let mut y = vec![f32::NAN; z.len()];
            let added = shortcut.map(|s| s.as_slice());
            scale_shift(isa, &z, (&scale, &shift), added, relu, &mut y);
            for (i, y) in y.into_iter().enumerate() {
                let (scale, shift) = (f64::from(scale[i % K]), f64::from(shift[i % K]));
                let added = shortcut.map_or(0.0, |s| f64::from(s[i]));
                let expected = f64::from(z[i]) * scale + shift + added;
                close(y, if relu { expected.max(0.0) } else { expected }, 400.0);
            }
        }
    }
}

/// The loss is the sum of `weights * relu(norm(z) + shortcut)`, in float64.
fn loss(z: &[f64], gamma: &[f64], beta: &[f64], shortcut: &[f64], weights: &[f64]) -> f64 {
    let (k, rows) = (gamma.len(), z.len() / gamma.len());
    let mut loss = 0.0;
    for channel in 0..k {
        let column =
            |values: &[f64]| -> Vec<f64> { values[channel..].iter().step_by(k).copied().collect() };
        let (z, shortcut, weights) = (column(z), column(shortcut), column(weights));
        let mean = z.iter().sum::<f64>() / rows as f64;
        let variance = z.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / rows as f64;
        for row in 0..rows {
            let normal = (z[row] - mean) / (variance + EPSILON).sqrt();
            let output = gamma[channel] * normal + beta[channel] + shortcut[row];
            loss += weights[row] * output.max(0.0);
        }
    }
    loss
}

const EPSILON: f64 = 1e-3;

#[test]
fn gradients_are_finite_differences_of_float64() {
    let (rows, k) = (11, 3);
    let float64 = |values: &[f32]| -> Vec<f64> { values.iter().map(|v| f64::from(*v)).collect() };
    let (z, shortcut) = (noise(rows * k, 1), noise(rows * k, 2));
    let (gamma, beta, weights) = (noise(k, 3), noise(k, 4), noise(rows * k, 5));
    for isa in Isa::available() {
        let moments = moments(isa, &z, k);
        let (scale, shift) = moments.scale_shift(&gamma, &beta, EPSILON);
        let mut output = vec![0.0; z.len()];
        scale_shift(
            isa,
            &z,
            (&scale, &shift),
            Some(&shortcut),
            true,
            &mut output,
        );
        let sums = gradient_sums(isa, &weights, Some(&output), &z, &moments.mean);
        let terms = InputGradient::of_batch(&gamma, &moments, EPSILON, &sums, rows);
        let (mut dz, mut dshortcut) = (z.clone(), weights.clone());
        input_gradient(isa, &mut dshortcut, Some(&output), &mut dz, &terms, true);
        let precision = moments.precision(EPSILON);
        let dgamma: Vec<f32> = sums
            .product
            .iter()
            .zip(&precision)
            .map(|(s, p)| s * p)
            .collect();
        let inputs = [&z, &gamma, &beta, &shortcut, &weights].map(|v| float64(v));
        for (which, found) in [dz, dgamma, sums.gradient, dshortcut].iter().enumerate() {
            for (i, found) in found.iter().enumerate() {
                let nudged = |step: f64| {
                    let mut inputs = inputs.clone();
                    inputs[which][i] += step;
                    let [z, gamma, beta, shortcut, weights] = &inputs;
                    loss(z, gamma, beta, shortcut, weights)
                };
                let expected = (nudged(1e-6) - nudged(-1e-6)) / 2e-6;
                let scale = expected.abs().max(1.0);
                assert!(
                    (f64::from(*found) - expected).abs() < 2e-5 * scale,
                    "{isa:?}, input {which}, value {i}: {found} {expected}"
                );
            }
        }
    }
}
