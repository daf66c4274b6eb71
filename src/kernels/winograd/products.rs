//! The multiplications between the transforms.
//!
//! Input: V with U, or with D. Output: tiles of the result (M is transformed back while it is in the cache), or dU.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::Grid;
use crate::kernels::epilogue::{Epilogue, finish};
use crate::kernels::gemm::{Columns, Panel, Rows, Samples, Segment, Sink, accumulate, multiply};
use crate::kernels::simd::{Shared, at, load, store};
use crate::kernels::tile::{Tile, output_tile};

/// V times one panel of U to M, and M to tiles of the output.
pub(super) struct OutputTiles<'a, T, const IN: usize, const OUT: usize> {
    pub(super) v: &'a [f32],
    pub(super) u: &'a [f32],
    pub(super) grid: Grid,
    /// The tile that V begins with, and how many it holds.
    pub(super) first: usize,
    pub(super) len: usize,
    /// Rows of V to work on.
    pub(super) rows: Range<usize>,
    pub(super) panel: usize,
    pub(super) width: usize,
    pub(super) epilogue: Epilogue<'a>,
    pub(super) m: Shared<'a>,
    pub(super) y: Shared<'a>,
    pub(super) tile: PhantomData<T>,
}

/// Writes rows one after another.
#[derive(Clone, Copy)]
pub(super) struct ToRows {
    pub(super) first: usize,
    pub(super) to: *mut f32,
}

impl<S: Simd> Sink<S> for ToRows {
    #[inline(always)]
    unsafe fn put<const V: usize>(self, simd: S, row: usize, values: [S::f32s; V]) {
        for (v, value) in values.into_iter().enumerate() {
            let at = ((row - self.first) * V + v) * S::F32_LANES;
            unsafe { store(simd, self.to.add(at), value) };
        }
    }
}

impl<T: Tile<IN, OUT>, const IN: usize, const OUT: usize> WithSimd for OutputTiles<'_, T, IN, OUT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (c, width, count) = (self.grid.shape.c, self.width, self.rows.len());
        for element in 0..IN * IN {
            let u = (self.panel * IN * IN + element) * c * width;
            // SAFETY: V, U and M hold what the sizes say, and M is this task's own.
            unsafe {
                let panel = Panel {
                    a: at(self.v, element * self.len * c, self.len * c),
                    rows: Rows::linear(c),
                    segments: &[Segment { a: 0, b: 0, len: c }],
                    b: at(self.u, u, c * width),
                };
                let sink = ToRows {
                    first: self.rows.start,
                    to: self.m.at(element * count * width, count * width),
                };
                multiply(simd, panel, self.rows.clone(), sink);
            }
        }
        let (oh, ow, k) = {
            let shape = &self.grid.shape;
            (shape.oh(), shape.ow(), shape.k)
        };
        for row in 0..count {
            let (image, line, column) = self.grid.place(self.first + self.rows.start + row);
            for lane in (0..width).step_by(S::F32_LANES) {
                let channel = self.panel * width + lane;
                let lanes = k.saturating_sub(channel).min(S::F32_LANES);
                if lanes == 0 {
                    break;
                }
                let mut m = [[simd.splat_f32s(0.0); IN]; IN];
                for (i, values) in m.iter_mut().enumerate() {
                    for (j, value) in values.iter_mut().enumerate() {
                        let place = ((i * IN + j) * count + row) * width + lane;
                        // SAFETY: a vector of M.
                        *value = unsafe { load(simd, self.m.at(place, S::F32_LANES)) };
                    }
                }
                let tile = output_tile::<S, T, IN, OUT>(simd, m);
                for (i, values) in tile.into_iter().enumerate() {
                    for (j, value) in values.into_iter().enumerate() {
                        let (y, x) = (line + i, column + j);
                        if y < oh && x < ow {
                            let place = ((image * oh + y) * ow + x) * k + channel;
                            // SAFETY: the panel's channels of this tile are written by this task alone.
                            unsafe {
                                finish(simd, self.epilogue, value, self.y, place, channel, lanes)
                            };
                        }
                    }
                }
            }
        }
    }
}

/// Some rows of dU for one element.
pub(super) struct Products<'a> {
    pub(super) v: &'a [f32],
    pub(super) d: &'a [f32],
    pub(super) c: usize,
    pub(super) k: usize,
    pub(super) tiles: usize,
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) du: Shared<'a>,
    pub(super) at: usize,
    pub(super) add: bool,
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        /// Tiles whose rows of V and of a panel of D stay in the first cache while all blocks use them.
        const TILES: usize = 96;
        for first in (0..self.tiles).step_by(TILES) {
            for panel in (0..self.k).step_by(self.width) {
                let columns = Columns {
                    a: self.v[first * self.c..].as_ptr(),
                    b: self.d[first * self.k + panel..].as_ptr(),
                    samples: Samples {
                        lines: 1,
                        width: TILES.min(self.tiles - first),
                        a: (0, self.c),
                        b: (0, self.k),
                    },
                    // SAFETY: these rows of dU belong to this task.
                    c: unsafe {
                        let len = (self.rows - 1) * self.k + self.width;
                        self.du.at(self.at + panel, len)
                    },
                    c_stride: self.k,
                    add: self.add || first > 0,
                };
                // SAFETY: V and D hold `tiles` rows of c and k channels.
                unsafe { accumulate(simd, columns, self.rows) };
            }
        }
    }
}
