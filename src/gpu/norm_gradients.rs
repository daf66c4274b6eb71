//! The kernels of the gradient of a batch norm: sums of each channel, then the gradient of every value.
//!
//! Input and output: as in [`norm_kernels`](super::norm_kernels).

use cubecl::prelude::*;

use super::norm_kernels::{
    AT_ONCE, Behind, Channels, Threads, channels_of, column, first_row, read_rows, row_step,
    write_sums,
};
use super::pool_kernels::{Pooling, through_pool};

/// The gradient of the normalised value, that is, in front of what comes behind, from that behind the ReLU. `y` is the result with a
/// shortcut. In front of a ReLU alone the value is computed anew from `z`, which spares reading the result.
#[cube]
fn in_front<N: Size>(
    z: Vector<f32, N>,
    y: Vector<f32, N>,
    gradient: Vector<f32, N>,
    of: &Channels<N>,
    #[comptime] behind: Behind,
) -> Vector<f32, N> {
    let zero = Vector::<f32, N>::new(0.0);
    match comptime!(behind) {
        Behind::Nothing => gradient,
        Behind::Relu | Behind::Pool => {
            let passes = (z * of.scale + of.shift).greater_than(&zero);
            select_many(passes, gradient, zero)
        }
        Behind::Shortcut => select_many(y.greater_than(&zero), gradient, zero),
    }
}

/// Sums of the gradient of the normalised value, and of its product with that value: the gradients of beta and gamma. With a shortcut it
/// writes that gradient, which is the shortcut's, to `passed`.
#[cube(launch)]
pub(super) fn sum_gradients<E: Float, N: Size>(
    z: &Tensor<Vector<E, N>>,
    kept: &Tensor<Vector<E, N>>,
    gradient: &Tensor<Vector<E, N>>,
    mean: &Tensor<Vector<f32, N>>,
    inverse: &Tensor<Vector<f32, N>>,
    gamma: &Tensor<Vector<f32, N>>,
    beta: &Tensor<Vector<f32, N>>,
    partial: &mut Tensor<Vector<f32, N>>,
    passed: &mut Tensor<Vector<E, N>>,
    pooling: &Pooling,
    rows: usize,
    vectors: usize,
    #[comptime] threads: Threads,
    #[comptime] behind: Behind,
    #[define(E)] _dtype: ElemType,
) {
    let column = column(threads);
    let of = channels_of::<N>(mean[column], inverse[column], gamma[column], beta[column]);
    let mut sum = Vector::<f32, N>::new(0.0);
    let mut products = Vector::<f32, N>::new(0.0);
    let mut row = first_row(threads);
    let at_once = comptime!(AT_ONCE);
    let (with_gradient, with_result) = comptime!(behind.reads());
    while row < rows {
        let read = read_rows::<E, N>(z, row, rows, column, vectors, threads, at_once);
        let gradients =
            read_rows::<E, N>(gradient, row, rows, column, vectors, threads, with_gradient);
        let results = read_rows::<E, N>(kept, row, rows, column, vectors, threads, with_result);
        #[unroll]
        for i in 0..at_once {
            let at = row + i * row_step(threads);
            if at < rows {
                let value = Vector::<f32, N>::cast_from(read[i]);
                let found = match comptime!(behind) {
                    Behind::Pool => {
                        let found =
                            through_pool::<E, N>(gradient, kept, pooling, at, column, vectors);
                        in_front::<N>(value, value, found, &of, behind)
                    }
                    Behind::Shortcut => {
                        let (y, found) = (
                            Vector::cast_from(results[i]),
                            Vector::cast_from(gradients[i]),
                        );
                        let found = in_front::<N>(value, y, found, &of, behind);
                        passed[at * vectors + column] = Vector::cast_from(found);
                        found
                    }
                    Behind::Nothing | Behind::Relu => {
                        in_front::<N>(value, value, Vector::cast_from(gradients[i]), &of, behind)
                    }
                };
                sum += found;
                products += found * (value - of.mean) * of.inverse;
            }
        }
        row += row_step(threads) * at_once;
    }
    write_sums::<N>(sum, products, partial, column, vectors, threads);
}

/// The gradient of `z`, from that of the result, with a shortcut from what [`sum_gradients`] passed. `share` is 1 over the number of rows.
#[cube(launch)]
pub(super) fn input_gradient<E: Float, N: Size>(
    z: &Tensor<Vector<E, N>>,
    kept: &Tensor<Vector<E, N>>,
    gradient: &Tensor<Vector<E, N>>,
    mean: &Tensor<Vector<f32, N>>,
    inverse: &Tensor<Vector<f32, N>>,
    gamma: &Tensor<Vector<f32, N>>,
    beta: &Tensor<Vector<f32, N>>,
    beta_gradient: &Tensor<Vector<f32, N>>,
    gamma_gradient: &Tensor<Vector<f32, N>>,
    z_gradient: &mut Tensor<Vector<E, N>>,
    pooling: &Pooling,
    rows: usize,
    vectors: usize,
    share: f32,
    #[comptime] threads: Threads,
    #[comptime] behind: Behind,
    #[define(E)] _dtype: ElemType,
) {
    let column = column(threads);
    let of = channels_of::<N>(mean[column], inverse[column], gamma[column], beta[column]);
    let constant = beta_gradient[column] * Vector::new(share);
    let slope = gamma_gradient[column] * Vector::new(share);
    let mut row = first_row(threads);
    let at_once = comptime!(AT_ONCE);
    let (with_gradient, _) = comptime!(behind.reads());
    while row < rows {
        let read = read_rows::<E, N>(z, row, rows, column, vectors, threads, at_once);
        let gradients =
            read_rows::<E, N>(gradient, row, rows, column, vectors, threads, with_gradient);
        #[unroll]
        for i in 0..at_once {
            let at = row + i * row_step(threads);
            if at < rows {
                let value = Vector::<f32, N>::cast_from(read[i]);
                let found = if comptime!(behind == Behind::Pool) {
                    through_pool::<E, N>(gradient, kept, pooling, at, column, vectors)
                } else {
                    Vector::cast_from(gradients[i])
                };
                let found = in_front::<N>(value, value, found, &of, behind);
                let normalised = (value - of.mean) * of.inverse;
                let moved = of.scale * (found - constant - normalised * slope);
                z_gradient[at * vectors + column] = Vector::cast_from(moved);
            }
        }
        row += row_step(threads) * at_once;
    }
}
