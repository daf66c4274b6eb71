//! The kernels of the pooling behind a network's stem: the largest of 3 by 3 pixels at every second pixel, with a border of one.
//!
//! Input and output: images as rows of channels, as in [`norm_kernels`](super::norm_kernels).

use cubecl::prelude::*;

use super::norm_kernels::{Threads, channels_of, column, first_row, rectified, row_step};
use super::places::{Divisor, divided};

/// Where the pixels of a pooling's input and of its result are.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Pooling {
    /// Pixels of an image and of a row: of the result in the forward pass, of the input in the backward pass.
    pub image: Divisor,
    pub row: Divisor,
    /// Height and width of the other.
    pub height: u32,
    pub width: u32,
}

/// `z * scale + shift`, a ReLU and the pooling; and which of the nine pixels was the largest, the first one of equal ones, from 0. `rows`
/// are those of the result.
#[cube(launch)]
pub(super) fn normalise_and_pool<E: Float, N: Size>(
    z: &Tensor<Vector<E, N>>,
    mean: &Tensor<Vector<f32, N>>,
    inverse: &Tensor<Vector<f32, N>>,
    gamma: &Tensor<Vector<f32, N>>,
    beta: &Tensor<Vector<f32, N>>,
    y: &mut Tensor<Vector<E, N>>,
    largest: &mut Tensor<Vector<E, N>>,
    pooling: &Pooling,
    rows: usize,
    vectors: usize,
    #[comptime] threads: Threads,
    #[define(E)] _dtype: ElemType,
) {
    let column = column(threads);
    let of = channels_of::<N>(mean[column], inverse[column], gamma[column], beta[column]);
    let mut row = first_row(threads);
    while row < rows {
        let (image, rest) = divided(row as u32, &pooling.image);
        let (oy, ox) = divided(rest, &pooling.row);
        let mut most = Vector::<f32, N>::new(f32::NEG_INFINITY);
        let mut which = Vector::<f32, N>::new(0.0);
        #[unroll]
        for down in 0..3u32 {
            #[unroll]
            for right in 0..3u32 {
                // Below 0 they wrap around and are too large.
                let y_at = oy * 2 + down - 1;
                let x_at = ox * 2 + right - 1;
                if y_at < pooling.height && x_at < pooling.width {
                    let pixel = (image * pooling.height + y_at) * pooling.width + x_at;
                    let found = z[pixel as usize * vectors + column];
                    let value = Vector::<f32, N>::cast_from(found) * of.scale + of.shift;
                    // In this order a value that is no number is taken.
                    let stays = value.less_equal(&most);
                    let number = Vector::new(comptime!((down * 3 + right) as f32));
                    most = select_many(stays, most, value);
                    which = select_many(stays, which, number);
                }
            }
        }
        let place = row * vectors + column;
        y[place] = Vector::cast_from(rectified::<N>(most));
        largest[place] = Vector::cast_from(which);
        row += row_step(threads);
    }
}

/// The gradient behind the ReLU at a pixel: what comes from the up to four windows in which it was the largest.
#[cube]
pub(super) fn through_pool<E: Float, N: Size>(
    gradient: &Tensor<Vector<E, N>>,
    largest: &Tensor<Vector<E, N>>,
    pooling: &Pooling,
    row: usize,
    column: usize,
    vectors: usize,
) -> Vector<f32, N> {
    let (image, rest) = divided(row as u32, &pooling.image);
    let (y, x) = divided(rest, &pooling.row);
    let zero = Vector::<f32, N>::new(0.0);
    let mut sum = zero;
    #[unroll]
    for down in 0..2u32 {
        #[unroll]
        for right in 0..2u32 {
            // Windows begin one pixel before every second pixel.
            let (oy, ox) = (y / 2 + down, x / 2 + right);
            let reached = (down == 0 || y % 2 == 1) && (right == 0 || x % 2 == 1);
            if reached && oy < pooling.height && ox < pooling.width {
                let number = (y + 1 - oy * 2) * 3 + x + 1 - ox * 2;
                let result = (image * pooling.height + oy) * pooling.width + ox;
                let place = result as usize * vectors + column;
                let which = Vector::<f32, N>::cast_from(largest[place]);
                let same = which.equal(&Vector::new(f32::cast_from(number)));
                sum += select_many(same, Vector::cast_from(gradient[place]), zero);
            }
        }
    }
    sum
}
