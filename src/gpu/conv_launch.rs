//! Runs the kernels of the convolutions on tensors of a GPU.
//!
//! Input: images `[n, c, h, w]` of bfloat16 whose channels lie side by side in memory, others are copied first; weights
//! `[k, c, side, side]` of float32. Output: images of the same kind.
//!
//! One kernel computes everything. It slides a kernel of 3x3 at stride 1, or of 1x1, over the images. Other convolutions are those of 1x1
//! over rows that hold the neighbourhood of each result.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::permute_nhwc_to_nchw;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::conv_kernels::{self, Staging, convolve};
use super::conv_shape::Conv;
use super::gather_kernels::{Role, gather, pack, scatter, widen};
use super::places::{DivisorLaunch, PatchesLaunch, ResultsLaunch, Source, TILE, VECTOR};
use super::tensors::{channels_last, empty};

/// Bytes of a tile that may be there twice.
const MOST_AHEAD: usize = 48 * 1024;
/// Threads of a cube in the kernels that compute each value by itself.
const THREADS: u32 = 256;

pub(super) fn elementwise(client: &Client, units: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new_1d(THREADS);
    (calculate_cube_count_elemwise(client, units, dim), dim)
}

/// Images `[n, h, w, c]`, contiguous, as rows `[n, oh, ow, columns]`.
fn gathered(x: &CubeTensor, conv: &Conv) -> CubeTensor {
    let rows = conv.over_rows();
    let output = empty(x, [rows.n, rows.h, rows.w, rows.c], x.dtype);
    let total = rows.n * rows.h * rows.w * rows.c / VECTOR;
    let client = x.client.clone();
    let (count, dim) = elementwise(&client, total);
    gather::launch(
        &client,
        count,
        dim,
        VECTOR,
        x.clone().into_buffer_arg(),
        output.clone().into_buffer_arg(),
        DivisorLaunch::of(rows.c / VECTOR),
        DivisorLaunch::of(rows.w),
        DivisorLaunch::of(rows.h),
        DivisorLaunch::of(conv.c),
        DivisorLaunch::of(conv.side),
        (conv.side * conv.side) as u32,
        conv.h as u32,
        conv.w as u32,
        total,
        conv.stride as u32,
        conv.pad as u32,
        dtype_to_storage_type(x.dtype),
    );
    output
}

/// Images `[n, h, w, 3]` as `[n, h, w, 4]`.
fn widened(x: &CubeTensor, conv: &Conv) -> CubeTensor {
    let output = empty(x, [conv.n, conv.h, conv.w, 4], x.dtype);
    let total = conv.n * conv.h * conv.w / 2;
    let client = x.client.clone();
    let (count, dim) = elementwise(&client, total);
    widen::launch(
        &client,
        count,
        dim,
        VECTOR,
        x.clone().into_buffer_arg(),
        output.clone().into_buffer_arg(),
        total,
        dtype_to_storage_type(x.dtype),
    );
    output
}

/// An operand, and how its rows come about.
pub(super) struct Operand {
    pub x: CubeTensor,
    pub source: Source,
    /// The convolution that the user asked for.
    conv: Conv,
}

impl Operand {
    /// Images `[n, h, w, c]`, contiguous, for the convolution over their pixels, or over rows of neighbourhoods.
    pub(super) fn new(x: CubeTensor, conv: Conv) -> Self {
        if conv.is_direct() {
            return Operand {
                x,
                source: Source::Rows,
                conv,
            };
        }
        let source = conv.source();
        let x = match source {
            Source::Rows => gathered(&x, &conv),
            Source::Patches => x,
            Source::Stem => widened(&x, &conv),
        };
        Operand { x, source, conv }
    }
}

/// Weights in the order of the threads, for a product with `inputs` channels that gives `outputs`.
fn packed(
    weight: &CubeTensor,
    conv: &Conv,
    [inputs, outputs]: [usize; 2],
    role: Role,
    dtype: DType,
) -> CubeTensor {
    let kernel_taps = conv.side * conv.side;
    let taps = match role {
        Role::Forward | Role::Backward => kernel_taps,
        Role::GatheredForward | Role::GatheredBackward | Role::Stem => 1,
    };
    let output = empty(weight, [outputs, inputs, taps], dtype);
    let total = outputs * inputs * taps / VECTOR;
    let client = weight.client.clone();
    let (count, dim) = elementwise(&client, total);
    pack::launch(
        &client,
        count,
        dim,
        VECTOR,
        weight.clone().into_buffer_arg(),
        output.clone().into_buffer_arg(),
        inputs / TILE,
        taps,
        conv.c,
        kernel_taps,
        total,
        role,
        dtype_to_storage_type(dtype),
    );
    output
}

/// `x` is `[n, h, w, c]` of `conv`, which [is direct](Conv::is_direct) but for the number of its results, `outputs`.
fn slide(x: &Operand, weight: CubeTensor, conv: &Conv, outputs: usize) -> CubeTensor {
    let y = empty(&x.x, [conv.n, conv.h, conv.w, outputs], x.x.dtype);
    let (patches, results) = (x.conv.patches_launch(), conv.results_launch());
    slide_into(&y, x.x.clone(), weight, conv, x.source, patches, results);
    y
}

/// [`slide`] to some of the pixels of `y`, `[n, h, w, outputs]`.
fn slide_into(
    y: &CubeTensor,
    x: CubeTensor,
    weight: CubeTensor,
    conv: &Conv,
    source: Source,
    patches: PatchesLaunch,
    results: ResultsLaunch,
) {
    let outputs = y.meta.shape()[3];
    let [_, _, total] = conv.places();
    let cubes = total.div_ceil(conv_kernels::PLACES);
    let dtype = dtype_to_storage_type(x.dtype);
    convolve::launch(
        &x.client.clone(),
        CubeCount::Static(cubes as u32, (outputs / TILE) as u32, 1),
        CubeDim::new_1d(conv_kernels::THREADS as u32),
        VECTOR,
        x.into_buffer_arg(),
        weight.into_buffer_arg(),
        y.clone().into_buffer_arg(),
        conv.places_launch(),
        patches,
        results,
        conv.c / VECTOR,
        outputs / VECTOR,
        conv.side * conv.side,
        conv.taps(),
        source,
        staging(conv),
        dtype,
    );
}

/// Tiles are read ahead where there are several, where they leave room for a second cube, and where there are many taps to compute meanwhile:
/// with one, what is read takes the registers of the second cube.
fn staging(conv: &Conv) -> Staging {
    let room = (conv_kernels::PLACES + 2 * conv.taps().halo) * TILE * 2;
    match conv.side > 1 && conv.c > TILE && room <= MOST_AHEAD {
        true => Staging::Ahead,
        false => Staging::InTurn,
    }
}

/// The convolution.
pub(super) fn forward(x: CubeTensor, weight: CubeTensor, stride: usize, pad: usize) -> CubeTensor {
    let conv = Conv::new(x.meta.shape(), weight.meta.shape(), stride, pad);
    let (x, weight) = (channels_last(x), into_contiguous(weight));
    let (over, inputs, role) = match (conv.is_direct(), conv.source()) {
        (true, _) => (conv, conv.c, Role::Forward),
        (false, Source::Patches) => (conv.over_rows(), conv.c, Role::Forward),
        (false, Source::Stem) => (conv.over_rows(), conv.columns(), Role::Stem),
        (false, Source::Rows) => (conv.over_rows(), conv.columns(), Role::GatheredForward),
    };
    let packed = packed(&weight, &conv, [inputs, conv.k], role, x.dtype);
    let y = slide(&Operand::new(x, conv), packed, &over, conv.k);
    permute_nhwc_to_nchw(y)
}

/// The gradient of the input `x`, of which only the shape is read.
pub(super) fn input_gradient(
    dy: CubeTensor,
    x: &CubeTensor,
    weight: CubeTensor,
    stride: usize,
    pad: usize,
) -> CubeTensor {
    let conv = Conv::new(x.meta.shape(), weight.meta.shape(), stride, pad);
    let (dy, weight) = (channels_last(dy), into_contiguous(weight));
    let dx = match (conv.is_direct(), conv.source()) {
        (true, _) => {
            let packed = packed(&weight, &conv, [conv.k, conv.c], Role::Backward, dy.dtype);
            let back = Conv {
                c: conv.k,
                k: conv.c,
                ..conv
            };
            slide(&Operand::new(dy, back), packed, &back, conv.c)
        }
        (false, Source::Patches) => gradient_by_phases(dy, &weight, &conv),
        (false, _) => gradient_by_rows(dy, &weight, &conv),
    };
    permute_nhwc_to_nchw(dx)
}

/// The gradient of the images of a convolution with a stride: for the pixels of each phase a convolution of its own, by the taps that
/// reach them. Where none does it writes zeros.
fn gradient_by_phases(dy: CubeTensor, weight: &CubeTensor, conv: &Conv) -> CubeTensor {
    let packed = packed(weight, conv, [conv.k, conv.c], Role::Backward, dy.dtype);
    let dx = empty(&dy, [conv.n, conv.h, conv.w, conv.c], dy.dtype);
    let [h, w] = conv.output();
    for down in conv.phases(conv.h) {
        for right in conv.phases(conv.w) {
            let over = Conv {
                c: down.taps * right.taps * conv.k,
                h: down.size,
                w: right.size,
                k: conv.c,
                side: 1,
                stride: 1,
                pad: 0,
                ..*conv
            };
            let patches = PatchesLaunch::new(
                h as u32,
                w as u32,
                1,
                down.pad,
                right.pad,
                DivisorLaunch::of(right.taps.max(1)),
                DivisorLaunch::of(conv.k / TILE),
                (down.first_tap * conv.side + right.first_tap) as u32,
                (conv.stride * conv.side) as u32,
                conv.stride as u32,
                (conv.side * conv.side) as u32,
            );
            let results = ResultsLaunch::new(
                conv.h as u32,
                conv.w as u32,
                conv.stride as u32,
                down.first as u32,
                right.first as u32,
            );
            let (dy, packed) = (dy.clone(), packed.clone());
            slide_into(&dx, dy, packed, &over, Source::Patches, patches, results);
        }
    }
    dx
}

/// The same for any number of channels, by rows in memory.
fn gradient_by_rows(dy: CubeTensor, weight: &CubeTensor, conv: &Conv) -> CubeTensor {
    let [h, w] = conv.output();
    let over = conv.over_rows();
    let packed = packed(
        weight,
        conv,
        [conv.k, over.c],
        Role::GatheredBackward,
        dy.dtype,
    );
    let back = Conv {
        c: conv.k,
        k: over.c,
        ..over
    };
    let rows = slide(&Operand::new(dy.clone(), back), packed, &back, over.c);
    let dx = empty(&dy, [conv.n, conv.h, conv.w, conv.c], dy.dtype);
    let vectors = conv.c / VECTOR;
    let total = conv.n * conv.h * conv.w * vectors;
    let client = dy.client.clone();
    let (count, dim) = elementwise(&client, total);
    scatter::launch(
        &client,
        count,
        dim,
        VECTOR,
        rows.into_buffer_arg(),
        dx.clone().into_buffer_arg(),
        DivisorLaunch::of(vectors),
        DivisorLaunch::of(conv.w),
        DivisorLaunch::of(conv.h),
        DivisorLaunch::of(conv.stride),
        (over.c / VECTOR) as u32,
        h as u32,
        w as u32,
        total,
        conv.side as u32,
        conv.pad as u32,
        dtype_to_storage_type(dy.dtype),
    );
    dx
}
