//! The transforms of tiles on their way into the multiplication, and of the weights' gradient on its way out.
//!
//! Input: images, or dU. Output: V and D, or the gradient of the weights.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::Grid;
use crate::kernels::shape::ConvShape;
use crate::kernels::simd::{Shared, at, load, load_part, store, store_part};
use crate::kernels::tile::{Tile, input_tile, output_adjoint_tile, weights_adjoint_tile};

/// Tiles of images to V.
pub(super) struct InputTiles<'a, T, const IN: usize, const OUT: usize> {
    pub(super) x: &'a [f32],
    /// A pixel outside of the image.
    pub(super) zeros: &'a [f32],
    pub(super) grid: Grid,
    pub(super) tiles: Range<usize>,
    /// The tile that V begins with, and how many it holds.
    pub(super) first: usize,
    pub(super) len: usize,
    pub(super) channels: Range<usize>,
    pub(super) v: Shared<'a>,
    pub(super) tile: PhantomData<T>,
}

impl<T: Tile<IN, OUT>, const IN: usize, const OUT: usize> WithSimd for InputTiles<'_, T, IN, OUT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ConvShape { h, w, c, pad, .. } = self.grid.shape;
        for tile in self.tiles.clone() {
            let (image, line, column) = self.grid.place(tile);
            let mut pixels = [[self.zeros.as_ptr(); IN]; IN];
            for (i, row) in pixels.iter_mut().enumerate() {
                for (j, pixel) in row.iter_mut().enumerate() {
                    let (y, x) = ((line + i).wrapping_sub(pad), (column + j).wrapping_sub(pad));
                    if y < h && x < w {
                        // SAFETY: a pixel inside of the image.
                        *pixel = unsafe { at(self.x, ((image * h + y) * w + x) * c, c) };
                    }
                }
            }
            for channel in self.channels.clone().step_by(S::F32_LANES) {
                let lanes = (self.channels.end - channel).min(S::F32_LANES);
                let mut d = [[simd.splat_f32s(0.0); IN]; IN];
                for (row, pixels) in d.iter_mut().zip(&pixels) {
                    for (value, pixel) in row.iter_mut().zip(pixels) {
                        // SAFETY: `channel + lanes` is at most c, the length of a pixel and of `zeros`.
                        *value = unsafe { load_part(simd, pixel.add(channel), lanes) };
                    }
                }
                let v = input_tile::<S, T, IN, OUT>(simd, d);
                for (i, row) in v.into_iter().enumerate() {
                    for (j, value) in row.into_iter().enumerate() {
                        let place = ((i * IN + j) * self.len + tile - self.first) * c + channel;
                        // SAFETY: these channels of this tile are written by this task alone.
                        unsafe { store_part(simd, self.v.at(place, lanes), value, lanes) };
                    }
                }
            }
        }
    }
}

/// Tiles of the output's gradient to D, whose channels are padded to `k`.
pub(super) struct GradientTiles<'a, T, const IN: usize, const OUT: usize> {
    pub(super) dy: &'a [f32],
    pub(super) zeros: &'a [f32],
    pub(super) grid: Grid,
    pub(super) tiles: Range<usize>,
    pub(super) first: usize,
    pub(super) len: usize,
    pub(super) k: usize,
    pub(super) d: Shared<'a>,
    pub(super) tile: PhantomData<T>,
}

impl<T: Tile<IN, OUT>, const IN: usize, const OUT: usize> WithSimd
    for GradientTiles<'_, T, IN, OUT>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (oh, ow, outputs) = {
            let shape = &self.grid.shape;
            (shape.oh(), shape.ow(), shape.k)
        };
        for tile in self.tiles.clone() {
            let (image, line, column) = self.grid.place(tile);
            let mut pixels = [[self.zeros.as_ptr(); OUT]; OUT];
            for (i, row) in pixels.iter_mut().enumerate() {
                for (j, pixel) in row.iter_mut().enumerate() {
                    let (y, x) = (line + i, column + j);
                    if y < oh && x < ow {
                        let place = ((image * oh + y) * ow + x) * outputs;
                        // SAFETY: a pixel inside of the image.
                        *pixel = unsafe { at(self.dy, place, outputs) };
                    }
                }
            }
            for channel in (0..self.k).step_by(S::F32_LANES) {
                let lanes = outputs.saturating_sub(channel).min(S::F32_LANES);
                let mut dy = [[simd.splat_f32s(0.0); OUT]; OUT];
                if lanes > 0 {
                    for (row, pixels) in dy.iter_mut().zip(&pixels) {
                        for (value, pixel) in row.iter_mut().zip(pixels) {
                            // SAFETY: `channel + lanes` is at most the length of a pixel and of `zeros`.
                            *value = unsafe { load_part(simd, pixel.add(channel), lanes) };
                        }
                    }
                }
                let d = output_adjoint_tile::<S, T, IN, OUT>(simd, dy);
                for (i, row) in d.into_iter().enumerate() {
                    for (j, value) in row.into_iter().enumerate() {
                        let row = (i * IN + j) * self.len + tile - self.first;
                        // SAFETY: this tile is written by this task alone; k is a multiple of a vector.
                        unsafe {
                            store(simd, self.d.at(row * self.k + channel, S::F32_LANES), value)
                        };
                    }
                }
            }
        }
    }
}

/// dU to the gradient of the weights.
pub(super) struct WeightTiles<'a, T, const IN: usize, const OUT: usize> {
    pub(super) du: &'a [f32],
    pub(super) c: usize,
    /// Channels of dU, of which `outputs` are real.
    pub(super) k: usize,
    pub(super) outputs: usize,
    pub(super) panel: usize,
    pub(super) width: usize,
    pub(super) channels: Range<usize>,
    pub(super) dw: Shared<'a>,
    pub(super) tile: PhantomData<T>,
}

impl<T: Tile<IN, OUT>, const IN: usize, const OUT: usize> WithSimd for WeightTiles<'_, T, IN, OUT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        /// Longest vector of any instruction set.
        const LONGEST: usize = 16;
        for channel in self.channels.clone() {
            for lane in (0..self.width).step_by(S::F32_LANES) {
                let output = self.panel * self.width + lane;
                let mut u = [[simd.splat_f32s(0.0); IN]; IN];
                for (i, row) in u.iter_mut().enumerate() {
                    for (j, value) in row.iter_mut().enumerate() {
                        let place = ((i * IN + j) * self.c + channel) * self.k + output;
                        // SAFETY: a vector of dU.
                        *value = unsafe { load(simd, at(self.du, place, S::F32_LANES)) };
                    }
                }
                let taps = weights_adjoint_tile::<S, T, IN, OUT>(simd, u);
                let mut values = [[0.0f32; LONGEST]; 9];
                for (i, row) in taps.into_iter().enumerate() {
                    for (j, value) in row.into_iter().enumerate() {
                        // SAFETY: no vector is longer than LONGEST.
                        unsafe { store(simd, values[i * 3 + j].as_mut_ptr(), value) };
                    }
                }
                for l in 0..S::F32_LANES.min(self.outputs.saturating_sub(output)) {
                    // SAFETY: this pair of channels belongs to this task.
                    let dw = unsafe { self.dw.slice(((output + l) * self.c + channel) * 9, 9) };
                    for (to, from) in dw.iter_mut().zip(&values) {
                        *to += from[l];
                    }
                }
            }
        }
    }
}
