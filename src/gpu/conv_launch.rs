//! Runs the kernels of the convolutions on tensors of a GPU.
//!
//! Input: images `[n, c, h, w]` of bfloat16 whose channels lie side by side in memory, others are copied first; weights
//! `[k, c, side, side]` of float32. Output: images of the same kind, or the gradient of the weights.
//!
//! Two kernels compute everything. One slides a kernel of 3x3 at stride 1, or of 1x1, over the images; another sums up its weight
//! gradient. Other convolutions are those of 1x1 over rows that hold the neighbourhood of each result.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::permute_nhwc_to_nchw;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::conv_kernels::{self, convolve};
use super::gather_kernels::{Role, gather, pack, scatter, widen};
use super::places::{
    DivisorLaunch, PatchesLaunch, PlacesLaunch, ResultsLaunch, Source, TILE, Taps, VECTOR,
};
use super::tensors::{channels_last, empty};
use super::weight_kernels::{self, Columns, add_parts, sum_products};

/// Multiprocessors of a large GPU.
const MULTIPROCESSORS: usize = 132;
/// Widest images over which a kernel of 3x3 slides: with their neighbours 256 places must fit into 96 KB of shared memory, which every GPU
/// that computes in bfloat16 has.
const WIDEST: usize = 240;
/// Threads of a cube in the kernels that compute each value by itself.
const THREADS: u32 = 256;

/// A convolution without bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conv {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    pub k: usize,
    pub side: usize,
    pub stride: usize,
    pub pad: usize,
}

impl Conv {
    /// Of images `[n, c, h, w]` and weights `[k, c, side, side]`.
    pub(super) fn new(x: &[usize], weight: &[usize], stride: usize, pad: usize) -> Self {
        Conv {
            n: x[0],
            c: x[1],
            h: x[2],
            w: x[3],
            k: weight[0],
            side: weight[2],
            stride,
            pad,
        }
    }

    /// Height and width of the result.
    pub(super) fn output(&self) -> [usize; 2] {
        [self.h, self.w].map(|size| (size + 2 * self.pad - self.side) / self.stride + 1)
    }

    /// Whether the kernels slide over the images themselves.
    fn is_direct(&self) -> bool {
        let kernel = (self.side, self.stride, self.pad);
        let slides = match kernel {
            (1, 1, 0) => true,
            (3, 1, 1) => self.w <= WIDEST,
            _ => false,
        };
        slides && self.c.is_multiple_of(TILE)
    }

    /// Where the rows of the convolution of 1x1 come from: straight from the images where whole tiles of a row lie side by side there.
    fn source(&self) -> Source {
        let kernel = (self.side, self.stride, self.pad);
        match kernel {
            _ if self.c.is_multiple_of(TILE) => Source::Patches,
            (7, 2, 3) if self.c == 3 && self.w.is_multiple_of(2) => Source::Stem,
            _ => Source::Rows,
        }
    }

    /// Columns of a gathered row.
    fn columns(&self) -> usize {
        match self.source() {
            Source::Stem => 8 * 8 * 4,
            _ => (self.side * self.side * self.c).next_multiple_of(TILE),
        }
    }

    /// The convolution of 1x1 over gathered rows.
    fn over_rows(&self) -> Conv {
        let [h, w] = self.output();
        Conv {
            n: self.n,
            c: self.columns(),
            h,
            w,
            k: self.k,
            side: 1,
            stride: 1,
            pad: 0,
        }
    }

    fn taps(&self) -> Taps {
        match self.side {
            1 => Taps { side: 1, halo: 0 },
            side => Taps {
                side,
                halo: self.w + 2,
            },
        }
    }

    /// Places of a row, of an image and of all images.
    fn places(&self) -> [usize; 3] {
        let empty = self.side / 2;
        let row = self.w + empty;
        let image = row * (self.h + empty);
        [row, image, image * self.n]
    }

    /// The images that the rows of a convolution of 1x1 are taken from.
    fn patches_launch(&self) -> PatchesLaunch {
        PatchesLaunch::new(
            self.h as u32,
            self.w as u32,
            self.stride as u32,
            self.pad as u32,
            self.pad as u32,
            DivisorLaunch::of(self.side),
            DivisorLaunch::of(self.c.div_ceil(TILE)),
            0,
            self.side as u32,
            1,
            (self.side * self.side) as u32,
        )
    }

    /// Results that lie side by side.
    fn results_launch(&self) -> ResultsLaunch {
        ResultsLaunch::new(self.h as u32, self.w as u32, 1, 0, 0)
    }

    fn places_launch(&self) -> PlacesLaunch {
        let [row, image, total] = self.places();
        PlacesLaunch::new(
            DivisorLaunch::of(image),
            DivisorLaunch::of(row),
            self.h as u32,
            self.w as u32,
            total as u32,
        )
    }
}

fn elementwise(client: &Client, units: usize) -> (CubeCount, CubeDim) {
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
struct Operand {
    x: CubeTensor,
    source: Source,
    /// The convolution that the user asked for.
    conv: Conv,
}

impl Operand {
    /// Images `[n, h, w, c]`, contiguous, for the convolution over their pixels, or over rows of neighbourhoods.
    fn new(x: CubeTensor, conv: Conv) -> Self {
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
        dtype,
    );
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

/// Every `stride`th pixel of an axis of the input. The same taps reach all of them.
struct Phase {
    /// The first pixel, and how many there are.
    first: usize,
    size: usize,
    /// Taps that reach them. Each belongs to another pixel of the result.
    taps: usize,
    /// From the number of such a pixel back to the first pixel of the result that reaches it; modulo 2^32.
    pad: u32,
    /// The tap of that pixel, in the turned round order of [`Role::Backward`].
    first_tap: usize,
}

impl Conv {
    /// The phases of an axis of `length` pixels.
    fn phases(&self, length: usize) -> impl Iterator<Item = Phase> {
        let Conv {
            side, stride, pad, ..
        } = *self;
        (0..stride.min(length)).map(move |first| {
            // Tap `t` of result `o` reaches pixel `o * stride + t - pad`.
            let (last_result, tap) = ((first + pad) / stride, (first + pad) % stride);
            let taps = side.saturating_sub(tap).div_ceil(stride);
            let first_result = (last_result + 1) as i32 - taps as i32;
            Phase {
                first,
                size: (length - first).div_ceil(stride),
                taps,
                pad: -first_result as u32,
                first_tap: (side - 1).saturating_sub(tap + taps.saturating_sub(1) * stride),
            }
        })
    }
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

/// The gradient of the weights, `[k, c, side, side]`, float32.
pub(super) fn weight_gradient(
    x: CubeTensor,
    dy: CubeTensor,
    weight: &CubeTensor,
    stride: usize,
    pad: usize,
) -> CubeTensor {
    let shape: [usize; 4] = weight.meta.shape().dims();
    let conv = Conv::new(x.meta.shape(), &shape, stride, pad);
    let (x, dy) = (channels_last(x), channels_last(dy));
    let Operand { x, source, .. } = Operand::new(x, conv);
    let (over, columns) = match (conv.is_direct(), source) {
        (true, _) => (conv, Columns::Channels),
        (false, Source::Stem) => (conv.over_rows(), Columns::Stem),
        (false, _) => (conv.over_rows(), Columns::Taps),
    };
    let taps = over.taps();
    let count = taps.side * taps.side;
    let [_, _, places] = over.places();
    let tiles = over.k / TILE * (over.c / TILE);
    // The sums of 9 taps leave room for one cube on a multiprocessor; that of one for four.
    let cubes = match taps.side {
        1 => 4 * MULTIPROCESSORS,
        _ => MULTIPROCESSORS,
    };
    let all_steps = places.div_ceil(weight_kernels::PLACES);
    let steps = all_steps.div_ceil((cubes / tiles).clamp(1, all_steps));
    let parts = all_steps.div_ceil(steps);
    let partial = empty(&x, [parts, count, over.k, over.c], DType::F32);
    let client = x.client.clone();
    let dtype = dtype_to_storage_type(x.dtype);
    sum_products::launch(
        &client,
        CubeCount::Static(tiles as u32, parts as u32, 1),
        CubeDim::new_1d(weight_kernels::THREADS as u32),
        VECTOR,
        x.clone().into_buffer_arg(),
        dy.into_buffer_arg(),
        partial.clone().into_buffer_arg(),
        over.places_launch(),
        conv.patches_launch(),
        over.c / VECTOR,
        over.k / VECTOR,
        steps,
        taps,
        source,
        dtype,
    );
    let output = empty(&x, shape, DType::F32);
    let values = count * over.k * over.c;
    let (cube_count, dim) = elementwise(&client, values);
    add_parts::launch(
        &client,
        cube_count,
        dim,
        partial.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        parts,
        values,
        conv.side * conv.side,
        over.k,
        over.c,
        conv.c,
        columns,
    );
    output
}
