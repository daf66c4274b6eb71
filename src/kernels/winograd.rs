//! 3x3 convolutions of stride 1 by Winograd's minimal filtering.
//!
//! Input: images `[n, h, w, c]` and transformed weights. Output: `[n, oh, ow, k]`, or the gradient of the weights.
//!
//! ```text
//! tiles of x -> V[element][tile][c]    multiply by U[element][c][k]  -> M[element][tile][k] -> tiles of y
//! tiles of x -> V, tiles of dy -> D[element][tile][k]    dU[element][c][k] = sum over tiles of V * D -> dw
//! ```
//!
//! V and M of a block of tiles stay in a core's cache. Where there are too few blocks for all threads, the panels of k are
//! shared out instead.

mod products;
mod transforms;

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use self::products::{OutputTiles, Products};
use self::transforms::{GradientTiles, InputTiles, WeightTiles};
use super::epilogue::Epilogue;
use super::scratch;
use super::shape::ConvShape;
use super::simd::{Isa, Shared};
use super::tile::Tile;

/// The tiles that cover the output images.
#[derive(Clone, Copy)]
struct Grid {
    shape: ConvShape,
    /// Side of a tile's output.
    side: usize,
    lines: usize,
    columns: usize,
}

impl Grid {
    fn new(shape: &ConvShape, side: usize) -> Self {
        Self {
            shape: *shape,
            side,
            lines: shape.oh().div_ceil(side),
            columns: shape.ow().div_ceil(side),
        }
    }

    fn count(&self) -> usize {
        self.shape.n * self.lines * self.columns
    }

    /// Image, and first line and column of the output, of a tile.
    #[inline(always)]
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (line, column) = (tile / self.columns, tile % self.columns);
        let (image, line) = (line / self.lines, line % self.lines);
        (image, line * self.side, column * self.side)
    }
}

/// Tiles of a block: few enough for V and M to stay in a core's second cache, and enough to use each weight often.
fn block_len(shape: &ConvShape) -> usize {
    match shape.c {
        0..=96 => 28,
        97..=384 => 48,
        _ => 64,
    }
}

/// The convolution of `x` with transformed weights `u`.
pub(super) fn forward<T: Tile<IN, OUT>, const IN: usize, const OUT: usize>(
    isa: Isa,
    x: &[f32],
    shape: &ConvShape,
    u: &[f32],
    epilogue: Epilogue,
    y: &mut [f32],
) {
    let grid = Grid::new(shape, OUT);
    let width = isa.panel();
    let panels = shape.k.div_ceil(width);
    let zeros = vec![0.0; shape.c];
    let threads = rayon::current_num_threads();
    let y = Shared::new(y);
    let input = |v: Shared, tiles: Range<usize>, first: usize, len: usize, channels| {
        isa.run(InputTiles::<T, IN, OUT> {
            x,
            zeros: &zeros,
            grid,
            tiles,
            first,
            len,
            channels,
            v,
            tile: PhantomData,
        });
    };
    let output = |v: &[f32], first: usize, len: usize, rows: Range<usize>, panel: usize| {
        scratch::with(IN * IN * rows.len() * width, |m| {
            isa.run(OutputTiles::<T, IN, OUT> {
                v,
                u,
                grid,
                first,
                len,
                rows,
                panel,
                width,
                epilogue,
                m: Shared::new(m),
                y,
                tile: PhantomData,
            });
        });
    };
    let tiles = grid.count();
    let block = block_len(shape);
    let blocks = tiles.div_ceil(block);
    let bounds = |i: usize| tiles * i / blocks..tiles * (i + 1) / blocks;
    if threads == 1 || blocks >= 3 * threads {
        (0..blocks).into_par_iter().for_each(|i| {
            let tiles = bounds(i);
            let (first, len) = (tiles.start, tiles.len());
            scratch::with(IN * IN * len * shape.c, |v| {
                input(Shared::new(v), tiles, first, len, 0..shape.c);
                (0..panels).for_each(|panel| output(v, first, len, 0..len, panel));
            });
        });
        return;
    }
    // Few tiles: all of them are transformed first, then the panels are shared out.
    const CHANNELS: usize = 64;
    let chunks = shape.c.div_ceil(CHANNELS);
    let lines = tiles.div_ceil(grid.columns);
    scratch::with(IN * IN * tiles * shape.c, |v| {
        let shared = Shared::new(v);
        (0..lines * chunks).into_par_iter().for_each(|task| {
            let (line, first) = (task / chunks, task % chunks * CHANNELS);
            let range = line * grid.columns..tiles.min((line + 1) * grid.columns);
            input(
                shared,
                range,
                0,
                tiles,
                first..shape.c.min(first + CHANNELS),
            );
        });
        let v = &*v;
        (0..blocks * panels).into_par_iter().for_each(|task| {
            output(v, 0, tiles, bounds(task / panels), task % panels);
        });
    });
}

/// Adds the gradient of the weights `[k, c, 3, 3]` to `dw`, given the input and the gradient of the output.
pub(super) fn weight_gradient<T: Tile<IN, OUT>, const IN: usize, const OUT: usize>(
    isa: Isa,
    x: &[f32],
    shape: &ConvShape,
    dy: &[f32],
    dw: &mut [f32],
) {
    /// Tiles whose transforms are held at a time, in floats: a part of the third cache.
    const CHUNK: usize = 2 << 20;
    /// But never fewer tiles than this: each chunk reads and writes all of dU.
    const LEAST: usize = 128;
    let grid = Grid::new(shape, OUT);
    let width = isa.panel();
    let panels = shape.k.div_ceil(width);
    let (c, k) = (shape.c, panels * width);
    let zeros = vec![0.0; c.max(k)];
    let tiles = grid.count();
    let chunk = (CHUNK / (IN * IN * (c + k))).max(LEAST).min(tiles);
    let chunks = tiles.div_ceil(chunk);
    let chunk = tiles.div_ceil(chunks);
    scratch::with(IN * IN * c * k, |du| {
        scratch::with(IN * IN * chunk * c, |v| {
            scratch::with(IN * IN * chunk * k, |d| {
                for first in (0..tiles).step_by(chunk) {
                    let len = chunk.min(tiles - first);
                    let (v_out, d_out) = (Shared::new(v), Shared::new(d));
                    let lines = len.div_ceil(8);
                    (0..2 * lines).into_par_iter().for_each(|task| {
                        let start = first + task / 2 * 8;
                        let tiles = start..(start + 8).min(first + len);
                        match task % 2 {
                            0 => isa.run(InputTiles::<T, IN, OUT> {
                                x,
                                zeros: &zeros,
                                grid,
                                tiles,
                                first,
                                len,
                                channels: 0..c,
                                v: v_out,
                                tile: PhantomData,
                            }),
                            _ => isa.run(GradientTiles::<T, IN, OUT> {
                                dy,
                                zeros: &zeros,
                                grid,
                                tiles,
                                first,
                                len,
                                k,
                                d: d_out,
                                tile: PhantomData,
                            }),
                        }
                    });
                    sum_products(isa, IN * IN, (&v[..], c), (&d[..], k), len, first > 0, du);
                }
            });
        });
        let into = Shared::new(dw);
        const CHANNELS: usize = 16;
        let chunks = c.div_ceil(CHANNELS);
        (0..panels * chunks).into_par_iter().for_each(|task| {
            let first = task % chunks * CHANNELS;
            isa.run(WeightTiles::<T, IN, OUT> {
                du,
                c,
                k,
                outputs: shape.k,
                panel: task / chunks,
                width,
                channels: first..c.min(first + CHANNELS),
                dw: into,
                tile: PhantomData,
            });
        });
    });
}

/// `du[element][c][k]` = or += the sum over tiles of `v[element][tile][c] * d[element][tile][k]`.
fn sum_products(
    isa: Isa,
    elements: usize,
    (v, c): (&[f32], usize),
    (d, k): (&[f32], usize),
    tiles: usize,
    add: bool,
    du: &mut [f32],
) {
    /// Rows of dU in a task.
    const ROWS: usize = 64;
    let chunks = c.div_ceil(ROWS);
    let du = Shared::new(du);
    (0..elements * chunks).into_par_iter().for_each(|task| {
        let (element, first) = (task / chunks, task % chunks * ROWS);
        isa.run(Products {
            v: &v[element * tiles * c..][first..tiles * c],
            d: &d[element * tiles * k..][..tiles * k],
            c,
            k,
            tiles,
            rows: ROWS.min(c - first),
            width: isa.panel(),
            du,
            at: (element * c + first) * k,
            add,
        });
    });
}
