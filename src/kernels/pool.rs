//! Max pooling, with the batch norm and ReLU in front of it.
//!
//! Input: values `[n, h, w, k]`. Output: `[n, oh, ow, k]` and, for training, which value of each window it was. The values
//! behind the batch norm are never stored: the stem's are the largest feature map of a ResNet.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::norm::{GradientSums, InputGradient, join_sums};
use super::simd::{Isa, Shared, at, fma, load_part, relu, store_part};

/// A pooling window that moves over images `[n, h, w, k]`, padded with values that never win.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub k: usize,
    /// Side of the window.
    pub window: usize,
    pub stride: usize,
    /// Less than the window's side.
    pub pad: usize,
}

impl PoolShape {
    /// Height of the output.
    pub fn oh(&self) -> usize {
        (self.h + 2 * self.pad - self.window) / self.stride + 1
    }

    /// Width of the output.
    pub fn ow(&self) -> usize {
        (self.w + 2 * self.pad - self.window) / self.stride + 1
    }

    /// Values of the input.
    pub fn input_len(&self) -> usize {
        self.n * self.h * self.w * self.k
    }

    /// Values of the output.
    pub fn output_len(&self) -> usize {
        self.n * self.oh() * self.ow() * self.k
    }

    /// Windows along one axis that hold `position`; there are `count` windows.
    #[inline(always)]
    fn windows(&self, position: usize, count: usize) -> Range<usize> {
        let end = (position + self.pad) / self.stride + 1;
        let start = (position + self.pad + self.stride).saturating_sub(self.window) / self.stride;
        start.min(count)..end.min(count)
    }
}

/// The largest value of each window of `relu(z * scale + shift)`, or of `z` as it is.
///
/// `places` gets for each result which value of its window it was, counted by lines, or -1 where the ReLU stopped it: no gradient
/// passes there. Of equal values the first wins, as in PyTorch.
///
/// # Panics
/// Lengths that don't fit together.
pub fn max_pool(
    isa: Isa,
    z: &[f32],
    shape: &PoolShape,
    scale_shift: Option<(&[f32], &[f32])>,
    y: &mut [f32],
    places: Option<&mut [f32]>,
) {
    assert!(z.len() == shape.input_len() && y.len() == shape.output_len());
    assert!(shape.pad < shape.window);
    assert!(
        scale_shift.is_none_or(|(scale, shift)| scale.len() == shape.k && shift.len() == shape.k)
    );
    assert!(places.as_ref().is_none_or(|places| places.len() == y.len()));
    let (y, places) = (Shared::new(y), places.map(Shared::new));
    (0..shape.n * shape.oh()).into_par_iter().for_each(|line| {
        isa.run(PoolLine {
            z,
            shape,
            scale_shift,
            line,
            y,
            places,
        });
    });
}

struct PoolLine<'a> {
    z: &'a [f32],
    shape: &'a PoolShape,
    scale_shift: Option<(&'a [f32], &'a [f32])>,
    line: usize,
    y: Shared<'a>,
    places: Option<Shared<'a>>,
}

impl WithSimd for PoolLine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let PoolShape {
            h,
            w,
            k,
            window,
            stride,
            pad,
            ..
        } = *self.shape;
        let (oh, ow) = (self.shape.oh(), self.shape.ow());
        let (image, top) = (self.line / oh, self.line % oh * stride);
        for column in 0..ow {
            for channel in (0..k).step_by(S::F32_LANES) {
                let lanes = (k - channel).min(S::F32_LANES);
                let mut best = simd.splat_f32s(f32::NEG_INFINITY);
                let mut place = simd.splat_f32s(-1.0);
                // SAFETY: only pixels inside of the image are read; this line is written by this task alone.
                unsafe {
                    let affine = self.scale_shift.map(|(scale, shift)| {
                        (
                            load_part(simd, at(scale, channel, lanes), lanes),
                            load_part(simd, at(shift, channel, lanes), lanes),
                        )
                    });
                    for i in 0..window {
                        for j in 0..window {
                            let y = (top + i).wrapping_sub(pad);
                            let x = (column * stride + j).wrapping_sub(pad);
                            if y >= h || x >= w {
                                continue;
                            }
                            let pixel = ((image * h + y) * w + x) * k + channel;
                            let mut value = load_part(simd, at(self.z, pixel, lanes), lanes);
                            if let Some((scale, shift)) = affine {
                                value = fma(simd, value, scale, shift);
                            }
                            let here = simd.splat_f32s((i * window + j) as f32);
                            let larger = simd.greater_than_f32s(value, best);
                            best = simd.select_f32s(larger, value, best);
                            place = simd.select_f32s(larger, here, place);
                            // NaN wins, and nothing is larger than it afterwards.
                            let number = simd.equal_f32s(value, value);
                            best = simd.select_f32s(number, best, value);
                            place = simd.select_f32s(number, place, here);
                        }
                    }
                    if affine.is_some() {
                        place = stopped_place(simd, best, place);
                        best = relu(simd, best);
                    }
                    let to = (self.line * ow + column) * k + channel;
                    store_part(simd, self.y.at(to, lanes), best, lanes);
                    if let Some(places) = self.places {
                        store_part(simd, places.at(to, lanes), place, lanes);
                    }
                }
            }
        }
    }
}

/// -1 where a ReLU stops `best`, else `place`.
#[inline(always)]
fn stopped_place<S: Simd>(simd: S, best: S::f32s, place: S::f32s) -> S::f32s {
    let stops = simd.less_than_or_equal_f32s(best, simd.splat_f32s(0.0));
    simd.select_f32s(stops, simd.splat_f32s(-1.0), place)
}

/// The mean of each channel over `pixels` pixels, `[n, pixels, k]` to `[n, k]`.
///
/// # Panics
/// Lengths that don't fit together.
pub fn average(x: &[f32], pixels: usize, k: usize, y: &mut [f32]) {
    assert!(x.len() == y.len() * pixels && y.len().is_multiple_of(k));
    for (image, mean) in x.chunks(pixels * k).zip(y.chunks_mut(k)) {
        mean.fill(0.0);
        for pixel in image.chunks(k) {
            mean.iter_mut()
                .zip(pixel)
                .for_each(|(sum, value)| *sum += value);
        }
        mean.iter_mut().for_each(|sum| *sum /= pixels as f32);
    }
}

/// The backward pass of [`max_pool`] with a batch norm in front.
#[derive(Clone, Copy)]
pub struct PoolGradient<'a> {
    pub shape: &'a PoolShape,
    /// Gradient of the output.
    pub gradient: &'a [f32],
    /// As [`max_pool`] wrote them.
    pub places: &'a [f32],
    /// Input of the batch norm.
    pub z: &'a [f32],
}

impl PoolGradient<'_> {
    /// The sums that the batch norm's gradients need; `mean` is that of `z`.
    ///
    /// # Panics
    /// Lengths that don't fit together.
    pub fn sums(self, isa: Isa, mean: &[f32]) -> GradientSums {
        self.check();
        assert_eq!(mean.len(), self.shape.k);
        let (lines, k) = (self.shape.n * self.shape.h, self.shape.k);
        let mut sums = vec![0.0; lines * 2 * k];
        sums.par_chunks_mut(2 * k)
            .enumerate()
            .for_each(|(line, sums)| {
                isa.run(SumLine {
                    pool: self,
                    mean,
                    line,
                    sums,
                });
            });
        join_sums(&sums, k)
    }

    /// The gradient of `z`, for some images: `dz` holds as many as `images` names.
    ///
    /// # Panics
    /// Lengths that don't fit together, or images that are not there.
    pub fn input_gradient(
        self,
        isa: Isa,
        terms: &InputGradient,
        images: Range<usize>,
        dz: &mut [f32],
    ) {
        let (h, line_len) = (self.shape.h, self.shape.w * self.shape.k);
        self.check();
        assert!(images.end <= self.shape.n && dz.len() == images.len() * h * line_len);
        let lengths = [&terms.of_gradient, &terms.of_input, &terms.constant].map(Vec::len);
        assert_eq!(lengths, [self.shape.k; 3]);
        dz.par_chunks_mut(line_len)
            .enumerate()
            .for_each(|(line, dz)| {
                let line = images.start * h + line;
                isa.run(GradientLine {
                    pool: self,
                    terms,
                    line,
                    dz,
                });
            });
    }

    fn check(&self) {
        assert_eq!(self.z.len(), self.shape.input_len());
        assert_eq!(self.gradient.len(), self.shape.output_len());
        assert_eq!(self.places.len(), self.shape.output_len());
    }

    /// The gradient that reaches a pixel of line `line` (counted through all images) from all windows that it won.
    #[inline(always)]
    unsafe fn reaching<S: Simd>(
        &self,
        simd: S,
        line: usize,
        x: usize,
        channel: usize,
        lanes: usize,
    ) -> S::f32s {
        let shape = self.shape;
        let (oh, ow) = (shape.oh(), shape.ow());
        let (image, y) = (line / shape.h, line % shape.h);
        let mut sum = simd.splat_f32s(0.0);
        for i in shape.windows(y, oh) {
            for j in shape.windows(x, ow) {
                let row = y + shape.pad - i * shape.stride;
                let here = row * shape.window + x + shape.pad - j * shape.stride;
                let from = ((image * oh + i) * ow + j) * shape.k + channel;
                unsafe {
                    let place = load_part(simd, at(self.places, from, lanes), lanes);
                    let gradient = load_part(simd, at(self.gradient, from, lanes), lanes);
                    let won = simd.equal_f32s(place, simd.splat_f32s(here as f32));
                    sum = simd.add_f32s(sum, simd.select_f32s(won, gradient, simd.splat_f32s(0.0)));
                }
            }
        }
        sum
    }
}

struct SumLine<'a> {
    pool: PoolGradient<'a>,
    mean: &'a [f32],
    line: usize,
    sums: &'a mut [f32],
}

impl WithSimd for SumLine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let PoolShape { w, k, .. } = *self.pool.shape;
        for channel in (0..k).step_by(S::F32_LANES) {
            let lanes = (k - channel).min(S::F32_LANES);
            let mut sums = [simd.splat_f32s(0.0); 2];
            // SAFETY: the line and the channels exist, and `sums` holds 2 * k floats.
            unsafe {
                let mean = load_part(simd, at(self.mean, channel, lanes), lanes);
                for x in 0..w {
                    let gradient = self.pool.reaching(simd, self.line, x, channel, lanes);
                    let place = (self.line * w + x) * k + channel;
                    let z = load_part(simd, at(self.pool.z, place, lanes), lanes);
                    sums[0] = simd.add_f32s(sums[0], gradient);
                    sums[1] = fma(simd, gradient, simd.sub_f32s(z, mean), sums[1]);
                }
                store_part(simd, self.sums[channel..k].as_mut_ptr(), sums[0], lanes);
                store_part(simd, self.sums[k + channel..].as_mut_ptr(), sums[1], lanes);
            }
        }
    }
}

struct GradientLine<'a> {
    pool: PoolGradient<'a>,
    terms: &'a InputGradient,
    line: usize,
    dz: &'a mut [f32],
}

impl WithSimd for GradientLine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let PoolShape { w, k, .. } = *self.pool.shape;
        let dz = Shared::new(self.dz);
        for x in 0..w {
            for channel in (0..k).step_by(S::F32_LANES) {
                let lanes = (k - channel).min(S::F32_LANES);
                // SAFETY: the line and the channels exist, and `dz` holds the line.
                unsafe {
                    let gradient = self.pool.reaching(simd, self.line, x, channel, lanes);
                    let place = (self.line * w + x) * k + channel;
                    let z = load_part(simd, at(self.pool.z, place, lanes), lanes);
                    let value = self.terms.apply(simd, gradient, z, channel, lanes);
                    store_part(simd, dz.at(x * k + channel, lanes), value, lanes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
