//! The two multiplications that every convolution here comes down to.
//!
//! Input: rows of a matrix `a` that may lie anywhere, and `b` packed into panels of [`Isa::panel`](super::Isa::panel) columns.
//! Output: blocks of the product, in registers, handed to a [`Sink`] row by row.
//!
//! ```text
//! multiply     row[i] = sum over segments s, j < s.len of  a[offset(i) + s.a + j] * b[s.b + j * panel ..]
//! accumulate   c[i]  += sum over samples p of              a[offset(p) + i]       * b[p * panel ..]
//! ```
//!
//! The first serves the forward pass and the gradient of the input, the second the gradient of the weights.

use std::ops::Range;

use pulp::Simd;

use super::simd::{fma, load, store};

/// A run of consecutive values in each row of `a`, with the rows of `b` that they meet; offsets in floats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub a: usize,
    pub b: usize,
    pub len: usize,
}

/// Where row `i` lies: rows come in lines of `width`, `stride` apart, and lines are `line_stride` apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub base: usize,
    pub width: u32,
    pub line_stride: usize,
    pub stride: usize,
}

impl Rows {
    /// Rows at equal distances.
    pub fn linear(stride: usize) -> Self {
        Self {
            base: 0,
            width: u32::MAX,
            line_stride: 0,
            stride,
        }
    }

    #[inline(always)]
    pub fn offset(&self, row: usize) -> usize {
        let row = row as u32;
        let (line, column) = (row / self.width, row % self.width);
        self.base + line as usize * self.line_stride + column as usize * self.stride
    }
}

/// Takes the finished rows of a product.
pub(super) trait Sink<S: Simd>: Copy {
    /// Row `row` of the product: `values` hold the columns of the panel.
    ///
    /// # Safety
    /// What the implementation writes must be its own to write.
    unsafe fn put<const V: usize>(self, simd: S, row: usize, values: [S::f32s; V]);
}

/// A panel of a product.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub a: *const f32,
    pub rows: Rows,
    pub segments: &'a [Segment],
    pub b: *const f32,
}

/// Computes `rows` of `panel` in register blocks of equal height.
///
/// # Safety
/// All that the offsets of `panel` name must be readable, and `sink` must be allowed to take these rows.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, K: Sink<S>>(
    simd: S,
    panel: Panel<'_>,
    rows: Range<usize>,
    sink: K,
) {
    // Heights that keep all sums and a row of `b` in registers: 32 with AVX-512 and NEON, 16 elsewhere.
    unsafe {
        match (S::F32_LANES, S::REGISTER_COUNT) {
            (16, _) => multiply_blocks::<S, K, 8, 2>(simd, panel, rows, sink),
            (8, _) => multiply_blocks::<S, K, 6, 2>(simd, panel, rows, sink),
            (_, 32) => multiply_blocks::<S, K, 6, 4>(simd, panel, rows, sink),
            _ => multiply_blocks::<S, K, 5, 2>(simd, panel, rows, sink),
        }
    }
}

#[inline(always)]
unsafe fn multiply_blocks<S: Simd, K: Sink<S>, const MOST: usize, const V: usize>(
    simd: S,
    panel: Panel<'_>,
    rows: Range<usize>,
    sink: K,
) {
    let (first, total) = (rows.start, rows.len());
    let blocks = total.div_ceil(MOST);
    for block in 0..blocks {
        let row = first + total * block / blocks;
        let height = first + total * (block + 1) / blocks - row;
        unsafe {
            match height {
                1 => multiply_block::<S, K, 1, V>(simd, panel, row, sink),
                2 => multiply_block::<S, K, 2, V>(simd, panel, row, sink),
                3 => multiply_block::<S, K, 3, V>(simd, panel, row, sink),
                4 => multiply_block::<S, K, 4, V>(simd, panel, row, sink),
                5 => multiply_block::<S, K, 5, V>(simd, panel, row, sink),
                6 if MOST >= 6 => multiply_block::<S, K, 6, V>(simd, panel, row, sink),
                7 if MOST >= 7 => multiply_block::<S, K, 7, V>(simd, panel, row, sink),
                _ => multiply_block::<S, K, MOST, V>(simd, panel, row, sink),
            }
        }
    }
}

#[inline(always)]
unsafe fn multiply_block<S: Simd, K: Sink<S>, const M: usize, const V: usize>(
    simd: S,
    panel: Panel<'_>,
    first: usize,
    sink: K,
) {
    let zero = simd.splat_f32s(0.0);
    let mut sums = [[zero; V]; M];
    let mut offsets = [0; M];
    for (i, offset) in offsets.iter_mut().enumerate() {
        *offset = panel.rows.offset(first + i);
    }
    for segment in panel.segments {
        let a = offsets.map(|offset| panel.a.wrapping_add(offset + segment.a));
        let mut b = panel.b.wrapping_add(segment.b);
        for j in 0..segment.len {
            let mut columns = [zero; V];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = unsafe { load(simd, b.add(v * S::F32_LANES)) };
            }
            for i in 0..M {
                let value = simd.splat_f32s(unsafe { *a[i].add(j) });
                for v in 0..V {
                    sums[i][v] = fma(simd, value, columns[v], sums[i][v]);
                }
            }
            b = b.wrapping_add(V * S::F32_LANES);
        }
    }
    for (i, values) in sums.into_iter().enumerate() {
        unsafe { sink.put(simd, first + i, values) };
    }
}

/// Samples of a product of columns: `lines` of `width` samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Samples {
    pub lines: usize,
    pub width: usize,
    /// Distance of lines and of samples in `a`.
    pub a: (usize, usize),
    /// The same in `b`.
    pub b: (usize, usize),
}

/// A block of a sum of outer products.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub a: *const f32,
    pub b: *const f32,
    pub samples: Samples,
    /// The sum's first row, and the distance of its rows.
    pub c: *mut f32,
    pub c_stride: usize,
    /// Whether `c` holds a sum to add to.
    pub add: bool,
}

/// Computes `rows` rows of one panel of the sum, `a`'s columns 0 to `rows`.
///
/// # Safety
/// All that the offsets name must be readable, and writable in `c`.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd>(simd: S, columns: Columns, rows: usize) {
    unsafe {
        match (S::F32_LANES, S::REGISTER_COUNT) {
            (16, _) => accumulate_blocks::<S, 14, 2>(simd, columns, rows),
            (8, _) => accumulate_blocks::<S, 6, 2>(simd, columns, rows),
            (_, 32) => accumulate_blocks::<S, 6, 4>(simd, columns, rows),
            _ => accumulate_blocks::<S, 5, 2>(simd, columns, rows),
        }
    }
}

#[inline(always)]
unsafe fn accumulate_blocks<S: Simd, const MOST: usize, const V: usize>(
    simd: S,
    columns: Columns,
    total: usize,
) {
    let blocks = total.div_ceil(MOST);
    for block in 0..blocks {
        let row = total * block / blocks;
        let height = total * (block + 1) / blocks - row;
        let columns = Columns {
            a: columns.a.wrapping_add(row),
            c: columns.c.wrapping_add(row * columns.c_stride),
            ..columns
        };
        unsafe {
            match height {
                1 => accumulate_block::<S, 1, V>(simd, columns),
                2 => accumulate_block::<S, 2, V>(simd, columns),
                3 => accumulate_block::<S, 3, V>(simd, columns),
                4 => accumulate_block::<S, 4, V>(simd, columns),
                5 => accumulate_block::<S, 5, V>(simd, columns),
                6 if MOST >= 6 => accumulate_block::<S, 6, V>(simd, columns),
                7 if MOST >= 7 => accumulate_block::<S, 7, V>(simd, columns),
                8 if MOST >= 8 => accumulate_block::<S, 8, V>(simd, columns),
                9 if MOST >= 9 => accumulate_block::<S, 9, V>(simd, columns),
                10 if MOST >= 10 => accumulate_block::<S, 10, V>(simd, columns),
                11 if MOST >= 11 => accumulate_block::<S, 11, V>(simd, columns),
                12 if MOST >= 12 => accumulate_block::<S, 12, V>(simd, columns),
                13 if MOST >= 13 => accumulate_block::<S, 13, V>(simd, columns),
                _ => accumulate_block::<S, MOST, V>(simd, columns),
            }
        }
    }
}

#[inline(always)]
unsafe fn accumulate_block<S: Simd, const M: usize, const V: usize>(simd: S, columns: Columns) {
    let samples = columns.samples;
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    if columns.add {
        for (i, row) in sums.iter_mut().enumerate() {
            for (v, sum) in row.iter_mut().enumerate() {
                let at = i * columns.c_stride + v * S::F32_LANES;
                *sum = unsafe { load(simd, columns.c.add(at)) };
            }
        }
    }
    for line in 0..samples.lines {
        let mut a = columns.a.wrapping_add(line * samples.a.0);
        let mut b = columns.b.wrapping_add(line * samples.b.0);
        for _ in 0..samples.width {
            let mut values = [simd.splat_f32s(0.0); V];
            for (v, value) in values.iter_mut().enumerate() {
                *value = unsafe { load(simd, b.add(v * S::F32_LANES)) };
            }
            for (i, row) in sums.iter_mut().enumerate() {
                let factor = simd.splat_f32s(unsafe { *a.add(i) });
                for v in 0..V {
                    row[v] = fma(simd, factor, values[v], row[v]);
                }
            }
            a = a.wrapping_add(samples.a.1);
            b = b.wrapping_add(samples.b.1);
        }
    }
    for (i, row) in sums.into_iter().enumerate() {
        for (v, sum) in row.into_iter().enumerate() {
            let at = i * columns.c_stride + v * S::F32_LANES;
            unsafe { store(simd, columns.c.add(at), sum) };
        }
    }
}
