//! Batch normalisation, ReLU and residual addition in as few passes over memory as they need.
//!
//! Input: values `[rows, k]`, a row being a pixel and k the channels. Output: see each function. Sums over rows are taken
//! in blocks whose size depends on k alone, and the blocks are added in order in float64: neither the number of threads nor
//! their timing changes a result.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::simd::{Isa, Shared, at, fma, load_part, relu, stopped, store_part};

/// Vectors of channels that are summed side by side.
const SIDE: usize = 4;

/// Rows of a block.
fn block_rows(k: usize) -> usize {
    (16384 / k).max(16)
}

/// Mean and biased variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// `[k]`
    pub mean: Vec<f32>,
    /// `[k]`
    pub variance: Vec<f32>,
}

impl Moments {
    /// 1 over the deviation of each channel.
    pub fn precision(&self, epsilon: f64) -> Vec<f32> {
        let precision = |variance: &f32| 1.0 / (f64::from(*variance) + epsilon).sqrt();
        self.variance.iter().map(|v| precision(v) as f32).collect()
    }

    /// What a batch norm with these moments multiplies each channel by, and then adds.
    pub fn scale_shift(&self, gamma: &[f32], beta: &[f32], epsilon: f64) -> (Vec<f32>, Vec<f32>) {
        let scale = gamma
            .iter()
            .zip(&self.variance)
            .map(|(gamma, variance)| f64::from(*gamma) / (f64::from(*variance) + epsilon).sqrt());
        let scale: Vec<f64> = scale.collect();
        let shift = scale.iter().zip(beta).zip(&self.mean);
        let shift = shift.map(|((s, beta), mean)| (f64::from(*beta) - f64::from(*mean) * s) as f32);
        let shift = shift.collect();
        (scale.into_iter().map(|s| s as f32).collect(), shift)
    }
}

/// Two sums per channel over some rows.
pub(super) trait RowSums<S: Simd>: Copy {
    /// What row `row` adds to the sums of the `lanes` channels from `channel` on; the block begins with row `first`.
    ///
    /// # Safety
    /// The row and the channels must exist.
    unsafe fn terms(
        self,
        simd: S,
        first: usize,
        row: usize,
        channel: usize,
        lanes: usize,
    ) -> [S::f32s; 2];
}

/// Sums of a block, `[2, k]`.
///
/// # Safety
/// The rows must exist.
#[inline(always)]
unsafe fn sum_rows<S: Simd, R: RowSums<S>>(
    simd: S,
    terms: R,
    rows: Range<usize>,
    k: usize,
    sums: &mut [f32],
) {
    /// Rows that are added up before they join the sum: long sums of float32 lose digits.
    const RUN: usize = 32;
    let zero = simd.splat_f32s(0.0);
    for channel in (0..k).step_by(SIDE * S::F32_LANES) {
        let mut first = [zero; SIDE];
        let mut second = [zero; SIDE];
        for start in rows.clone().step_by(RUN) {
            let mut run = [[zero; 2]; SIDE];
            for row in start..rows.end.min(start + RUN) {
                for (v, sums) in run.iter_mut().enumerate() {
                    let channel = channel + v * S::F32_LANES;
                    if channel < k {
                        let lanes = (k - channel).min(S::F32_LANES);
                        let [a, b] = unsafe { terms.terms(simd, rows.start, row, channel, lanes) };
                        *sums = [simd.add_f32s(sums[0], a), simd.add_f32s(sums[1], b)];
                    }
                }
            }
            for (v, [a, b]) in run.into_iter().enumerate() {
                first[v] = simd.add_f32s(first[v], a);
                second[v] = simd.add_f32s(second[v], b);
            }
        }
        for v in 0..SIDE {
            let channel = channel + v * S::F32_LANES;
            if channel < k {
                let lanes = (k - channel).min(S::F32_LANES);
                // SAFETY: `sums` holds 2 * k floats.
                unsafe {
                    store_part(simd, sums[channel..k].as_mut_ptr(), first[v], lanes);
                    store_part(simd, sums[k + channel..].as_mut_ptr(), second[v], lanes);
                }
            }
        }
    }
}

/// The rows' distances from the block's first row and their squares: a shift near the mean keeps the difference of large
/// numbers out of the variance.
#[derive(Clone, Copy)]
struct Deviations<'a> {
    z: &'a [f32],
    k: usize,
}

impl<S: Simd> RowSums<S> for Deviations<'_> {
    #[inline(always)]
    unsafe fn terms(
        self,
        simd: S,
        first: usize,
        row: usize,
        channel: usize,
        lanes: usize,
    ) -> [S::f32s; 2] {
        unsafe {
            let value = load_part(simd, at(self.z, row * self.k + channel, lanes), lanes);
            let pivot = load_part(simd, at(self.z, first * self.k + channel, lanes), lanes);
            let deviation = simd.sub_f32s(value, pivot);
            [deviation, simd.mul_f32s(deviation, deviation)]
        }
    }
}

struct SumBlock<'a, R> {
    terms: R,
    rows: Range<usize>,
    k: usize,
    sums: &'a mut [f32],
}

impl WithSimd for SumBlock<'_, Deviations<'_>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: the rows exist.
        unsafe { sum_rows(simd, self.terms, self.rows, self.k, self.sums) }
    }
}

impl WithSimd for SumBlock<'_, Products<'_>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: the rows exist.
        unsafe { sum_rows(simd, self.terms, self.rows, self.k, self.sums) }
    }
}

/// The sums of all blocks, `[blocks, 2, k]`.
fn block_sums(
    rows: usize,
    k: usize,
    sum: impl Fn(Range<usize>, &mut [f32]) + Send + Sync,
) -> Vec<f32> {
    let block = block_rows(k);
    let mut sums = vec![0.0; rows.div_ceil(block) * 2 * k];
    sums.par_chunks_mut(2 * k)
        .enumerate()
        .for_each(|(i, sums)| {
            sum(i * block..rows.min((i + 1) * block), sums);
        });
    sums
}

/// Mean and variance of the channels of `z` `[rows, k]`.
///
/// # Panics
/// There are no rows, or the last one is not whole.
pub fn moments(isa: Isa, z: &[f32], k: usize) -> Moments {
    assert!(
        !z.is_empty() && z.len().is_multiple_of(k),
        "{} values, {k} channels",
        z.len()
    );
    let rows = z.len() / k;
    let sums = block_sums(rows, k, |rows, sums| {
        let terms = Deviations { z, k };
        isa.run(SumBlock {
            terms,
            rows,
            k,
            sums,
        });
    });
    let block = block_rows(k);
    let mut mean = vec![0.0f64; k];
    let mut squares = vec![0.0f64; k];
    // Chan, Golub and LeVeque's rule for joining two samples.
    for (i, sums) in sums.chunks(2 * k).enumerate() {
        let before = (i * block) as f64;
        let count = block.min(rows - i * block) as f64;
        let (per, share) = (1.0 / count, count / (before + count));
        let pivots = &z[i * block * k..][..k];
        for channel in 0..k {
            let (sum, square) = (f64::from(sums[channel]), f64::from(sums[k + channel]));
            let distance = f64::from(pivots[channel]) + sum * per - mean[channel];
            mean[channel] += distance * share;
            squares[channel] += square - sum * sum * per + distance * distance * before * share;
        }
    }
    Moments {
        mean: mean.into_iter().map(|v| v as f32).collect(),
        variance: (squares.into_iter())
            .map(|v| v / rows as f64)
            // Rounding may leave a little less than 0; NaN stays NaN.
            .map(|v| if v < 0.0 { 0.0 } else { v as f32 })
            .collect(),
    }
}

/// `z * scale + shift + shortcut`, then ReLU where asked; scale and shift are per channel.
///
/// # Panics
/// Lengths that don't fit together.
pub fn scale_shift(
    isa: Isa,
    z: &[f32],
    (scale, shift): (&[f32], &[f32]),
    shortcut: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    let k = scale.len();
    assert!(shift.len() == k && z.len() == y.len() && z.len().is_multiple_of(k));
    assert!(shortcut.is_none_or(|shortcut| shortcut.len() == z.len()));
    let block = block_rows(k) * k;
    y.par_chunks_mut(block).enumerate().for_each(|(i, y)| {
        let range = i * block..i * block + y.len();
        isa.run(ScaleShift {
            z: &z[range.clone()],
            scale,
            shift,
            shortcut: shortcut.map(|shortcut| &shortcut[range]),
            relu,
            y,
        });
    });
}

struct ScaleShift<'a> {
    z: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    shortcut: Option<&'a [f32]>,
    relu: bool,
    y: &'a mut [f32],
}

impl WithSimd for ScaleShift<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let k = self.scale.len();
        let y = Shared::new(self.y);
        for row in (0..self.z.len()).step_by(k) {
            for channel in (0..k).step_by(S::F32_LANES) {
                let lanes = (k - channel).min(S::F32_LANES);
                let place = row + channel;
                // SAFETY: all arrays hold whole rows of k channels.
                unsafe {
                    let z = load_part(simd, at(self.z, place, lanes), lanes);
                    let scale = load_part(simd, at(self.scale, channel, lanes), lanes);
                    let shift = load_part(simd, at(self.shift, channel, lanes), lanes);
                    let mut value = fma(simd, z, scale, shift);
                    if let Some(shortcut) = self.shortcut {
                        let shortcut = load_part(simd, at(shortcut, place, lanes), lanes);
                        value = simd.add_f32s(value, shortcut);
                    }
                    if self.relu {
                        value = relu(simd, value);
                    }
                    store_part(simd, y.at(place, lanes), value, lanes);
                }
            }
        }
    }
}

/// Sums over the rows that the gradients of a batch norm need.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientSums {
    /// Of the gradient of the output, `[k]`: the gradient of the shift.
    pub gradient: Vec<f32>,
    /// Of that times the distance of the input from its mean, `[k]`.
    pub product: Vec<f32>,
}

/// Products of gradients and deviations.
#[derive(Clone, Copy)]
struct Products<'a> {
    gradient: &'a [f32],
    output: Option<&'a [f32]>,
    z: &'a [f32],
    mean: &'a [f32],
    k: usize,
}

impl<S: Simd> RowSums<S> for Products<'_> {
    #[inline(always)]
    unsafe fn terms(
        self,
        simd: S,
        _: usize,
        row: usize,
        channel: usize,
        lanes: usize,
    ) -> [S::f32s; 2] {
        unsafe {
            let place = row * self.k + channel;
            let gradient = masked(simd, self.gradient, self.output, place, lanes);
            let z = load_part(simd, at(self.z, place, lanes), lanes);
            let mean = load_part(simd, at(self.mean, channel, lanes), lanes);
            [gradient, simd.mul_f32s(gradient, simd.sub_f32s(z, mean))]
        }
    }
}

/// The gradient behind a ReLU: 0 where the output was.
#[inline(always)]
unsafe fn masked<S: Simd>(
    simd: S,
    gradient: &[f32],
    output: Option<&[f32]>,
    place: usize,
    lanes: usize,
) -> S::f32s {
    unsafe {
        let gradient = load_part(simd, at(gradient, place, lanes), lanes);
        match output {
            None => gradient,
            Some(output) => stopped(
                simd,
                load_part(simd, at(output, place, lanes), lanes),
                gradient,
            ),
        }
    }
}

/// The sums, given the gradient of the output, the output if a ReLU made it (else `None`), the input `z` and its mean.
///
/// # Panics
/// Lengths that don't fit together.
pub fn gradient_sums(
    isa: Isa,
    gradient: &[f32],
    output: Option<&[f32]>,
    z: &[f32],
    mean: &[f32],
) -> GradientSums {
    let k = mean.len();
    assert!(gradient.len() == z.len() && z.len().is_multiple_of(k));
    assert!(output.is_none_or(|output| output.len() == z.len()));
    let sums = block_sums(z.len() / k, k, |rows, sums| {
        let terms = Products {
            gradient,
            output,
            z,
            mean,
            k,
        };
        isa.run(SumBlock {
            terms,
            rows,
            k,
            sums,
        });
    });
    join_sums(&sums, k)
}

/// Adds up the sums of blocks, `[blocks, 2, k]`.
pub(super) fn join_sums(sums: &[f32], k: usize) -> GradientSums {
    let mut total = vec![0.0f64; 2 * k];
    for sums in sums.chunks(2 * k) {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += f64::from(*sum);
        }
    }
    let mut total = total.into_iter().map(|v| v as f32);
    GradientSums {
        gradient: total.by_ref().take(k).collect(),
        product: total.collect(),
    }
}

/// The gradient of a batch norm's input as `gradient * of_gradient + z * of_input + constant`, each per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct InputGradient {
    pub of_gradient: Vec<f32>,
    pub of_input: Vec<f32>,
    pub constant: Vec<f32>,
}

impl InputGradient {
    /// Statistics that don't depend on the input: `scale` is gamma over the deviation.
    pub fn fixed(scale: &[f32]) -> Self {
        Self {
            of_gradient: scale.to_vec(),
            of_input: vec![0.0; scale.len()],
            constant: vec![0.0; scale.len()],
        }
    }

    /// Statistics of `rows` rows of the input itself (Ioffe and Szegedy, arXiv:1502.03167, section 3).
    pub fn of_batch(
        gamma: &[f32],
        moments: &Moments,
        epsilon: f64,
        sums: &GradientSums,
        rows: usize,
    ) -> Self {
        let mut result = Self::fixed(&vec![0.0; gamma.len()]);
        for (i, gamma) in gamma.iter().enumerate() {
            let precision = 1.0 / (f64::from(moments.variance[i]) + epsilon);
            let scale = f64::from(*gamma) * precision.sqrt();
            let gradient = f64::from(sums.gradient[i]) / rows as f64;
            let slope = f64::from(sums.product[i]) / rows as f64 * precision;
            result.of_gradient[i] = scale as f32;
            result.of_input[i] = (-scale * slope) as f32;
            result.constant[i] = (scale * (slope * f64::from(moments.mean[i]) - gradient)) as f32;
        }
        result
    }
}

/// Turns `z` into its gradient. With `keep`, `gradient` becomes what is left of it behind the ReLU: the shortcut's gradient.
///
/// # Panics
/// Lengths that don't fit together.
pub fn input_gradient(
    isa: Isa,
    gradient: &mut [f32],
    output: Option<&[f32]>,
    z: &mut [f32],
    terms: &InputGradient,
    keep: bool,
) {
    let k = terms.of_gradient.len();
    assert!(terms.of_input.len() == k && terms.constant.len() == k);
    assert!(gradient.len() == z.len() && z.len().is_multiple_of(k));
    assert!(output.is_none_or(|output| output.len() == z.len()));
    let block = block_rows(k) * k;
    let blocks = gradient.par_chunks_mut(block).zip(z.par_chunks_mut(block));
    blocks.enumerate().for_each(|(i, (gradient, z))| {
        isa.run(BackwardBlock {
            output: output.map(|output| &output[i * block..][..z.len()]),
            gradient,
            z,
            terms,
            keep,
        });
    });
}

struct BackwardBlock<'a> {
    gradient: &'a mut [f32],
    output: Option<&'a [f32]>,
    z: &'a mut [f32],
    terms: &'a InputGradient,
    keep: bool,
}

impl WithSimd for BackwardBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let k = self.terms.of_gradient.len();
        for row in (0..self.z.len()).step_by(k) {
            for channel in (0..k).step_by(S::F32_LANES) {
                let lanes = (k - channel).min(S::F32_LANES);
                let place = row + channel;
                // SAFETY: all arrays hold whole rows of k channels.
                unsafe {
                    let gradient = masked(simd, self.gradient, self.output, place, lanes);
                    let z = load_part(simd, at(self.z, place, lanes), lanes);
                    let value = self.terms.apply(simd, gradient, z, channel, lanes);
                    store_part(simd, self.z.as_mut_ptr().add(place), value, lanes);
                    if self.keep {
                        store_part(simd, self.gradient.as_mut_ptr().add(place), gradient, lanes);
                    }
                }
            }
        }
    }
}

impl InputGradient {
    /// # Safety
    /// `lanes` channels from `channel` on must exist.
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(
        &self,
        simd: S,
        gradient: S::f32s,
        z: S::f32s,
        channel: usize,
        lanes: usize,
    ) -> S::f32s {
        unsafe {
            let of_gradient = load_part(simd, at(&self.of_gradient, channel, lanes), lanes);
            let of_input = load_part(simd, at(&self.of_input, channel, lanes), lanes);
            let constant = load_part(simd, at(&self.constant, channel, lanes), lanes);
            let rest = fma(simd, of_input, z, constant);
            fma(simd, of_gradient, gradient, rest)
        }
    }
}

#[cfg(test)]
mod tests {
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
            let column = |values: &[f64]| -> Vec<f64> {
                values[channel..].iter().step_by(k).copied().collect()
            };
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
        let float64 =
            |values: &[f32]| -> Vec<f64> { values.iter().map(|v| f64::from(*v)).collect() };
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
}
