//! Convolutions as products of matrices: the kernels that lay out one side of them.
//!
//! Input: images `[n, h, w, c]`, and weights. Output: rows with the neighbourhood of each result, and back; and weights in the order in
//! which the threads of a warp want them.

use cubecl::prelude::*;

use super::places::{Divisor, TILE, divided};

/// The neighbourhood of each result of a convolution as a row: `rows[n, oh, ow, (tap, c)]`, the columns filled up with zeros to a
/// multiple of eight. `x` is `[n, h, w, c]`.
#[cube(launch)]
pub(super) fn gather<E: Float, N: Size>(
    x: &[E],
    rows: &mut [Vector<E, N>],
    columns: &Divisor,
    width: &Divisor,
    height: &Divisor,
    channels: &Divisor,
    side: &Divisor,
    taps: u32,
    x_height: u32,
    x_width: u32,
    total: usize,
    #[comptime] stride: u32,
    #[comptime] pad: u32,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= total {
        terminate!();
    }
    let (row, column) = divided(ABSOLUTE_POS as u32, columns);
    let (row, ox) = divided(row, width);
    let (image, oy) = divided(row, height);
    let mut value = Vector::<E, N>::new(E::from_int(0));
    #[unroll]
    for i in 0..N::value() {
        let (tap, c) = divided(column * N::value() as u32 + i as u32, channels);
        let (down, right) = divided(tap, side);
        // Below 0 they wrap around and are too large.
        let y = oy * stride + down - pad;
        let x_at = ox * stride + right - pad;
        if tap < taps && y < x_height && x_at < x_width {
            let at = ((image * x_height + y) * x_width + x_at) * channels.divisor + c;
            value.insert(i, x[at as usize]);
        }
    }
    rows[ABSOLUTE_POS] = value;
}

/// Pixels of three channels as pixels of four, two in a vector.
#[cube(launch)]
pub(super) fn widen<E: Float, N: Size>(
    x: &[E],
    wide: &mut [Vector<E, N>],
    total: usize,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= total {
        terminate!();
    }
    let mut value = Vector::<E, N>::new(E::from_int(0));
    #[unroll]
    for pixel in 0..2usize {
        #[unroll]
        for c in 0..3usize {
            value.insert(
                comptime!(pixel * 4 + c),
                x[ABSOLUTE_POS * 6 + comptime!(pixel * 3 + c)],
            );
        }
    }
    wide[ABSOLUTE_POS] = value;
}

/// The reverse of [`gather`]: what the rows add up to at each pixel. `x` is `[n, h, w, c]`, contiguous, `vectors` vectors a pixel.
#[cube(launch)]
pub(super) fn scatter<E: Float, N: Size>(
    rows: &[Vector<E, N>],
    x: &mut [Vector<E, N>],
    vectors: &Divisor,
    width: &Divisor,
    height: &Divisor,
    stride: &Divisor,
    columns: u32,
    out_height: u32,
    out_width: u32,
    total: usize,
    #[comptime] side: u32,
    #[comptime] pad: u32,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= total {
        terminate!();
    }
    let (pixel, vector) = divided(ABSOLUTE_POS as u32, vectors);
    let (row, px) = divided(pixel, width);
    let (image, py) = divided(row, height);
    let mut sum = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for down in 0..side {
        #[unroll]
        for right in 0..side {
            let (oy, off_y) = divided(py + pad - down, stride);
            let (ox, off_x) = divided(px + pad - right, stride);
            let inside = py + pad >= down && px + pad >= right && oy < out_height && ox < out_width;
            if inside && off_y == 0 && off_x == 0 {
                let result = (image * out_height + oy) * out_width + ox;
                let column = comptime!(down * side + right) * vectors.divisor + vector;
                sum += Vector::cast_from(rows[(result * columns + column) as usize]);
            }
        }
    }
    x[ABSOLUTE_POS] = Vector::cast_from(sum);
}

/// What a packed weight is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// From input to output channels.
    Forward,
    /// From output to input channels, taps turned round: the gradient of the input.
    Backward,
    /// As `Forward`; the columns of the input are taps by channels.
    GatheredForward,
    /// As `Backward`, to such columns.
    GatheredBackward,
    /// As `Forward`; the columns are those of [`Source::Stem`](super::places::Source::Stem).
    Stem,
}

/// Weights `[k, c, tap]` in the order in which [`convolve`](super::conv_kernels::convolve) reads them: for every tile of outputs and of
/// inputs, tap, slice of 16 inputs and 16 outputs, the eight values of each of 32 threads.
#[cube(launch)]
pub(super) fn pack<E: Float, N: Size>(
    weight: &[f32],
    packed: &mut [Vector<E, N>],
    in_tiles: usize,
    taps: usize,
    c_count: usize,
    kernel_taps: usize,
    total: usize,
    #[comptime] role: Role,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= total {
        terminate!();
    }
    let lane = ABSOLUTE_POS % 32;
    let block = ABSOLUTE_POS / 32;
    let pair = block % 4;
    let slice = block / 4 % 4;
    let tap = block / 16 % taps;
    let in_tile = block / 16 / taps % in_tiles;
    let out_tile = block / 16 / taps / in_tiles;
    let mut value = Vector::<E, N>::new(E::from_int(0));
    #[unroll]
    for i in 0..8usize {
        // Two blocks of eight outputs, of each two pairs of inputs that are eight apart.
        let output = out_tile * TILE + pair * 16 + comptime!(i / 4 * 8) + lane / 4;
        let input = in_tile * TILE + slice * 16 + comptime!(i / 2 % 2 * 8 + i % 2) + lane % 4 * 2;
        let mut found = 0.0f32;
        match comptime!(role) {
            Role::Forward => found = weight[(output * c_count + input) * kernel_taps + tap],
            Role::Backward => {
                found = weight[(input * c_count + output) * kernel_taps + kernel_taps - 1 - tap];
            }
            Role::GatheredForward => {
                let (column_tap, c) = (input / c_count, input % c_count);
                if column_tap < kernel_taps {
                    found = weight[(output * c_count + c) * kernel_taps + column_tap];
                }
            }
            Role::GatheredBackward => {
                let (column_tap, c) = (output / c_count, output % c_count);
                if column_tap < kernel_taps {
                    found = weight[(input * c_count + c) * kernel_taps + column_tap];
                }
            }
            Role::Stem => {
                let (down, pixel, c) = (input / 32, input / 4 % 8, input % 4);
                if down < 7 && pixel > 0 && c < 3 {
                    found = weight[(output * c_count + c) * kernel_taps + down * 7 + pixel - 1];
                }
            }
        }
        value.insert(i, E::cast_from(found));
    }
    packed[ABSOLUTE_POS] = value;
}
