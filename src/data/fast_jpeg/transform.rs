//! Coefficients to samples: the inverse discrete cosine transform.
//!
//! Input: a [`Block`] and the factors of its quantisation. Output: 8 x 8 samples of 0 to 255. The fast algorithm is that of Loeffler,
//! Ligtenberg and Moschytz ("Practical Fast 1-D DCT Algorithms with 11 Multiplications", 1989) in whole numbers, with the same scales
//! and roundings as libjpeg's accurate one, so that samples are equal to its own.

use super::entropy::Block;
use super::{Instructions, SIDE};

/// Fraction bits of the constants, and those that are kept between columns and rows.
pub(super) const CONSTANT_BITS: u32 = 13;
pub(super) const KEPT_BITS: u32 = 2;

/// A number times 2^13, to the nearest whole one.
pub(super) const fn fixed(value: f64) -> i32 {
    (value * (1 << CONSTANT_BITS) as f64 + 0.5) as i32
}

/// What coefficients are multiplied with, by rows.
#[derive(Clone)]
pub(super) struct Factors(pub(super) [i32; 64]);

impl Factors {
    /// From the order of the file, which is that of the coefficients.
    pub(super) fn new(in_file: &[u8; 64]) -> Self {
        let mut factors = [0; 64];
        for (factor, place) in in_file.iter().zip(super::entropy::PLACES) {
            factors[usize::from(place)] = i32::from(*factor);
        }
        Factors(factors)
    }
}

/// Writes the samples of a block, whose rows are `stride` apart.
#[inline(always)]
pub(super) fn inverse(
    with: impl Instructions,
    block: &Block,
    factors: &Factors,
    target: &mut [u8],
    stride: usize,
) {
    let samples = match block.last {
        0 => {
            let value = i32::from(block.values[0]).wrapping_mul(factors.0[0]);
            [[sample(value.wrapping_add(4) >> 3); SIDE]; SIDE]
        }
        // The first ten lie within the first four rows and columns.
        1..10 => with.samples::<4>(block, factors),
        _ => with.samples::<SIDE>(block, factors),
    };
    for (y, samples) in samples.iter().enumerate() {
        target[y * stride..][..SIDE].copy_from_slice(samples);
    }
}

/// The samples of a block in which only the first `USED` rows and columns hold anything.
#[inline(always)]
pub(super) fn samples<const USED: usize>(block: &Block, factors: &Factors) -> [[u8; SIDE]; SIDE] {
    let mut values = [[0i32; SIDE]; SIDE];
    for (y, row) in values.iter_mut().take(USED).enumerate() {
        for (x, value) in row.iter_mut().enumerate() {
            let at = y * SIDE + x;
            *value = i32::from(block.values[at]).wrapping_mul(factors.0[at]);
        }
    }
    let columns = pass::<{ CONSTANT_BITS - KEPT_BITS }, USED>(&values);
    let rows = pass::<{ CONSTANT_BITS + KEPT_BITS + 3 }, USED>(&transposed(&columns));
    // Sixteen bits of each, which turn faster than bytes or words of 32.
    let samples = transposed(&each(&rows, |value| i16::from(sample(value))));
    each(&samples, |value| value as u8)
}

/// `f` of each. A loop, since the closures of an array's `map` would be compiled for any processor.
#[inline(always)]
fn each<A: Copy, B: Copy + Default>(
    from: &[[A; SIDE]; SIDE],
    f: impl Fn(A) -> B,
) -> [[B; SIDE]; SIDE] {
    let mut to = [[B::default(); SIDE]; SIDE];
    for (to, from) in to.iter_mut().zip(from) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f(*from);
        }
    }
    to
}

#[inline(always)]
fn sample(value: i32) -> u8 {
    value.wrapping_add(128).clamp(0, 255) as u8
}

type Values = [[i32; SIDE]; SIDE];

/// Three times each row of the upper half is interleaved with its fellow of the lower one, for which processors have instructions.
#[inline(always)]
fn transposed<T: Copy + Default>(values: &[[T; SIDE]; SIDE]) -> [[T; SIDE]; SIDE] {
    let mut all = *values;
    for _ in 0..3 {
        let mut next = [[T::default(); SIDE]; SIDE];
        for y in 0..SIDE / 2 {
            let (upper, lower) = (all[y], all[y + SIDE / 2]);
            for x in 0..SIDE / 2 {
                next[2 * y][2 * x] = upper[x];
                next[2 * y][2 * x + 1] = lower[x];
                next[2 * y + 1][2 * x] = upper[SIDE / 2 + x];
                next[2 * y + 1][2 * x + 1] = lower[SIDE / 2 + x];
            }
        }
        all = next;
    }
    all
}

/// Transforms eight columns at once, one a vector lane, of which only the first `USED` values are not 0. Sums are divided by 2^`SHIFT` and rounded.
#[inline(always)]
fn pass<const SHIFT: u32, const USED: usize>(values: &Values) -> Values {
    let mut out = [[0i32; SIDE]; SIDE];
    for x in 0..SIDE {
        let v = |y: usize| if y < USED { values[y][x] } else { 0 };
        let times = |a: i32, constant: i32| a.wrapping_mul(constant);
        // Even coefficients.
        let both = times(v(2).wrapping_add(v(6)), fixed(0.541_196_100));
        let low = both.wrapping_sub(times(v(6), fixed(1.847_759_065)));
        let high = both.wrapping_add(times(v(2), fixed(0.765_366_865)));
        let sum = v(0).wrapping_add(v(4)) << CONSTANT_BITS;
        let difference = v(0).wrapping_sub(v(4)) << CONSTANT_BITS;
        let even = [
            sum.wrapping_add(high),
            difference.wrapping_add(low),
            difference.wrapping_sub(low),
            sum.wrapping_sub(high),
        ];
        // Odd ones.
        let z1 = times(v(7).wrapping_add(v(1)), -fixed(0.899_976_223));
        let z2 = times(v(5).wrapping_add(v(3)), -fixed(2.562_915_447));
        let (z3, z4) = (v(7).wrapping_add(v(3)), v(5).wrapping_add(v(1)));
        let z5 = times(z3.wrapping_add(z4), fixed(1.175_875_602));
        let z3 = times(z3, -fixed(1.961_570_560)).wrapping_add(z5);
        let z4 = times(z4, -fixed(0.390_180_644)).wrapping_add(z5);
        let sum_of = |a: i32, b: i32, c: i32| a.wrapping_add(b).wrapping_add(c);
        let odd = [
            sum_of(times(v(1), fixed(1.501_321_110)), z1, z4),
            sum_of(times(v(3), fixed(3.072_711_026)), z2, z3),
            sum_of(times(v(5), fixed(2.053_119_869)), z2, z4),
            sum_of(times(v(7), fixed(0.298_631_336)), z1, z3),
        ];
        let rounded = |value: i32| value.wrapping_add(1 << (SHIFT - 1)) >> SHIFT;
        for y in 0..4 {
            out[y][x] = rounded(even[y].wrapping_add(odd[y]));
            out[7 - y][x] = rounded(even[y].wrapping_sub(odd[y]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Portable;
    use super::*;

    fn block(values: &[(usize, i16)]) -> Block {
        let mut block = Block::default();
        values
            .iter()
            .for_each(|(at, value)| block.values[*at] = *value);
        block.last = if values.iter().all(|(at, _)| *at == 0) {
            0
        } else {
            63
        };
        block
    }

    fn samples(block: &Block) -> [u8; 64] {
        let mut samples = [0; 64];
        inverse(Portable, block, &Factors([3; 64]), &mut samples, SIDE);
        samples
    }

    #[test]
    fn samples_are_those_of_the_definition() {
        use std::f64::consts::{FRAC_1_SQRT_2, PI};
        let block = block(&[
            (0, 40),
            (1, -31),
            (8, 22),
            (9, 17),
            (18, -9),
            (35, 12),
            (62, 6),
            (63, -5),
        ]);
        let found = samples(&block);
        for y in 0..8 {
            for x in 0..8 {
                let mut sum = 0.0;
                for (v, u) in (0..8).flat_map(|v| (0..8).map(move |u| (v, u))) {
                    let scale = |k: usize| if k == 0 { FRAC_1_SQRT_2 } else { 1.0 };
                    let cosine =
                        |at: usize, k: usize| ((2 * at + 1) as f64 * k as f64 * PI / 16.0).cos();
                    let value = 3.0 * f64::from(block.values[v * 8 + u]);
                    sum += scale(u) * scale(v) * value * cosine(x, u) * cosine(y, v) / 4.0;
                }
                let expected = (sum + 128.0).clamp(0.0, 255.0);
                let difference = (expected - f64::from(found[y * 8 + x])).abs();
                assert!(
                    difference <= 0.51,
                    "{x} {y}: {expected} {}",
                    found[y * 8 + x]
                );
            }
        }
    }

    #[test]
    fn rows_become_columns() {
        let mut values = [[0; SIDE]; SIDE];
        for (y, row) in values.iter_mut().enumerate() {
            row.iter_mut()
                .enumerate()
                .for_each(|(x, value)| *value = 10 * y + x);
        }
        let found = transposed(&values);
        assert!((0..8).all(|y| (0..8).all(|x| found[y][x] == 10 * x + y)));
    }

    #[test]
    fn a_flat_block_is_what_the_long_way_makes_of_it() {
        for value in [-700, -3, -1, 0, 1, 2, 57, 700] {
            let mut flat = block(&[(0, value)]);
            let short = samples(&flat);
            flat.last = 63;
            assert_eq!(short, samples(&flat), "{value}");
        }
    }
}
