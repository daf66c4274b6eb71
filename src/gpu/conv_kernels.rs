//! The kernel of a convolution, forward and for the gradient of its input.
//!
//! Input: images as rows of channels, bfloat16, and weights that were [packed](super::gather_kernels::pack). Output: images.
//!
//! A cube computes 256 places by 64 output channels. It keeps 64 input channels of these places and of their neighbours in shared memory,
//! and multiplies them with the weights of every tap: nine uses of each value that was read. Meanwhile it may read the next 64. Weights come
//! straight from the cache, in the order in which the threads want them.

use cubecl::cmma::{MatrixIdent, MmaDefinition};
use cubecl::prelude::*;

use super::places::{Patches, Places, ROW, Results, Source, Taps, divided, load, swizzled, zeros};

/// Places of a cube.
pub(super) const PLACES: usize = 256;
/// Threads of a cube: eight warps, four times 64 places by two times 32 output channels.
pub(super) const THREADS: usize = 256;

/// `y[place, k] = sum over taps and c of x[place + tap, c] * weight[k, c, tap]`. Cubes along x: places, along y: tiles of `k`. `count` is the
/// number of taps: were it known to the compiler, it would unroll the loop over them, and registers for what it reads ahead would cost
/// the second cube of a multiprocessor.
#[cube(launch)]
pub(super) fn convolve<E: Float, N: Size>(
    x: &[Vector<E, N>],
    weight: &[Vector<E, N>],
    y: &mut [Vector<E, N>],
    places: &Places,
    patches: &Patches,
    results: &Results,
    x_columns: usize,
    y_columns: usize,
    count: usize,
    #[comptime] taps: Taps,
    #[comptime] source: Source,
    #[comptime] staging: Staging,
    #[define(E)] _dtype: ElemType,
) {
    let halo = comptime!(taps.halo);
    let x_rows = comptime!(x_rows(taps));
    // What a tile takes in the shared memory.
    let room = comptime!(x_rows * ROW);

    let unit = UNIT_POS_X as usize;
    let lane = unit % 32;
    let warp = unit / 32;
    let (row_warp, k_warp) = (warp % 4, warp / 4);
    let first = CUBE_POS_X as usize * PLACES;
    let k_tile = CUBE_POS_Y as usize;
    let tiles = x_columns / ROW;

    let mut stage =
        Shared::<[Vector<E, N>]>::new_aligned_slice(comptime!(staging.tiles() * room), 16usize);
    let def = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let size!(NB) = def.vector_size(MatrixIdent::B);
    let size!(NC) = def.vector_size(MatrixIdent::Accumulator);
    let acc_vectors = def.vectors_per_lane(MatrixIdent::Accumulator);
    let acc_width = def.vector_size(MatrixIdent::Accumulator);
    let mut sums = zeros::<NC>(16usize, acc_vectors);

    if comptime!(staging == Staging::Ahead) && tiles > 0 {
        fill::<E, N>(
            x, &mut stage, places, patches, 0usize, first, x_columns, taps, source,
        );
        sync_cube();
    }
    for tile in 0..tiles {
        let (here, there) = match comptime!(staging) {
            Staging::InTurn => {
                sync_cube();
                fill::<E, N>(
                    x, &mut stage, places, patches, tile, first, x_columns, taps, source,
                );
                sync_cube();
                (0usize.runtime(), 0usize.runtime())
            }
            Staging::Ahead => (tile % 2 * room, (tile + 1) % 2 * room),
        };
        let weights = first_weight(patches, k_tile, tile, tiles, count, source);
        for tap in 0..count {
            // Places from a pixel to its neighbour.
            let shift = if comptime!(taps.side == 1) {
                0usize.runtime()
            } else {
                tap / comptime!(taps.side) * comptime!(halo - 1) + tap % comptime!(taps.side)
            };
            // A part of the next tile is under way while a part of this tap is computed.
            #[unroll]
            for of_tap in 0..comptime!(PARTS) {
                let part = tap * comptime!(PARTS) + of_tap;
                let loads = comptime!(staging.loads(taps));
                let ahead = comptime!(staging == Staging::Ahead) && tile + 1 < tiles;
                let mut next = Array::<Vector<E, N>>::new(comptime!(Ord::max(loads, 1)));
                if ahead {
                    read_part::<E, N>(
                        x,
                        &mut next,
                        places,
                        patches,
                        part,
                        tile + 1,
                        first,
                        x_columns,
                        loads,
                        taps,
                        source,
                    );
                }
                #[unroll]
                for of_part in 0..comptime!(4 / PARTS) {
                    let slice = comptime!(of_tap * (4 / PARTS) + of_part);
                    let block = weights + ((tap * 4 + slice) * 4 + k_warp * 2) * 32 + lane;
                    let near = row_warp * 64 + shift + lane % 16;
                    let mut operands = Sequence::<Array<Vector<E, NB>>>::new();
                    #[unroll]
                    for pair in 0..2usize {
                        let found = weight[block + comptime!(pair * 32)];
                        #[unroll]
                        for part in 0..2usize {
                            let mut operand = Array::<Vector<E, NB>>::new(2usize);
                            #[unroll]
                            for v in 0..2usize {
                                let mut two = Vector::<E, NB>::empty();
                                two.insert(0usize, found.extract(comptime!(part * 4 + v * 2)));
                                two.insert(1usize, found.extract(comptime!(part * 4 + v * 2 + 1)));
                                operand[v] = two;
                            }
                            operands.push(operand);
                        }
                    }
                    #[unroll]
                    for block_row in 0..4usize {
                        let row = near + comptime!(block_row * 16);
                        let at = here + swizzled(row, comptime!(slice * 2) + lane / 16);
                        let a = def.load_matrix::<Vector<E, N>, NB>(
                            &stage[at..at + 1],
                            MatrixIdent::A,
                            4usize,
                            false,
                        );
                        #[unroll]
                        for column in 0..4usize {
                            let sum = sums.index_mut(comptime!(block_row * 4 + column));
                            def.execute_inplace(&a, operands.index(column), sum);
                        }
                    }
                }
                if ahead {
                    write_part::<E, N>(&mut stage, &next, part, there, loads, taps);
                }
            }
        }
        if comptime!(staging == Staging::Ahead) {
            sync_cube();
        }
    }

    // By way of the shared memory each row is written in whole vectors: two values at a time would cost four times the traffic.
    sync_cube();
    let pairs = stage.with_vector_size_mut::<NB>();
    #[unroll]
    for block_row in 0..4usize {
        #[unroll]
        for column in 0..4usize {
            let sum = sums.index(comptime!(block_row * 4 + column));
            // Vectors of two neighbours: one of the upper eight rows, one of the lower.
            #[unroll]
            for half in 0..2usize {
                let row = row_warp * 64 + comptime!(block_row * 16 + half * 8) + lane / 4;
                let mut two = Vector::<E, NB>::empty();
                #[unroll]
                for e in 0..2usize {
                    let value = sum[comptime!((half * 2 + e) / acc_width)]
                        .extract(comptime!((half * 2 + e) % acc_width));
                    two.insert(e, E::cast_from(value));
                }
                pairs[swizzled(row, k_warp * 4 + column) * 4 + lane % 4] = two;
            }
        }
    }
    sync_cube();
    for i in 0..comptime!(PLACES * ROW / THREADS) {
        let row = i * comptime!(THREADS / ROW) + unit / ROW;
        let place = (first + row) as u32;
        let (image, rest) = divided(place, &places.image);
        let (py, px) = divided(rest, &places.row);
        if place < places.total && py < places.height && px < places.width {
            let y_row = image * results.height + py * results.step + results.down;
            let y_row = (y_row * results.width + px * results.step + results.right) as usize;
            let column = k_tile * ROW + unit % ROW;
            y[y_row * y_columns + column] = stage[swizzled(row, unit % ROW)];
        }
    }
}

/// Places whose channels a cube needs.
fn x_rows(taps: Taps) -> usize {
    PLACES + 2 * taps.halo
}

/// How tiles of the input come into the shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Staging {
    /// Each when the one before it is done with; meanwhile another cube of the multiprocessor computes.
    InTurn,
    /// Each in parts, while the one before it is computed with.
    Ahead,
}

impl Staging {
    fn tiles(self) -> usize {
        match self {
            Staging::InTurn => 1,
            Staging::Ahead => 2,
        }
    }

    /// Vectors that a thread reads in a part.
    fn loads(self, taps: Taps) -> usize {
        let parts = taps.side * taps.side * PARTS;
        match self {
            Staging::InTurn => 0,
            Staging::Ahead => (x_rows(taps) * ROW).div_ceil(THREADS * parts),
        }
    }
}

/// Parts of a tap, during each of which a part of the next tile is read. The longer they are the surer it has come, but what is read takes
/// registers.
const PARTS: usize = 2;

/// The row of a tile in which a thread's vector number `i` of a part is.
#[cube]
fn row_of_part(part: usize, i: usize, #[comptime] loads: usize) -> usize {
    (part * loads + i) * comptime!(THREADS / ROW) + UNIT_POS_X as usize / ROW
}

/// Reads a thread's vectors of a part of a tile: `loads` of each part.
#[cube]
fn read_part<E: Float, N: Size>(
    x: &[Vector<E, N>],
    values: &mut Array<Vector<E, N>>,
    places: &Places,
    patches: &Patches,
    part: usize,
    tile: usize,
    first: usize,
    x_columns: usize,
    #[comptime] loads: usize,
    #[comptime] taps: Taps,
    #[comptime] source: Source,
) {
    let column = UNIT_POS_X as usize % ROW;
    #[unroll]
    for i in 0..loads {
        let row = row_of_part(part, i, loads);
        if row < comptime!(x_rows(taps)) {
            let place = (first + row) as i32 - comptime!(taps.halo as i32);
            values[i] = load::<E, N>(x, places, patches, place, tile, column, x_columns, source);
        }
    }
}

/// Writes them where the tile lies that begins at `at`.
#[cube]
fn write_part<E: Float, N: Size>(
    stage: &mut Shared<[Vector<E, N>]>,
    values: &Array<Vector<E, N>>,
    part: usize,
    at: usize,
    #[comptime] loads: usize,
    #[comptime] taps: Taps,
) {
    let column = UNIT_POS_X as usize % ROW;
    #[unroll]
    for i in 0..loads {
        let row = row_of_part(part, i, loads);
        if row < comptime!(x_rows(taps)) {
            stage[at + swizzled(row, column)] = values[i];
        }
    }
}

/// Brings a whole tile to the beginning of the shared memory.
#[cube]
fn fill<E: Float, N: Size>(
    x: &[Vector<E, N>],
    stage: &mut Shared<[Vector<E, N>]>,
    places: &Places,
    patches: &Patches,
    tile: usize,
    first: usize,
    x_columns: usize,
    #[comptime] taps: Taps,
    #[comptime] source: Source,
) {
    // Reads under way at once: more would cost registers, and with them the second cube of a multiprocessor.
    let at_once = comptime!(4usize);
    let mut values = Array::<Vector<E, N>>::new(at_once);
    for part in 0..comptime!((x_rows(taps) * ROW).div_ceil(THREADS * at_once)) {
        read_part::<E, N>(
            x,
            &mut values,
            places,
            patches,
            part,
            tile,
            first,
            x_columns,
            at_once,
            taps,
            source,
        );
        write_part::<E, N>(stage, &values, part, 0usize.runtime(), at_once, taps);
    }
}

/// Where the weights of a tile of outputs and a tile of inputs begin. All taps of 64 by 64 channels lie side by side.
#[cube]
fn first_weight(
    patches: &Patches,
    k_tile: usize,
    tile: usize,
    tiles: usize,
    count: usize,
    #[comptime] source: Source,
) -> usize {
    let block = match comptime!(source) {
        // A tile of such a row is one tap.
        Source::Patches => {
            let (pixel, channel_tile) = divided(tile as u32, &patches.tiles);
            let (down, right) = divided(pixel, &patches.side);
            let tap = patches.first_tap + down * patches.tap_down + right * patches.tap_right;
            let channels = k_tile as u32 * patches.tiles.divisor + channel_tile;
            (channels * patches.taps + tap) as usize
        }
        Source::Rows | Source::Stem => (k_tile * tiles + tile) * count,
    };
    block * comptime!(4usize * 4 * 32)
}
