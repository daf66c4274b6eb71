//! Runs the kernels of the batch norm on tensors of a GPU.
//!
//! Input: images `[n, c, h, w]` whose channels lie side by side in memory, as Burn's convolutions write them; others are copied first.
//! Output: images of the same kind.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::permute_nhwc_to_nchw;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::norm_gradients::{input_gradient, sum_gradients};
pub(super) use super::norm_kernels::Behind;
use super::norm_kernels::{Threads, moments, normalise, sum_values, totals};
use super::places::DivisorLaunch;
use super::pool_kernels::{PoolingLaunch, normalise_and_pool};
use super::tensors::{channels_last, empty};

/// Threads of a cube.
const THREADS: usize = 256;
/// Most threads side by side: a warp of them reads 512 bytes in a row.
const MOST_ACROSS: usize = 32;
/// Cubes that keep a large GPU busy: eight for each of 132 multiprocessors.
const CUBES: usize = 1056;
/// Fewest rows of a thread. Each block of rows writes its sums, and they are read again.
const LEAST_ROWS: usize = 8;
/// How the sums of all blocks are added up.
const FINISH: Threads = Threads {
    across: 16,
    down: 32,
};

/// Images as rows of channels, and how threads share them.
#[derive(Clone, Copy)]
struct Plan {
    channels: usize,
    rows: usize,
    /// Values that a thread takes at once.
    vector: usize,
    /// Of these in a row.
    vectors: usize,
    threads: Threads,
    cubes: [usize; 2],
}

impl Plan {
    /// For images `[n, h, w, c]`.
    fn new(images: &CubeTensor) -> Self {
        let shape = images.meta.shape();
        Plan::of_rows(images, shape[0] * shape[1] * shape[2])
    }

    /// For so many rows of the channels of `images`.
    fn of_rows(images: &CubeTensor, rows: usize) -> Self {
        let channels = images.meta.shape()[3];
        // 16 bytes at once.
        let vector = largest_divisor(channels, 16 / images.dtype.size());
        let vectors = channels / vector;
        let across = largest_divisor(vectors, MOST_ACROSS);
        let down = THREADS / across;
        let blocks = rows.div_ceil(down * LEAST_ROWS);
        let beside = vectors / across;
        Plan {
            channels,
            rows,
            vector,
            vectors,
            threads: Threads { across, down },
            cubes: [beside, blocks.clamp(1, CUBES.div_ceil(beside))],
        }
    }

    fn cube_count(&self) -> CubeCount {
        CubeCount::Static(self.cubes[0] as u32, self.cubes[1] as u32, 1)
    }

    fn cube_dim(&self) -> CubeDim {
        CubeDim::new_2d(self.threads.across as u32, self.threads.down as u32)
    }

    /// Room for two sums of every block and channel.
    fn partial(&self, of: &CubeTensor) -> CubeTensor {
        empty(of, [2, self.cubes[1], self.channels], DType::F32)
    }

    /// One value for each channel.
    fn per_channel(&self, of: &CubeTensor) -> CubeTensor {
        empty(of, [self.channels], DType::F32)
    }

    fn finish_count(&self) -> CubeCount {
        CubeCount::Static(self.channels.div_ceil(FINISH.across) as u32, 1, 1)
    }
}

const FINISH_DIM: CubeDim = CubeDim::new_2d(FINISH.across as u32, FINISH.down as u32);

/// The largest power of two that divides `number` and is at most `most`.
fn largest_divisor(number: usize, most: usize) -> usize {
    let power = 1 << number.trailing_zeros();
    std::cmp::min(power, most)
}

fn like(images: &CubeTensor) -> CubeTensor {
    let shape: [usize; 4] = images.meta.shape().dims();
    empty(images, shape, images.dtype)
}

/// Scale and shift of a batch norm, `[c]`, float32.
pub(super) struct Affine {
    pub gamma: CubeTensor,
    pub beta: CubeTensor,
}

/// Mean and 1 over the standard deviation of each channel, `[c]`, float32.
#[derive(Clone)]
pub(super) struct Statistics {
    pub mean: CubeTensor,
    pub inverse: CubeTensor,
}

/// The statistics of the images, and running mean and variance moved by them.
fn statistics(z: &CubeTensor, plan: &Plan, running: Running) -> (Statistics, [CubeTensor; 2]) {
    let client = z.client.clone();
    let partial = plan.partial(z);
    sum_values::launch(
        &client,
        plan.cube_count(),
        plan.cube_dim(),
        plan.vector,
        z.clone().into_tensor_arg(),
        partial.clone().into_tensor_arg(),
        plan.rows,
        plan.vectors,
        plan.threads,
        dtype_to_storage_type(z.dtype),
    );
    let values = || plan.per_channel(z);
    let found = Statistics {
        mean: values(),
        inverse: values(),
    };
    let moved = [values(), values()];
    let count = plan.rows as f32;
    moments::launch(
        &client,
        plan.finish_count(),
        FINISH_DIM,
        partial.into_tensor_arg(),
        z.clone().into_tensor_arg(),
        into_contiguous(running.mean).into_tensor_arg(),
        into_contiguous(running.variance).into_tensor_arg(),
        found.mean.clone().into_tensor_arg(),
        found.inverse.clone().into_tensor_arg(),
        moved[0].clone().into_tensor_arg(),
        moved[1].clone().into_tensor_arg(),
        plan.cubes[1],
        plan.channels,
        count,
        // One value for each channel has no spread.
        count / (count - 1.0).max(1.0),
        running.momentum,
        running.epsilon,
        FINISH,
        dtype_to_storage_type(z.dtype),
    );
    (found, moved)
}

/// The running mean and variance, the weight of a batch in them, and what is added to the variance of a batch.
pub(super) struct Running {
    pub mean: CubeTensor,
    pub variance: CubeTensor,
    pub momentum: f32,
    pub epsilon: f32,
}

/// Side of the result of the pooling behind `side` pixels.
pub(super) fn pooled(side: usize) -> usize {
    (side - 1) / 2 + 1
}

/// Pixels of `inner` `[n, h, w, c]`, and height and width of `outer`.
fn pooling(inner: &CubeTensor, outer: &CubeTensor) -> PoolingLaunch {
    let ([_, h, w, _], other): ([usize; 4], [usize; 4]) =
        (inner.meta.shape().dims(), outer.meta.shape().dims());
    PoolingLaunch::new(
        DivisorLaunch::of(h * w),
        DivisorLaunch::of(w),
        other[1] as u32,
        other[2] as u32,
    )
}

/// The images normalised by their own statistics, with what is `behind` but for a pooling; these statistics, and the running ones moved by
/// them.
pub(super) fn forward(
    z: CubeTensor,
    affine: Affine,
    running: Running,
    shortcut: Option<CubeTensor>,
    behind: Behind,
) -> (CubeTensor, Statistics, [CubeTensor; 2]) {
    let z = channels_last(z);
    let plan = Plan::new(&z);
    let (statistics, moved) = statistics(&z, &plan, running);
    let y = like(&z);
    let client = z.client.clone();
    let dtype = z.dtype;
    normalise::launch(
        &client,
        plan.cube_count(),
        plan.cube_dim(),
        plan.vector,
        z.clone().into_tensor_arg(),
        shortcut.map_or(z, channels_last).into_tensor_arg(),
        statistics.mean.clone().into_tensor_arg(),
        statistics.inverse.clone().into_tensor_arg(),
        into_contiguous(affine.gamma).into_tensor_arg(),
        into_contiguous(affine.beta).into_tensor_arg(),
        y.clone().into_tensor_arg(),
        plan.rows,
        plan.vectors,
        plan.threads,
        behind,
        dtype_to_storage_type(dtype),
    );
    (permute_nhwc_to_nchw(y), statistics, moved)
}

/// What a batch norm with a ReLU and a pooling gives.
pub(super) struct Pooled {
    pub y: CubeTensor,
    /// Which of the nine pixels was the largest.
    pub largest: CubeTensor,
    pub statistics: Statistics,
    /// Running mean and variance.
    pub moved: [CubeTensor; 2],
}

/// [`forward`] with a ReLU and a pooling behind.
pub(super) fn forward_pooled(z: CubeTensor, affine: Affine, running: Running) -> Pooled {
    let z = channels_last(z);
    let (statistics, moved) = statistics(&z, &Plan::new(&z), running);
    let [n, h, w, c] = z.meta.shape().dims();
    let result = [n, pooled(h), pooled(w), c];
    let (y, largest) = (empty(&z, result, z.dtype), empty(&z, result, z.dtype));
    let plan = Plan::of_rows(&z, n * result[1] * result[2]);
    let client = z.client.clone();
    let (dtype, pooling) = (z.dtype, pooling(&y, &z));
    normalise_and_pool::launch(
        &client,
        plan.cube_count(),
        plan.cube_dim(),
        plan.vector,
        z.into_tensor_arg(),
        statistics.mean.clone().into_tensor_arg(),
        statistics.inverse.clone().into_tensor_arg(),
        into_contiguous(affine.gamma).into_tensor_arg(),
        into_contiguous(affine.beta).into_tensor_arg(),
        y.clone().into_tensor_arg(),
        largest.clone().into_tensor_arg(),
        pooling,
        plan.rows,
        plan.vectors,
        plan.threads,
        dtype_to_storage_type(dtype),
    );
    let [y, largest] = [y, largest].map(permute_nhwc_to_nchw);
    Pooled {
        y,
        largest,
        statistics,
        moved,
    }
}

/// The gradients of a batch norm.
pub(super) struct Gradients {
    pub z: CubeTensor,
    pub gamma: CubeTensor,
    pub beta: CubeTensor,
    /// Where there was a shortcut.
    pub shortcut: Option<CubeTensor>,
}

/// The gradients from that of the result. `kept` is the result with a shortcut, and what was the largest with a pooling.
pub(super) fn backward(
    z: CubeTensor,
    kept: Option<CubeTensor>,
    gradient: CubeTensor,
    statistics: Statistics,
    affine: Affine,
    behind: Behind,
) -> Gradients {
    let (z, gradient) = (channels_last(z), channels_last(gradient));
    let plan = Plan::new(&z);
    let kept = kept.map_or(z.clone(), channels_last);
    let (gamma, beta) = (into_contiguous(affine.gamma), into_contiguous(affine.beta));
    let client = z.client.clone();
    let partial = plan.partial(&z);
    let z_gradient = like(&z);
    // Without a shortcut nothing is written there.
    let shortcut = (behind == Behind::Shortcut).then(|| like(&z));
    let passed = shortcut.clone().unwrap_or_else(|| z_gradient.clone());
    let dtype = z.dtype;
    sum_gradients::launch(
        &client,
        plan.cube_count(),
        plan.cube_dim(),
        plan.vector,
        z.clone().into_tensor_arg(),
        kept.clone().into_tensor_arg(),
        gradient.clone().into_tensor_arg(),
        statistics.mean.clone().into_tensor_arg(),
        statistics.inverse.clone().into_tensor_arg(),
        gamma.clone().into_tensor_arg(),
        beta.clone().into_tensor_arg(),
        partial.clone().into_tensor_arg(),
        passed.into_tensor_arg(),
        pooling(&z, &gradient),
        plan.rows,
        plan.vectors,
        plan.threads,
        behind,
        dtype_to_storage_type(dtype),
    );
    let (beta_gradient, gamma_gradient) = (plan.per_channel(&z), plan.per_channel(&z));
    totals::launch(
        &client,
        plan.finish_count(),
        FINISH_DIM,
        partial.into_tensor_arg(),
        beta_gradient.clone().into_tensor_arg(),
        gamma_gradient.clone().into_tensor_arg(),
        plan.cubes[1],
        plan.channels,
        FINISH,
    );
    // The gradient of a shortcut has passed the ReLU.
    let (gradient, behind) = match shortcut.clone() {
        Some(passed) => (passed, Behind::Nothing),
        None => (gradient, behind),
    };
    let pooling = pooling(&z, &gradient);
    input_gradient::launch(
        &client,
        plan.cube_count(),
        plan.cube_dim(),
        plan.vector,
        z.into_tensor_arg(),
        kept.into_tensor_arg(),
        gradient.into_tensor_arg(),
        statistics.mean.into_tensor_arg(),
        statistics.inverse.into_tensor_arg(),
        gamma.into_tensor_arg(),
        beta.into_tensor_arg(),
        beta_gradient.clone().into_tensor_arg(),
        gamma_gradient.clone().into_tensor_arg(),
        z_gradient.clone().into_tensor_arg(),
        pooling,
        plan.rows,
        plan.vectors,
        1.0 / plan.rows as f32,
        plan.threads,
        behind,
        dtype_to_storage_type(dtype),
    );
    Gradients {
        z: permute_nhwc_to_nchw(z_gradient),
        gamma: gamma_gradient,
        beta: beta_gradient,
        shortcut: shortcut.map(permute_nhwc_to_nchw),
    }
}
