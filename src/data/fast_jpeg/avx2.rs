//! The inverse transform with AVX2's own instructions.
//!
//! Input and output: as [`Portable`](super::transform::Portable), bit for bit. Why it is here: of rows that become columns, which both
//! transforms need, a compiler makes single values in ordinary registers. Said in instructions, a block takes less than half the time.

use std::any::Any;
use std::arch::x86_64::{__m128i, __m256i};

use pulp::x86::{V3, V4};
use pulp::{Simd, cast};

use super::SIDE;
use super::entropy::Block;
use super::transform::{CONSTANT_BITS, Factors, KEPT_BITS, Transform, fixed};

/// The instructions, where `simd` stands for a set that has them.
#[inline(always)]
pub(super) fn of<S: Simd>(simd: S) -> Option<V3> {
    let simd: &dyn Any = &simd;
    let of_larger = || simd.downcast_ref::<V4>().map(|larger| **larger);
    simd.downcast_ref::<V3>().copied().or_else(of_larger)
}

impl Transform for V3 {
    #[inline(always)]
    fn rows<const USED: usize>(self, block: &Block, factors: &Factors) -> [[u8; SIDE]; SIDE] {
        let zero = self.avx._mm256_setzero_si256();
        let (values, _) = block.values.as_chunks::<SIDE>();
        let (factors, _) = factors.0.as_chunks::<SIDE>();
        let mut rows = [zero; SIDE];
        for y in 0..USED {
            let values: __m128i = cast(values[y]);
            let values = self.avx2._mm256_cvtepi16_epi32(values);
            rows[y] = self.avx2._mm256_mullo_epi32(values, cast(factors[y]));
        }
        let rows = pass::<{ CONSTANT_BITS as i32 - KEPT_BITS as i32 }, USED>(self, rows);
        let columns = transposed::<USED>(self, rows);
        let columns = pass::<{ CONSTANT_BITS as i32 + KEPT_BITS as i32 + 3 }, USED>(self, columns);
        bytes(self, columns)
    }
}

/// As the portable one, eight columns at once.
#[inline(always)]
fn pass<const SHIFT: i32, const USED: usize>(simd: V3, v: [__m256i; SIDE]) -> [__m256i; SIDE] {
    let avx2 = simd.avx2;
    let add = |a, b| avx2._mm256_add_epi32(a, b);
    let sub = |a, b| avx2._mm256_sub_epi32(a, b);
    let all = |value| simd.avx._mm256_set1_epi32(value);
    let times = |a, constant| avx2._mm256_mullo_epi32(a, all(constant));
    // Even coefficients.
    let both = times(add(v[2], v[6]), fixed(0.541_196_100));
    let low = sub(both, times(v[6], fixed(1.847_759_065)));
    let high = add(both, times(v[2], fixed(0.765_366_865)));
    // What rounds is in each of the sums once.
    let first = avx2._mm256_slli_epi32::<{ CONSTANT_BITS as i32 }>(v[0]);
    let first = add(first, all(1 << (SHIFT - 1)));
    let fourth = avx2._mm256_slli_epi32::<{ CONSTANT_BITS as i32 }>(v[4]);
    let (sum, difference) = (add(first, fourth), sub(first, fourth));
    let even = [
        add(sum, high),
        add(difference, low),
        sub(difference, low),
        sub(sum, high),
    ];
    // Odd ones.
    let z1 = times(add(v[7], v[1]), -fixed(0.899_976_223));
    let z2 = times(add(v[5], v[3]), -fixed(2.562_915_447));
    let (z3, z4) = (add(v[7], v[3]), add(v[5], v[1]));
    let z5 = times(add(z3, z4), fixed(1.175_875_602));
    let z3 = add(times(z3, -fixed(1.961_570_560)), z5);
    let z4 = add(times(z4, -fixed(0.390_180_644)), z5);
    let odd = [
        add(times(v[1], fixed(1.501_321_110)), add(z1, z4)),
        add(times(v[3], fixed(3.072_711_026)), add(z2, z3)),
        add(times(v[5], fixed(2.053_119_869)), add(z2, z4)),
        add(times(v[7], fixed(0.298_631_336)), add(z1, z3)),
    ];
    let mut out = v;
    for y in 0..4 {
        out[y] = avx2._mm256_srai_epi32::<SHIFT>(add(even[y], odd[y]));
        out[7 - y] = avx2._mm256_srai_epi32::<SHIFT>(sub(even[y], odd[y]));
    }
    out
}

/// Columns from rows; the first `USED`, of which there are four or eight.
#[inline(always)]
fn transposed<const USED: usize>(simd: V3, rows: [__m256i; SIDE]) -> [__m256i; SIDE] {
    let avx2 = simd.avx2;
    let mut columns = [simd.avx._mm256_setzero_si256(); SIDE];
    for half in 0..USED / 4 {
        // Four columns of row y, and those of row y + 4.
        let pair = |y: usize| match half {
            0 => avx2._mm256_permute2x128_si256::<0x20>(rows[y], rows[y + 4]),
            _ => avx2._mm256_permute2x128_si256::<0x31>(rows[y], rows[y + 4]),
        };
        let rows = [pair(0), pair(1), pair(2), pair(3)];
        let low = [
            avx2._mm256_unpacklo_epi32(rows[0], rows[1]),
            avx2._mm256_unpacklo_epi32(rows[2], rows[3]),
        ];
        let high = [
            avx2._mm256_unpackhi_epi32(rows[0], rows[1]),
            avx2._mm256_unpackhi_epi32(rows[2], rows[3]),
        ];
        columns[4 * half] = avx2._mm256_unpacklo_epi64(low[0], low[1]);
        columns[4 * half + 1] = avx2._mm256_unpackhi_epi64(low[0], low[1]);
        columns[4 * half + 2] = avx2._mm256_unpacklo_epi64(high[0], high[1]);
        columns[4 * half + 3] = avx2._mm256_unpackhi_epi64(high[0], high[1]);
    }
    columns
}

/// Rows of samples from columns of values, which are 128 less.
#[inline(always)]
fn bytes(simd: V3, columns: [__m256i; SIDE]) -> [[u8; SIDE]; SIDE] {
    let avx2 = simd.avx2;
    // In either half four bytes of four columns; then four rows of them.
    const TURN: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
    let turn: __m256i = cast([TURN; 2]);
    let four = |at: usize| {
        let pair = |at: usize| avx2._mm256_packs_epi32(columns[at], columns[at + 1]);
        // Signed bytes are limited as samples are once 128 is added, which turns their highest bit.
        let bytes = avx2._mm256_packs_epi16(pair(at), pair(at + 2));
        avx2._mm256_shuffle_epi8(bytes, turn)
    };
    let (left, right) = (four(0), four(4));
    let turned = |rows| avx2._mm256_xor_si256(rows, simd.avx._mm256_set1_epi8(-128));
    let even: [[[u8; SIDE]; 2]; 2] = cast(turned(avx2._mm256_unpacklo_epi32(left, right)));
    let odd: [[[u8; SIDE]; 2]; 2] = cast(turned(avx2._mm256_unpackhi_epi32(left, right)));
    cast([even[0], odd[0], even[1], odd[1]])
}
