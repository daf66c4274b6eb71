//! The kernels: sums over the images of each channel, and passes that normalise.
//!
//! Input and output: images as rows of channels, `[rows, channels]` with `rows = n * h * w`, in vectors of neighbouring channels. Every
//! thread stays with one vector of channels and walks down the rows, so that what belongs to a channel is read once. All sums are
//! float32.

use cubecl::prelude::*;

/// What comes behind the normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Behind {
    Nothing,
    Relu,
    /// The addition of a shortcut, then a ReLU.
    Shortcut,
    /// A ReLU, then a [pooling](super::pool_kernels).
    Pool,
}

impl Behind {
    /// Rows that a thread of the backward pass reads at once, of the gradient and of the result. Behind a pooling they are not where those of
    /// the images are.
    pub(super) fn reads(self) -> (usize, usize) {
        match self {
            Behind::Nothing | Behind::Relu => (AT_ONCE, 0),
            Behind::Shortcut => (AT_ONCE, AT_ONCE),
            Behind::Pool => (0, 0),
        }
    }
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
pub(super) fn column(#[comptime] threads: Threads) -> usize {
    CUBE_POS_X as usize * comptime!(threads.across) + UNIT_POS_X as usize
}

/// The first row of a thread.
#[cube]
pub(super) fn first_row(#[comptime] threads: Threads) -> usize {
    CUBE_POS_Y as usize * comptime!(threads.down) + UNIT_POS_Y as usize
}

/// From one row of a thread to its next.
#[cube]
pub(super) fn row_step(#[comptime] threads: Threads) -> usize {
    CUBE_COUNT_Y as usize * comptime!(threads.down)
}

/// Rows that a thread reads before it computes: memory is as fast as it can be only with many reads under way.
pub(super) const AT_ONCE: usize = 2;

/// The vectors of a thread's next `count` rows, from `row` on; what is behind the last row is 0.
#[cube]
pub(super) fn read_rows<E: Float, N: Size>(
    images: &Tensor<Vector<E, N>>,
    row: usize,
    rows: usize,
    column: usize,
    vectors: usize,
    #[comptime] threads: Threads,
    #[comptime] count: usize,
) -> Array<Vector<E, N>> {
    let mut read = Array::<Vector<E, N>>::new(comptime!(Ord::max(count, 1)));
    #[unroll]
    for i in 0..count {
        let at = row + i * row_step(threads);
        let mut value = Vector::<E, N>::new(E::from_int(0));
        if at < rows {
            value = images[at * vectors + column];
        }
        read[i] = value;
    }
    read
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
pub(super) fn write_sums<N: Size>(
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
    // One tensor alone is read here.
    let at_once = comptime!(2 * AT_ONCE);
    let mut row = first_row(threads);
    while row < rows {
        let read = read_rows::<E, N>(z, row, rows, column, vectors, threads, at_once);
        #[unroll]
        for i in 0..at_once {
            if row + i * row_step(threads) < rows {
                let value = Vector::<f32, N>::cast_from(read[i]) - first;
                sum += value;
                squares += value * value;
            }
        }
        row += row_step(threads) * at_once;
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

/// Of each channel, from what [`sum_values`] wrote: the mean, 1 over the standard deviation, so that no thread of the other kernels has
/// to divide, and running mean and variance moved by the batch; the variance that moves its running one is multiplied by `unbiased` first.
#[cube(launch)]
pub(super) fn moments<E: Float>(
    partial: &Tensor<f32>,
    z: &Tensor<E>,
    running_mean: &Tensor<f32>,
    running_variance: &Tensor<f32>,
    mean: &mut Tensor<f32>,
    inverse: &mut Tensor<f32>,
    moved_mean: &mut Tensor<f32>,
    moved_variance: &mut Tensor<f32>,
    blocks: usize,
    channels: usize,
    count: f32,
    unbiased: f32,
    momentum: f32,
    epsilon: f32,
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
        inverse[channel] = 1.0f32 / (spread + epsilon).sqrt();
        let kept = 1.0f32 - momentum;
        moved_mean[channel] = running_mean[channel] * kept + middle * momentum;
        moved_variance[channel] = running_variance[channel] * kept + spread * unbiased * momentum;
    }
}

/// Both sums of each channel from what [`sum_gradients`](super::norm_gradients::sum_gradients) wrote.
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
    inverse: &Tensor<Vector<f32, N>>,
    gamma: &Tensor<Vector<f32, N>>,
    beta: &Tensor<Vector<f32, N>>,
    y: &mut Tensor<Vector<E, N>>,
    rows: usize,
    vectors: usize,
    #[comptime] threads: Threads,
    #[comptime] behind: Behind,
    #[define(E)] _dtype: ElemType,
) {
    let column = column(threads);
    let of = channels_of::<N>(mean[column], inverse[column], gamma[column], beta[column]);
    let at_once = comptime!(AT_ONCE);
    let with_shortcut = comptime!(if behind == Behind::Shortcut {
        AT_ONCE
    } else {
        0
    });
    let mut row = first_row(threads);
    while row < rows {
        let read = read_rows::<E, N>(z, row, rows, column, vectors, threads, at_once);
        let added = read_rows::<E, N>(shortcut, row, rows, column, vectors, threads, with_shortcut);
        #[unroll]
        for i in 0..at_once {
            let at = row + i * row_step(threads);
            if at < rows {
                let mut value = Vector::<f32, N>::cast_from(read[i]) * of.scale + of.shift;
                if comptime!(behind == Behind::Shortcut) {
                    value += Vector::cast_from(added[i]);
                }
                if comptime!(behind != Behind::Nothing) {
                    value = rectified::<N>(value);
                }
                y[at * vectors + column] = Vector::cast_from(value);
            }
        }
        row += row_step(threads) * at_once;
    }
}

/// 0 where a value is below; one that is no number stays one.
#[cube]
pub(super) fn rectified<N: Size>(value: Vector<f32, N>) -> Vector<f32, N> {
    let zero = Vector::<f32, N>::new(0.0);
    select_many(value.less_than(&zero), zero, value)
}

/// What a thread knows of its channels.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Channels<N: Size> {
    pub mean: Vector<f32, N>,
    /// 1 over the standard deviation.
    pub inverse: Vector<f32, N>,
    pub scale: Vector<f32, N>,
    pub shift: Vector<f32, N>,
}

#[cube]
pub(super) fn channels_of<N: Size>(
    mean: Vector<f32, N>,
    inverse: Vector<f32, N>,
    gamma: Vector<f32, N>,
    beta: Vector<f32, N>,
) -> Channels<N> {
    let scale = gamma * inverse;
    Channels::<N> {
        mean,
        inverse,
        scale,
        shift: beta - mean * scale,
    }
}
