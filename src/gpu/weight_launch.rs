//! Runs the kernels of the weight gradients on tensors of a GPU.
//!
//! Input: images `[n, c, h, w]` and the gradient of the result, bfloat16, channels side by side in memory. Output: the gradient of the
//! weights, `[k, c, side, side]`, float32.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::conv_launch::{Operand, elementwise};
use super::conv_shape::Conv;
use super::places::{Source, TILE, VECTOR};
use super::tensors::{channels_last, empty};
use super::weight_kernels::{self, Columns, add_parts, sum_products};

/// Multiprocessors of a large GPU.
const MULTIPROCESSORS: usize = 132;
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
        2,
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
