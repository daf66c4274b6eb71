//! Where pixels are, for the kernels of the convolutions.
//!
//! Pixels are counted through with an empty one behind each row and an empty row behind each image, so that the neighbours of a pixel
//! are always the same number of places away and what is outside an image is an empty place.

use cubecl::prelude::*;

/// Channels of a tile.
pub(super) const TILE: usize = 64;
/// Channels in a vector of 16 bytes.
pub(super) const VECTOR: usize = 8;
/// Vectors of a tile's row.
pub(super) const ROW: usize = TILE / VECTOR;

/// What is fixed when a kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Taps {
    /// Side of the kernel: 1, or 3 with a padding of 1.
    pub side: usize,
    /// Places before the first and behind the last that the taps reach.
    pub halo: usize,
}

/// A divisor, and what makes a division by it a multiplication (Granlund and Montgomery 1994), for dividends below 2^31.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Divisor {
    pub divisor: u32,
    pub multiplier: u32,
    pub shift: u32,
}

impl DivisorLaunch {
    pub(super) fn of(divisor: usize) -> Self {
        let shift = divisor.next_power_of_two().trailing_zeros();
        let multiplier = (1u64 << 32) * ((1 << shift) - divisor as u64) / divisor as u64 + 1;
        Self::new(divisor as u32, multiplier as u32, shift)
    }
}

/// Quotient and remainder.
#[cube]
pub(super) fn divided(dividend: u32, by: &Divisor) -> (u32, u32) {
    let quotient = (u32::mul_hi(dividend, by.multiplier) + dividend) >> by.shift;
    (quotient, dividend - quotient * by.divisor)
}

/// Where a place is in the images.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Places {
    /// Places of an image, places of a row.
    pub image: Divisor,
    pub row: Divisor,
    pub height: u32,
    pub width: u32,
    /// All places.
    pub total: u32,
}

/// The vector at a place, zero for an empty one.
#[cube]
pub(super) fn read<E: Float, N: Size>(
    rows: &[Vector<E, N>],
    places: &Places,
    place: i32,
    column: usize,
    columns: usize,
) -> Vector<E, N> {
    let inside = place >= 0 && (place as u32) < places.total;
    let place = select(inside, place as u32, 0u32);
    let (image, rest) = divided(place, &places.image);
    let (y, x) = divided(rest, &places.row);
    let full = inside && y < places.height && x < places.width && column < columns;
    let mut value = Vector::<E, N>::new(E::from_int(0));
    if full {
        let row = (image * places.height + y) * places.width + x;
        value = rows[row as usize * columns + column];
    }
    value
}

/// Where the rows of an operand come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Each place is a row.
    Rows,
    /// Each place is a result of a convolution, and its row the neighbourhood of that: taps by channels, a multiple of a tile.
    Patches,
    /// The same for a kernel of 7x7 at stride 2 with a padding of 3 over pixels of four channels: 8 rows of 8 pixels, of which one row
    /// and the first pixel of each row have weights of zero, so that each vector of two pixels begins at a multiple of 16 bytes.
    Stem,
}

/// The images that neighbourhoods are taken from, and the taps that belong to their pixels.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Patches {
    pub height: u32,
    pub width: u32,
    pub stride: u32,
    /// Padding above; modulo 2^32, as it may be below 0.
    pub pad_down: u32,
    /// Padding at the left, likewise.
    pub pad_right: u32,
    /// Pixels of a neighbourhood's row.
    pub side: Divisor,
    /// Tiles of a pixel's channels.
    pub tiles: Divisor,
    /// The tap of a neighbourhood's first pixel, and from there to that of the pixel below and of that beside it.
    pub first_tap: u32,
    pub tap_down: u32,
    pub tap_right: u32,
    /// All taps of the kernel.
    pub taps: u32,
}

/// Where results go: every `step`th pixel of images, from a first one on.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Results {
    pub height: u32,
    pub width: u32,
    pub step: u32,
    pub down: u32,
    pub right: u32,
}

/// One vector of a row: number `vector` of its tile.
#[cube]
pub(super) fn load<E: Float, N: Size>(
    x: &[Vector<E, N>],
    places: &Places,
    patches: &Patches,
    place: i32,
    tile: usize,
    vector: usize,
    columns: usize,
    #[comptime] source: Source,
) -> Vector<E, N> {
    match comptime!(source) {
        Source::Rows => read::<E, N>(x, places, place, tile * ROW + vector, columns),
        Source::Patches => {
            let (tap, channel_tile) = divided(tile as u32, &patches.tiles);
            let (down, right) = divided(tap, &patches.side);
            let place = place as u32;
            let (image, rest) = divided(place, &places.image);
            let (oy, ox) = divided(rest, &places.row);
            // Below 0 they wrap around and are too large.
            let y = oy * patches.stride + down - patches.pad_down;
            let px = ox * patches.stride + right - patches.pad_right;
            let mut value = Vector::<E, N>::new(E::from_int(0));
            if place < places.total && y < patches.height && px < patches.width {
                let pixel = (image * patches.height + y) * patches.width + px;
                let column = channel_tile * comptime!(ROW as u32) + vector as u32;
                value =
                    x[(pixel * patches.tiles.divisor * comptime!(ROW as u32) + column) as usize];
            }
            value
        }
        Source::Stem => {
            let place = place as u32;
            let (image, rest) = divided(place, &places.image);
            let (oy, ox) = divided(rest, &places.row);
            let down = tile as u32 * 2 + vector as u32 / 4;
            let y = oy * 2 + down - 3;
            let px = ox * 2 + vector as u32 % 4 * 2 - 4;
            let mut value = Vector::<E, N>::new(E::from_int(0));
            if place < places.total && down < 7 && y < patches.height && px < patches.width {
                let pixel = (image * patches.height + y) * patches.width + px;
                value = x[(pixel / 2) as usize];
            }
            value
        }
    }
}

/// Where a vector of a row lies in shared memory. Rows are 128 bytes long, all banks of it; the swap keeps eight rows of the same
/// column in different ones.
#[cube]
pub(super) fn swizzled(row: usize, column: usize) -> usize {
    row * ROW + (column ^ (row % 8))
}

/// Sums of products that are all 0: `blocks` of 16 by 8, of each `vectors` in a thread.
#[cube]
pub(super) fn zeros<N: Size>(
    #[comptime] blocks: usize,
    #[comptime] vectors: usize,
) -> Sequence<Array<Vector<f32, N>>> {
    let mut sums = Sequence::<Array<Vector<f32, N>>>::new();
    #[unroll]
    for _ in 0..blocks {
        let mut sum = Array::<Vector<f32, N>>::new(vectors);
        #[unroll]
        for v in 0..vectors {
            sum[v] = Vector::new(0.0f32);
        }
        sums.push(sum);
    }
    sums
}
