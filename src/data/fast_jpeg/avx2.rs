//! The inverse transform and colours with AVX2's own instructions.
//!
//! Input and output: as [`Portable`](super::Portable), bit for bit. Why it is here: of rows that become columns, and of channels that
//! become pixels, a compiler makes single values in ordinary registers. Said in instructions, both take less than half the time.
//!
//! Closures are small here, and none is given to `map`: what is not inlined would be compiled for any processor.

use std::any::Any;
use std::arch::x86_64::{__m128i, __m256i};

use pulp::x86::{V3, V4};
use pulp::{Simd, cast};

use super::colour::{self, GROUP};
use super::entropy::Block;
use super::transform::{CONSTANT_BITS, Factors, KEPT_BITS, fixed};
use super::{Instructions, SIDE};

/// The instructions, where `simd` stands for a set that has them.
#[inline(always)]
pub(super) fn of<S: Simd>(simd: S) -> Option<V3> {
    let simd: &dyn Any = &simd;
    let of_larger = || simd.downcast_ref::<V4>().map(|larger| **larger);
    simd.downcast_ref::<V3>().copied().or_else(of_larger)
}

impl Instructions for V3 {
    #[inline(always)]
    fn samples<const USED: usize>(self, block: &Block, factors: &Factors) -> [[u8; SIDE]; SIDE] {
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

    #[inline(always)]
    fn pixels(self, luma: &[u8; GROUP], blue: &[u8; GROUP], red: &[u8; GROUP]) -> [u8; 3 * GROUP] {
        let half = |of: &[u8; GROUP], index: usize| -> __m128i {
            let (halves, _) = of.as_chunks::<16>();
            cast(halves[index])
        };
        let [r0, g0, b0] = channels(self, half(luma, 0), half(blue, 0), half(red, 0));
        let [r1, g1, b1] = channels(self, half(luma, 1), half(blue, 1), half(red, 1));
        interleaved(self, [[r0, r1], [g0, g1], [b0, b1]])
    }
}

/// 1 in the constants of the colours.
const ONE: i32 = 1 << 16;

/// Products with a constant of less than a half, rounded. The product with twice the sample comes without its lower 16 bits.
#[inline(always)]
fn scaled(simd: V3, samples: __m256i, constant: i32) -> __m256i {
    let avx2 = simd.avx2;
    let twice = avx2._mm256_add_epi16(samples, samples);
    let twice = avx2._mm256_mulhi_epi16(twice, simd.avx._mm256_set1_epi16(constant as i16));
    let rounded = avx2._mm256_add_epi16(twice, simd.avx._mm256_set1_epi16(1));
    avx2._mm256_srai_epi16::<1>(rounded)
}

/// What pairs of blue and red samples add to green, but for a whole red one.
#[inline(always)]
fn greens(simd: V3, pairs: __m256i) -> __m256i {
    const BLUE: i32 = -colour::fixed(0.344_14);
    const RED: i32 = ONE - colour::fixed(0.714_14);
    let constants: __m256i = cast([[BLUE as i16, RED as i16]; 8]);
    let sums = simd.avx2._mm256_madd_epi16(pairs, constants);
    let half = simd.avx._mm256_set1_epi32(ONE / 2);
    let rounded = simd.avx2._mm256_add_epi32(sums, half);
    simd.avx2._mm256_srai_epi32::<16>(rounded)
}

/// Red, green and blue of 16 pixels, in 16 bits. Constants are brought below a half, which fits, by whole samples.
#[inline(always)]
fn channels(simd: V3, luma: __m128i, blue: __m128i, red: __m128i) -> [__m256i; 3] {
    let avx2 = simd.avx2;
    let add = |a, b| avx2._mm256_add_epi16(a, b);
    let all = |value| simd.avx._mm256_set1_epi16(value);
    let luma = avx2._mm256_cvtepu8_epi16(luma);
    let centred = |samples| avx2._mm256_sub_epi16(avx2._mm256_cvtepu8_epi16(samples), all(128));
    let (blue, red) = (centred(blue), centred(red));
    let to_red = add(scaled(simd, red, colour::fixed(1.402) - ONE), red);
    let to_blue = scaled(simd, blue, colour::fixed(1.772) - 2 * ONE);
    let to_blue = add(to_blue, add(blue, blue));
    let to_green = avx2._mm256_packs_epi32(
        greens(simd, avx2._mm256_unpacklo_epi16(blue, red)),
        greens(simd, avx2._mm256_unpackhi_epi16(blue, red)),
    );
    let to_green = avx2._mm256_sub_epi16(to_green, red);
    [add(luma, to_red), add(luma, to_green), add(luma, to_blue)]
}

/// Which of 16 bytes of a channel stand in which of 48 of pixels; those of other channels are 0.
const fn places(channel: usize) -> [[u8; 16]; 3] {
    let mut places = [[0x80; 16]; 3];
    let mut pixel = 0;
    while pixel < 16 {
        let at = 3 * pixel + channel;
        places[at / 16][at % 16] = pixel as u8;
        pixel += 1;
    }
    places
}

/// Pixels from the channels of 16 and 16 pixels.
#[inline(always)]
fn interleaved(simd: V3, channels: [[__m256i; 2]; 3]) -> [u8; 3 * GROUP] {
    const PLACES: [[[u8; 16]; 3]; 3] = [places(0), places(1), places(2)];
    let avx2 = simd.avx2;
    let mut thirds = [simd.avx._mm256_setzero_si256(); 3];
    for (places, [left, right]) in PLACES.into_iter().zip(channels) {
        // The first 16 pixels in the lower half of the register, the others in the upper one.
        let bytes = avx2._mm256_packus_epi16(left, right);
        let bytes = avx2._mm256_permute4x64_epi64::<0b11_01_10_00>(bytes);
        for (third, places) in thirds.iter_mut().zip(places) {
            let placed = avx2._mm256_shuffle_epi8(bytes, cast([places; 2]));
            *third = avx2._mm256_or_si256(*third, placed);
        }
    }
    // Lower halves, then upper ones.
    let [a, b, c] = thirds;
    cast([
        avx2._mm256_permute2x128_si256::<0x20>(a, b),
        avx2._mm256_permute2x128_si256::<0x30>(c, a),
        avx2._mm256_permute2x128_si256::<0x31>(b, c),
    ])
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

/// The bytes of four columns from the one at `at`: of each row, four that follow each other. Values are limited as signed ones.
#[inline(always)]
fn four(simd: V3, columns: [__m256i; SIDE], at: usize) -> __m256i {
    const TURN: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
    let avx2 = simd.avx2;
    let first = avx2._mm256_packs_epi32(columns[at], columns[at + 1]);
    let second = avx2._mm256_packs_epi32(columns[at + 2], columns[at + 3]);
    let bytes = avx2._mm256_packs_epi16(first, second);
    avx2._mm256_shuffle_epi8(bytes, cast([TURN; 2]))
}

/// Rows of samples from columns of values, which are 128 less.
#[inline(always)]
fn bytes(simd: V3, columns: [__m256i; SIDE]) -> [[u8; SIDE]; SIDE] {
    let avx2 = simd.avx2;
    let (left, right) = (four(simd, columns, 0), four(simd, columns, 4));
    // 128 more turns the highest bit.
    let turned = |rows| avx2._mm256_xor_si256(rows, simd.avx._mm256_set1_epi8(-128));
    let even: [[[u8; SIDE]; 2]; 2] = cast(turned(avx2._mm256_unpacklo_epi32(left, right)));
    let odd: [[[u8; SIDE]; 2]; 2] = cast(turned(avx2._mm256_unpackhi_epi32(left, right)));
    cast([even[0], odd[0], even[1], odd[1]])
}

#[cfg(test)]
mod tests {
    use super::super::Portable;
    use super::*;

    #[test]
    fn blocks_are_those_of_any_processor_whatever_is_in_them() {
        let Some(simd) = V3::try_new() else { return };
        let mut state = 1u64;
        let mut random = |bits: u32| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state as i64 >> (64 - bits)) as i16
        };
        for round in 0..3000 {
            // From what photos hold to what only a broken file does.
            let bits = 3 + round % 14;
            let factors = Factors([(); 64].map(|()| i32::from(random(9).unsigned_abs())));
            let mut block = Block::default();
            for (at, value) in block.values.iter_mut().enumerate() {
                let is_first = at / SIDE < 4 && at % SIDE < 4;
                *value = if is_first { random(bits) } else { 0 };
            }
            let found = simd.samples::<4>(&block, &factors);
            assert_eq!(found, Portable.samples::<4>(&block, &factors));
            block
                .values
                .iter_mut()
                .for_each(|value| *value = random(bits));
            let found = simd.samples::<SIDE>(&block, &factors);
            assert_eq!(found, Portable.samples::<SIDE>(&block, &factors));
        }
    }

    #[test]
    fn colours_are_those_of_any_processor() {
        let Some(simd) = V3::try_new() else { return };
        for blue in 0..=255 {
            for red in (0..256).step_by(GROUP) {
                let reds = std::array::from_fn(|index| (red + index) as u8);
                for luma in [0, 99, 255] {
                    let luma = std::array::from_fn(|index| luma ^ index as u8);
                    let found = simd.pixels(&luma, &[blue; GROUP], &reds);
                    assert_eq!(found, Portable.pixels(&luma, &[blue; GROUP], &reds));
                }
            }
        }
    }
}
