//! The backward pass of a batch norm with what follows it.
//!
//! Input: the gradient of the output, and what the forward pass saved. Output: the gradients of scale, shift, input and shortcut.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{Moments, RowSums, SumBlock, block_rows, block_sums, sum_rows};
use crate::kernels::simd::{Isa, at, fma, load_part, stopped, store_part};

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
pub(in crate::kernels) fn join_sums(sums: &[f32], k: usize) -> GradientSums {
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
    pub(in crate::kernels) unsafe fn apply<S: Simd>(
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

impl WithSimd for SumBlock<'_, Products<'_>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: the rows exist.
        unsafe { sum_rows(simd, self.terms, self.rows, self.k, self.sums) }
    }
}
