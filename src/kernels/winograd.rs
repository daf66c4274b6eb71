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

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::gemm::{Columns, Panel, Rows, Samples, Segment, Sink, accumulate, multiply};
use super::scratch;
use super::shape::{ConvShape, Epilogue};
use super::simd::{Isa, Shared, at, load, load_part, relu, store, store_part};
use super::tile::{Tile, input_tile, output_adjoint_tile, output_tile, weights_adjoint_tile};

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

/// Tiles of images to V.
struct InputTiles<'a, T, const IN: usize, const OUT: usize> {
    x: &'a [f32],
    /// A pixel outside of the image.
    zeros: &'a [f32],
    grid: Grid,
    tiles: Range<usize>,
    /// The tile that V begins with, and how many it holds.
    first: usize,
    len: usize,
    channels: Range<usize>,
    v: Shared<'a>,
    tile: PhantomData<T>,
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
struct GradientTiles<'a, T, const IN: usize, const OUT: usize> {
    dy: &'a [f32],
    zeros: &'a [f32],
    grid: Grid,
    tiles: Range<usize>,
    first: usize,
    len: usize,
    k: usize,
    d: Shared<'a>,
    tile: PhantomData<T>,
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

/// V times one panel of U to M, and M to tiles of the output.
struct OutputTiles<'a, T, const IN: usize, const OUT: usize> {
    v: &'a [f32],
    u: &'a [f32],
    grid: Grid,
    /// The tile that V begins with, and how many it holds.
    first: usize,
    len: usize,
    /// Rows of V to work on.
    rows: Range<usize>,
    panel: usize,
    width: usize,
    epilogue: Epilogue<'a>,
    m: Shared<'a>,
    y: Shared<'a>,
    tile: PhantomData<T>,
}

/// Writes rows one after another.
#[derive(Clone, Copy)]
struct ToRows {
    first: usize,
    to: *mut f32,
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

/// Adds what `epilogue` says to `value` and writes it to `y` at `place`, whose channel is `channel`.
///
/// # Safety
/// `lanes` floats there must be the task's own, and inside of `y` and the shortcut.
#[inline(always)]
pub(super) unsafe fn finish<S: Simd>(
    simd: S,
    epilogue: Epilogue,
    mut value: S::f32s,
    y: Shared,
    place: usize,
    channel: usize,
    lanes: usize,
) {
    unsafe {
        if let Some(bias) = epilogue.bias {
            value = simd.add_f32s(value, load_part(simd, at(bias, channel, lanes), lanes));
        }
        if let Some(shortcut) = epilogue.shortcut {
            value = simd.add_f32s(value, load_part(simd, at(shortcut, place, lanes), lanes));
        }
        if epilogue.relu {
            value = relu(simd, value);
        }
        store_part(simd, y.at(place, lanes), value, lanes);
    }
}

/// Some rows of dU for one element.
struct Products<'a> {
    v: &'a [f32],
    d: &'a [f32],
    c: usize,
    k: usize,
    tiles: usize,
    rows: usize,
    width: usize,
    du: Shared<'a>,
    at: usize,
    add: bool,
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

/// dU to the gradient of the weights.
struct WeightTiles<'a, T, const IN: usize, const OUT: usize> {
    du: &'a [f32],
    c: usize,
    /// Channels of dU, of which `outputs` are real.
    k: usize,
    outputs: usize,
    panel: usize,
    width: usize,
    channels: Range<usize>,
    dw: Shared<'a>,
    tile: PhantomData<T>,
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
