//! The kernels of the weight gradient of a convolution.
//!
//! Input: images and the gradient of the result as rows of channels, bfloat16. Output: sums in float32.
//!
//! A weight gradient is a product of two matrices with few rows and columns, the channels, and a very long sum, over every pixel of
//! every image. So the sum is what is shared out: a cube adds up a part of the pixels for 64 by 64 channels and all taps of the kernel
//! at once, 9 of them for a 3x3 kernel, from one copy of the images in shared memory.
//!
//! How places are counted: [`places`](super::places).

use cubecl::cmma::{MatrixIdent, MmaDefinition};
use cubecl::prelude::*;

use super::places::{
    Patches, Places, ROW, Source, TILE, Taps, VECTOR, load, read, swizzled, zeros,
};

/// Places that are added up between two barriers.
pub(super) const PLACES: usize = 64;
/// Threads of a cube: eight warps, which share 64 output channels by 64 input channels.
pub(super) const THREADS: usize = 256;
/// Vectors of the gradient that a thread reads in a step.
const DY_LOADS: usize = PLACES * ROW / THREADS;

/// Places of the images that a step needs: its own, and those that the taps reach.
fn x_rows(taps: Taps) -> usize {
    PLACES + 2 * taps.halo
}

/// Blocks of 16 output channels and of 8 input channels of a warp. All taps of a block of input channels multiply the same gradients, so
/// with many taps the fewest reads are those of a warp with few input channels.
fn blocks(taps: Taps) -> (usize, usize) {
    match taps.side {
        1 => (1, 4),
        _ => (4, 1),
    }
}

/// Places from a pixel to that which a tap takes. Behind the last tap as for the last.
fn shift(taps: Taps, tap: usize) -> usize {
    let tap = tap.min(taps.side * taps.side - 1);
    match taps.side {
        1 => 0,
        side => tap / side * (taps.halo - 1) + tap % side,
    }
}

/// Vectors of them that a thread reads.
fn x_loads(taps: Taps) -> usize {
    (x_rows(taps) * ROW).div_ceil(THREADS)
}

/// Reads what a thread brings into shared memory for the step whose first place is `first`.
#[cube]
fn read_step<E: Float, N: Size>(
    x: &[Vector<E, N>],
    dy: &[Vector<E, N>],
    x_next: &mut Array<Vector<E, N>>,
    dy_next: &mut Array<Vector<E, N>>,
    places: &Places,
    patches: &Patches,
    first: usize,
    x_columns: usize,
    dy_columns: usize,
    #[comptime] taps: Taps,
    #[comptime] source: Source,
) {
    let (k_tile, c_tile) = tiles(dy_columns);
    let unit = UNIT_POS_X as usize;
    let vector = unit % ROW;
    #[unroll]
    for i in 0..comptime!(DY_LOADS) {
        let row = i * comptime!(THREADS / ROW) + unit / ROW;
        let place = (first + row) as i32;
        dy_next[i] = read::<E, N>(dy, places, place, k_tile * ROW + vector, dy_columns);
    }
    #[unroll]
    for i in 0..comptime!(x_loads(taps)) {
        let row = i * comptime!(THREADS / ROW) + unit / ROW;
        let place = (first + row) as i32 - comptime!(taps.halo as i32);
        x_next[i] = load::<E, N>(x, places, patches, place, c_tile, vector, x_columns, source);
    }
}

/// The tile of output channels and that of input channels of a cube.
#[cube]
fn tiles(dy_columns: usize) -> (usize, usize) {
    let k_tiles = dy_columns / ROW;
    (CUBE_POS_X as usize % k_tiles, CUBE_POS_X as usize / k_tiles)
}

/// Sums over the places of a part: `partial[part, tap, k, c]`. Cubes along x: tiles of `k` times tiles of `c`; along y: parts.
#[cube(launch)]
pub(super) fn sum_products<E: Float, N: Size, M: Size>(
    x: &[Vector<E, N>],
    dy: &[Vector<E, N>],
    partial: &mut [Vector<f32, M>],
    places: &Places,
    patches: &Patches,
    x_columns: usize,
    dy_columns: usize,
    steps: usize,
    #[comptime] taps: Taps,
    #[comptime] source: Source,
    #[define(E)] _dtype: ElemType,
) {
    let count = comptime!(taps.side * taps.side);
    let x_rows = comptime!(x_rows(taps));
    let dy_loads = comptime!(DY_LOADS);
    let x_loads = comptime!(x_loads(taps));

    let (k_tile, c_tile) = tiles(dy_columns);
    let unit = UNIT_POS_X as usize;
    let lane = unit % 32;
    let warp = unit / 32;
    let (k_blocks, c_blocks) = comptime!(blocks(taps));
    let (k_warp, c_warp) = (warp % (4 / k_blocks), warp / (4 / k_blocks));

    let mut dy_stage =
        Shared::<[Vector<E, N>]>::new_aligned_slice(comptime!(PLACES * ROW), 16usize);
    let mut x_stage = Shared::<[Vector<E, N>]>::new_aligned_slice(comptime!(x_rows * ROW), 16usize);

    let def = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let size!(NB) = def.vector_size(MatrixIdent::B);
    let size!(NC) = def.vector_size(MatrixIdent::Accumulator);
    let acc_vectors = def.vectors_per_lane(MatrixIdent::Accumulator);
    let acc_width = def.vector_size(MatrixIdent::Accumulator);
    let mut sums = zeros::<NC>(comptime!(count * 4), acc_vectors);

    // What the next step needs is read while this one is computed.
    let mut dy_next = Array::<Vector<E, N>>::new(dy_loads);
    let mut x_next = Array::<Vector<E, N>>::new(x_loads);
    let first = CUBE_POS_Y as usize * steps * comptime!(PLACES);
    read_step::<E, N>(
        x,
        dy,
        &mut x_next,
        &mut dy_next,
        places,
        patches,
        first,
        x_columns,
        dy_columns,
        taps,
        source,
    );

    for step in 0..steps {
        sync_cube();
        #[unroll]
        for i in 0..dy_loads {
            let row = i * comptime!(THREADS / ROW) + unit / ROW;
            dy_stage[swizzled(row, unit % ROW)] = dy_next[i];
        }
        #[unroll]
        for i in 0..x_loads {
            let row = i * comptime!(THREADS / ROW) + unit / ROW;
            if row < x_rows {
                x_stage[swizzled(row, unit % ROW)] = x_next[i];
            }
        }
        sync_cube();
        let next = first + (step + 1) * comptime!(PLACES);
        if step + 1 < steps {
            read_step::<E, N>(
                x,
                dy,
                &mut x_next,
                &mut dy_next,
                places,
                patches,
                next,
                x_columns,
                dy_columns,
                taps,
                source,
            );
        }
        for slice in 0..comptime!(PLACES / 16) {
            // Both operands have the places, over which is summed, as rows: each 8 by 8 block is transposed on its way.
            let row = slice * 16 + lane % 8 + lane / 16 * 8;
            let mut slopes = Sequence::<Array<Vector<E, NB>>>::new();
            #[unroll]
            for block in 0..k_blocks {
                let at = swizzled(row, (k_warp * k_blocks + block) * 2 + lane / 8 % 2);
                slopes.push(def.load_matrix::<Vector<E, N>, NB>(
                    &dy_stage[at..at + 1],
                    MatrixIdent::A,
                    4usize,
                    true,
                ));
            }
            let near = slice * 16 + lane % 16;
            // Two operands in a read: neighbouring channels, or with one block of channels neighbouring taps.
            #[unroll]
            for read in 0..comptime!((count * c_blocks).div_ceil(2)) {
                let (row, column) = if comptime!(c_blocks == 1) {
                    let shift = select(
                        lane < 16,
                        comptime!(shift(taps, read * 2)).runtime(),
                        comptime!(shift(taps, read * 2 + 1)).runtime(),
                    );
                    (near + shift, c_warp)
                } else {
                    let tap = comptime!(read * 2 / c_blocks);
                    let block = comptime!(read * 2 % c_blocks);
                    let shift = comptime!(shift(taps, tap)).runtime();
                    (near + shift, c_warp * c_blocks + block + lane / 16)
                };
                let at = swizzled(row, column);
                let b = def.load_matrix::<Vector<E, N>, NB>(
                    &x_stage[at..at + 1],
                    MatrixIdent::B,
                    4usize,
                    true,
                );
                #[unroll]
                for part in 0..2usize {
                    if comptime!(read * 2 + part < count * c_blocks) {
                        let mut operand = Array::<Vector<E, NB>>::new(2usize);
                        operand[0] = b[comptime!(part * 2)];
                        operand[1] = b[comptime!(part * 2 + 1)];
                        #[unroll]
                        for block in 0..k_blocks {
                            let sum =
                                sums.index_mut(comptime!((read * 2 + part) * k_blocks + block));
                            def.execute_inplace(slopes.index(block), &operand, sum);
                        }
                    }
                }
            }
        }
    }

    let k_count = dy_columns * VECTOR;
    let c_count = x_columns * VECTOR;
    let part = CUBE_POS_Y as usize;
    #[unroll]
    for tap in 0..count {
        #[unroll]
        for block in 0..4usize {
            // Of a tap one block of channels behind the other, each with its blocks of rows.
            let sum = sums.index(comptime!(tap * 4 + block));
            let k_block = comptime!(block % k_blocks);
            let c_block = comptime!(block / k_blocks);
            // Two neighbours in the upper eight rows, two in the lower.
            #[unroll]
            for half in 0..2usize {
                let k_from = (k_warp * k_blocks + k_block) * 16 + comptime!(half * 8);
                let c_from = (c_warp * c_blocks + c_block) * 8;
                let k = k_tile * TILE + k_from + lane / 4;
                let c = c_tile * TILE + c_from + lane % 4 * 2;
                let mut two = Vector::<f32, M>::empty();
                #[unroll]
                for e in 0..2usize {
                    let value = sum[comptime!((half * 2 + e) / acc_width)]
                        .extract(comptime!((half * 2 + e) % acc_width));
                    two.insert(e, value);
                }
                if c < c_count {
                    partial[(((part * count + tap) * k_count + k) * c_count + c) / 2] = two;
                }
            }
        }
    }
}

/// What the columns of a sum are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Columns {
    /// Input channels, once for each tap.
    Channels,
    /// Taps by input channels.
    Taps,
    /// Those of [`Source::Stem`].
    Stem,
}

/// Adds up the parts. `partial` is `[parts, taps, k, c]`, `output` `[k, c, taps]`.
#[cube(launch)]
pub(super) fn add_parts(
    partial: &[f32],
    output: &mut [f32],
    parts: usize,
    values: usize,
    taps: usize,
    k_count: usize,
    c_count: usize,
    c_kept: usize,
    #[comptime] layout: Columns,
) {
    let value = ABSOLUTE_POS;
    if value >= values {
        terminate!();
    }
    let mut sum = 0.0f32;
    for part in 0..parts {
        sum += partial[part * values + value];
    }
    let c = value % c_count;
    let k = value / c_count % k_count;
    match comptime!(layout) {
        Columns::Channels => {
            let tap = value / c_count / k_count;
            output[(k * c_kept + c) * taps + tap] = sum;
        }
        Columns::Taps => {
            // Unused ones are behind.
            let tap = c / c_kept;
            if tap < taps {
                output[(k * c_kept + c % c_kept) * taps + tap] = sum;
            }
        }
        Columns::Stem => {
            let (down, pixel, channel) = (c / 32, c / 4 % 8, c % 4);
            if down < 7 && pixel > 0 && channel < 3 {
                output[(k * c_kept + channel) * taps + down * 7 + pixel - 1] = sum;
            }
        }
    }
}
