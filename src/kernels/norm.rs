//! Batch normalisation, ReLU and residual addition in as few passes over memory as they need.
//!
//! Input: values `[rows, k]`, a row being a pixel and k the channels. Output: see each function. Sums over rows are taken
//! in blocks whose size depends on k alone, and the blocks are added in order in float64: neither the number of threads nor
//! their timing changes a result.

mod gradient;

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

pub(super) use self::gradient::join_sums;
pub use self::gradient::{GradientSums, InputGradient, gradient_sums, input_gradient};
use super::simd::{Isa, Shared, at, fma, load_part, relu, store_part};

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

#[cfg(test)]
mod tests;
