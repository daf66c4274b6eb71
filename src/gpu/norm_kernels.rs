//! The kernels: sums over the images of each channel, and passes that normalise.
//!
//! Input and output: images as rows of channels, `[rows, channels]` with `rows = n * h * w`, in vectors of neighbouring channels. Every
//! thread stays with one vector of channels and walks down the rows, so that what belongs to a channel is read once. All sums are
//! float32.

use cubecl::prelude::*;

use super::places::{Divisor, divided};

/// What comes behind the normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Behind {
    Nothing,
    Relu,
    /// The addition of a shortcut, then a ReLU.
    Shortcut,
    /// A ReLU, then a [`Pooling`].
    Pool,
}

/// How a kernel's threads are laid out: fixed when it is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Threads {
    /// Threads side by side, each with a vector of channels.
    pub across: usize,
    /// Threads one below the other, each with rows of its own.
    pub down: usize,
}

/// The vector of channels of a thread.
#[cube]
fn column(#[comptime] threads: Threads) -> usize {
    CUBE_POS_X as usize * comptime!(threads.across) + UNIT_POS_X as usize
}

/// The first row of a thread.
#[cube]
fn first_row(#[comptime] threads: Threads) -> usize {
    CUBE_POS_Y as usize * comptime!(threads.down) + UNIT_POS_Y as usize
}

/// From one row of a thread to its next.
#[cube]
fn row_step(#[comptime] threads: Threads) -> usize {
    CUBE_COUNT_Y as usize * comptime!(threads.down)
}

/// Adds up two quantities over the threads that are one below the other; the uppermost ones have the sums.
#[cube]
fn added_up<N: Size>(
    first: Vector<f32, N>,
    second: Vector<f32, N>,
    #[comptime] threads: Threads,
) -> (Vector<f32, N>, Vector<f32, N>) {
    let size = comptime!(threads.across * threads.down);
    let mut firsts = Shared::<[Vector<f32, N>]>::new_slice(size);
    let mut seconds = Shared::<[Vector<f32, N>]>::new_slice(size);
    let (x, y) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
    let place = y * comptime!(threads.across) + x;
    firsts[place] = first;
    seconds[place] = second;
    sync_cube();
    let mut half = comptime!(threads.down / 2).runtime();
    while half > 0 {
        if y < half {
            let other = place + half * comptime!(threads.across);
            let (first, second) = (firsts[other], seconds[other]);
            firsts[place] += first;
            seconds[place] += second;
        }
        sync_cube();
        half /= 2;
    }
    (firsts[place], seconds[place])
}

/// The sums of two quantities over the rows of a block, for each channel: adds up what the threads of a cube found, and writes it to
/// `partial`, `[2, blocks, vectors]`.
#[cube]
fn write_sums<N: Size>(
    first: Vector<f32, N>,
    second: Vector<f32, N>,
    partial: &mut Tensor<Vector<f32, N>>,
    column: usize,
    vectors: usize,
    #[comptime] threads: Threads,
) {
    let (first, second) = added_up::<N>(first, second, threads);
    if UNIT_POS_Y == 0 {
        let blocks = CUBE_COUNT_Y as usize;
        let block = CUBE_POS_Y as usize;
        partial[block * vectors + column] = first;
        partial[(blocks + block) * vectors + column] = second;
    }
}

/// Sums of `z - k` and of its square, where `k` is the channel's first value: without it, the variance of a channel far from zero would
/// drown in rounding.
#[cube(launch)]
pub(super) fn sum_values<E: Float, N: Size>(
    z: &Tensor<Vector<E, N>>,
    partial: &mut Tensor<Vector<f32, N>>,
    rows: usize,
    vectors: usize,
    #[comptime] threads: Threads,
    #[define(E)] _dtype: ElemType,
) {
    let column = column(threads);
    let first = Vector::<f32, N>::cast_from(z[column]);
    let mut sum = Vector::<f32, N>::new(0.0);
    let mut squares = Vector::<f32, N>::new(0.0);
    let mut row = first_row(threads);
    while row < rows {
        let value = Vector::<f32, N>::cast_from(z[row * vectors + column]) - first;
        sum += value;
        squares += value * value;
        row += row_step(threads);
    }
    write_sums::<N>(sum, squares, partial, column, vectors, threads);
}

/// Adds up one channel of `partial`, `[2, blocks, channels]`, over its blocks: both sums, at the thread with `y == 0`.
#[cube]
fn total(
    partial: &Tensor<f32>,
    blocks: usize,
    channels: usize,
    channel: usize,
    #[comptime] threads: Threads,
) -> (f32, f32) {
    let mut first = 0.0f32;
    let mut second = 0.0f32;
    if channel < channels {
        let mut block = UNIT_POS_Y as usize;
        while block < blocks {
            first += partial[block * channels + channel];
            second += partial[(blocks + block) * channels + channel];
            block += comptime!(threads.down);
        }
    }
    let (first, second) = added_up::<Const<1>>(Vector::new(first), Vector::new(second), threads);
    (first.extract(0usize), second.extract(0usize))
}

/// Mean and biased variance of each channel from what [`sum_values`] wrote, and the running ones moved by them; the variance that moves
/// its running one is multiplied by `unbiased` first.
#[cube(launch)]
pub(super) fn moments<E: Float>(
    partial: &Tensor<f32>,
    z: &Tensor<E>,
    running_mean: &Tensor<f32>,
    running_variance: &Tensor<f32>,
    mean: &mut Tensor<f32>,
    variance: &mut Tensor<f32>,
    moved_mean: &mut Tensor<f32>,
    moved_variance: &mut Tensor<f32>,
    blocks: usize,
    channels: usize,
    count: f32,
    unbiased: f32,
    momentum: f32,
    #[comptime] threads: Threads,
    #[define(E)] _dtype: ElemType,
) {
    let channel = column(threads);
    let (sum, squares) = total(partial, blocks, channels, channel, threads);
    if channel < channels && UNIT_POS_Y == 0 {
        let offset = sum / count;
        let middle = f32::cast_from(z[channel]) + offset;
        let spread = max(squares / count - offset * offset, 0.0f32);
        mean[channel] = middle;
        variance[channel] = spread;
        let kept = 1.0f32 - momentum;
        moved_mean[channel] = running_mean[channel] * kept + middle * momentum;
        moved_variance[channel] = running_variance[channel] * kept + spread * unbiased * momentum;
    }
}

/// Both sums of each channel from what [`sum_gradients`] wrote.
#[cube(launch)]
pub(super) fn totals(
    partial: &Tensor<f32>,
    first: &mut Tensor<f32>,
    second: &mut Tensor<f32>,
    blocks: usize,
    channels: usize,
    #[comptime] threads: Threads,
) {
    let channel = column(threads);
    let (a, b) = total(partial, blocks, channels, channel, threads);
    if channel < channels && UNIT_POS_Y == 0 {
        first[channel] = a;
        second[channel] = b;
    }
}

/// `z * scale + shift`, and what comes behind but for a pooling. Without a shortcut any tensor may stand in for it.
#[cube(launch)]
pub(super) fn normalise<E: Float, N: Size>(
    z: &Tensor<Vector<E, N>>,
    shortcut: &Tensor<Vector<E, N>>,
    mean: &Tensor<Vector<f32, N>>,
    variance: &Tensor<Vector<f32, N>>,
    gamma: &Tensor<Vector<f32, N>>,
    beta: &Tensor<Vector<f32, N>>,
    y: &mut Tensor<Vector<E, N>>,
    rows: usize,
    vectors: usize,
    epsilon: f32,
    #[comptime] threads: Threads,
    #[comptime] behind: Behind,
    #[define(E)] _dtype: ElemType,
) {
    let column = column(threads);
    let of = channels_of::<N>(
        mean[column],
        variance[column],
        gamma[column],
        beta[column],
        epsilon,
    );
    let mut row = first_row(threads);
    while row < rows {
        let place = row * vectors + column;
        let mut value = Vector::<f32, N>::cast_from(z[place]) * of.scale + of.shift;
        if comptime!(behind == Behind::Shortcut) {
            value += Vector::cast_from(shortcut[place]);
        }
        if comptime!(behind != Behind::Nothing) {
            value = rectified::<N>(value);
        }
        y[place] = Vector::cast_from(value);
        row += row_step(threads);
    }
}

/// 0 where a value is below; one that is no number stays one.
#[cube]
fn rectified<N: Size>(value: Vector<f32, N>) -> Vector<f32, N> {
    let zero = Vector::<f32, N>::new(0.0);
    select_many(value.less_than(&zero), zero, value)
}

/// The largest of 3 by 3 pixels at every second pixel, with a border of one: where they are, for images that are not kept themselves.
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
    variance: &Tensor<Vector<f32, N>>,
    gamma: &Tensor<Vector<f32, N>>,
    beta: &Tensor<Vector<f32, N>>,
    y: &mut Tensor<Vector<E, N>>,
    largest: &mut Tensor<Vector<E, N>>,
    pooling: &Pooling,
    rows: usize,
    vectors: usize,
    epsilon: f32,
    #[comptime] threads: Threads,
    #[define(E)] _dtype: ElemType,
) {
    let column = column(threads);
    let of = channels_of::<N>(
        mean[column],
        variance[column],
        gamma[column],
        beta[column],
        epsilon,
    );
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
fn through_pool<E: Float, N: Size>(
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

/// What a thread knows of its channels.
#[derive(CubeType, Clone, Copy)]
struct Channels<N: Size> {
    mean: Vector<f32, N>,
    /// 1 over the standard deviation.
    inverse: Vector<f32, N>,
    scale: Vector<f32, N>,
    shift: Vector<f32, N>,
}

#[cube]
fn channels_of<N: Size>(
    mean: Vector<f32, N>,
    variance: Vector<f32, N>,
    gamma: Vector<f32, N>,
    beta: Vector<f32, N>,
    epsilon: f32,
) -> Channels<N> {
    let inverse = Vector::new(1.0f32) / (variance + Vector::new(epsilon)).sqrt();
    let scale = gamma * inverse;
    Channels::<N> {
        mean,
        inverse,
        scale,
        shift: beta - mean * scale,
    }
}

/// The gradient of the normalised value at a place, that is, in front of what comes behind. `kept` is the result with a shortcut, and
/// with a pooling what was the largest. In front of a ReLU alone the value is computed anew from `z`, which spares reading the result.
#[cube]
fn in_front<E: Float, N: Size>(
    z: Vector<f32, N>,
    kept: &Tensor<Vector<E, N>>,
    gradient: &Tensor<Vector<E, N>>,
    pooling: &Pooling,
    row: usize,
    column: usize,
    vectors: usize,
    of: &Channels<N>,
    #[comptime] behind: Behind,
) -> Vector<f32, N> {
    let zero = Vector::<f32, N>::new(0.0);
    let place = row * vectors + column;
    match comptime!(behind) {
        Behind::Nothing => Vector::cast_from(gradient[place]),
        Behind::Relu => {
            let passes = (z * of.scale + of.shift).greater_than(&zero);
            select_many(passes, Vector::cast_from(gradient[place]), zero)
        }
        Behind::Shortcut => {
            let passes = Vector::<f32, N>::cast_from(kept[place]).greater_than(&zero);
            select_many(passes, Vector::cast_from(gradient[place]), zero)
        }
        Behind::Pool => {
            let passes = (z * of.scale + of.shift).greater_than(&zero);
            let found = through_pool::<E, N>(gradient, kept, pooling, row, column, vectors);
            select_many(passes, found, zero)
        }
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
    variance: &Tensor<Vector<f32, N>>,
    gamma: &Tensor<Vector<f32, N>>,
    beta: &Tensor<Vector<f32, N>>,
    partial: &mut Tensor<Vector<f32, N>>,
    passed: &mut Tensor<Vector<E, N>>,
    pooling: &Pooling,
    rows: usize,
    vectors: usize,
    epsilon: f32,
    #[comptime] threads: Threads,
    #[comptime] behind: Behind,
    #[define(E)] _dtype: ElemType,
) {
    let column = column(threads);
    let of = channels_of::<N>(
        mean[column],
        variance[column],
        gamma[column],
        beta[column],
        epsilon,
    );
    let mut sum = Vector::<f32, N>::new(0.0);
    let mut products = Vector::<f32, N>::new(0.0);
    let mut row = first_row(threads);
    while row < rows {
        let place = row * vectors + column;
        let value = Vector::<f32, N>::cast_from(z[place]);
        let found = in_front::<E, N>(
            value, kept, gradient, pooling, row, column, vectors, &of, behind,
        );
        if comptime!(behind == Behind::Shortcut) {
            passed[place] = Vector::cast_from(found);
        }
        sum += found;
        products += found * (value - of.mean) * of.inverse;
        row += row_step(threads);
    }
    write_sums::<N>(sum, products, partial, column, vectors, threads);
}

/// The gradient of `z`.
#[cube(launch)]
pub(super) fn input_gradient<E: Float, N: Size>(
    z: &Tensor<Vector<E, N>>,
    kept: &Tensor<Vector<E, N>>,
    gradient: &Tensor<Vector<E, N>>,
    mean: &Tensor<Vector<f32, N>>,
    variance: &Tensor<Vector<f32, N>>,
    gamma: &Tensor<Vector<f32, N>>,
    beta: &Tensor<Vector<f32, N>>,
    beta_gradient: &Tensor<Vector<f32, N>>,
    gamma_gradient: &Tensor<Vector<f32, N>>,
    z_gradient: &mut Tensor<Vector<E, N>>,
    pooling: &Pooling,
    rows: usize,
    vectors: usize,
    epsilon: f32,
    count: f32,
    #[comptime] threads: Threads,
    #[comptime] behind: Behind,
    #[define(E)] _dtype: ElemType,
) {
    let column = column(threads);
    let of = channels_of::<N>(
        mean[column],
        variance[column],
        gamma[column],
        beta[column],
        epsilon,
    );
    let constant = beta_gradient[column] / Vector::new(count);
    let slope = gamma_gradient[column] / Vector::new(count);
    let mut row = first_row(threads);
    while row < rows {
        let place = row * vectors + column;
        let value = Vector::<f32, N>::cast_from(z[place]);
        let found = in_front::<E, N>(
            value, kept, gradient, pooling, row, column, vectors, &of, behind,
        );
        let normalised = (value - of.mean) * of.inverse;
        z_gradient[place] = Vector::cast_from(of.scale * (found - constant - normalised * slope));
        row += row_step(threads);
    }
}
