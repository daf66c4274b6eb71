//! Colour operations on RGB bytes, with PIL's arithmetic.
//!
//! Input and output: an [`RgbImage`], changed in place. A factor of 1 changes nothing.

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// Range of the brightness, contrast and saturation factors around 1.
const STRENGTH: f32 = 0.4;
/// Range of the hue shift around 0, in turns of the colour wheel.
const HUE_TURNS: f32 = 0.1;

/// Random brightness, contrast, saturation and hue, in random order.
pub fn apply(image: &mut RgbImage, rng: &mut StdRng) {
    let mut order = [0, 1, 2, 3];
    order.shuffle(rng);
    for operation in order {
        if operation == 3 {
            hue(image, rng.random_range(-HUE_TURNS..=HUE_TURNS));
            continue;
        }
        let factor = rng.random_range(1.0 - STRENGTH..=1.0 + STRENGTH);
        match operation {
            0 => brightness(image, factor),
            1 => contrast(image, factor),
            _ => saturation(image, factor),
        }
    }
}

/// 0 gives black.
pub fn brightness(image: &mut RgbImage, factor: f32) {
    map_bytes(image, |byte| blend(0, byte, factor));
}

/// 0 gives the mean grey.
pub fn contrast(image: &mut RgbImage, factor: f32) {
    let count = u64::from(image.width()) * u64::from(image.height());
    let sum: u64 = image.pixels().map(|p| u64::from(grey(p))).sum();
    let mean = (sum as f64 / count.max(1) as f64 + 0.5) as u8;
    map_bytes(image, |byte| blend(mean, byte, factor));
}

/// 0 gives a grey picture.
pub fn saturation(image: &mut RgbImage, factor: f32) {
    for pixel in image.pixels_mut() {
        let grey = grey(pixel);
        pixel.0 = pixel.0.map(|byte| blend(grey, byte, factor));
    }
}

/// Turns the colour wheel by `turns`.
pub fn hue(image: &mut RgbImage, turns: f32) {
    for pixel in image.pixels_mut() {
        let [hue, saturation, value] = to_hsv(pixel.0);
        pixel.0 = from_hsv([wrap(hue + turns, 1.0), saturation, value]);
    }
}

/// `from + factor * (to - from)`, cut to the range of a byte and rounded down.
pub fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // A float turns into an integer by rounding toward zero and stays in the integer's range.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

/// Luma in the weights of ITU-R 601.
pub fn grey(pixel: &Rgb<u8>) -> u8 {
    let [r, g, b] = pixel.0.map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}

/// Replaces each byte by what `f` gives for it. `f` runs 256 times, not once per byte.
pub fn map_bytes(image: &mut RgbImage, f: impl Fn(u8) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|byte| f(byte as u8));
    for byte in image.iter_mut() {
        *byte = table[usize::from(*byte)];
    }
}

/// `value`, at most one `period` out of range, brought into 0..=period. A division would take most of the time of a hue
/// change.
fn wrap(value: f32, period: f32) -> f32 {
    if value < 0.0 {
        value + period
    } else if value >= period {
        value - period
    } else {
        value
    }
}

/// Hue in turns, saturation and value in 0..1.
fn to_hsv(rgb: [u8; 3]) -> [f32; 3] {
    let [r, g, b] = rgb.map(|byte| f32::from(byte) / 255.0);
    let (value, least) = (r.max(g).max(b), r.min(g).min(b));
    let range = value - least;
    if range == 0.0 {
        return [0.0, 0.0, value];
    }
    let sixths = if value == r {
        (g - b) / range
    } else if value == g {
        2.0 + (b - r) / range
    } else {
        4.0 + (r - g) / range
    };
    [wrap(sixths, 6.0) / 6.0, range / value, value]
}

fn from_hsv([hue, saturation, value]: [f32; 3]) -> [u8; 3] {
    [5.0, 3.0, 1.0].map(|n| {
        let sixths = wrap(n + hue * 6.0, 6.0);
        let channel = value - value * saturation * sixths.min(4.0 - sixths).clamp(0.0, 1.0);
        (channel * 255.0 + 0.5) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn picture() -> RgbImage {
        RgbImage::from_fn(16, 16, |x, y| {
            Rgb([x as u8 * 16, y as u8 * 16, 255 - x as u8 * 8])
        })
    }

    fn changed(f: impl Fn(&mut RgbImage)) -> RgbImage {
        let mut image = picture();
        f(&mut image);
        image
    }

    #[test]
    fn neutral_factors_change_nothing() {
        for f in [brightness, contrast, saturation] {
            assert_eq!(changed(|i| f(i, 1.0)), picture());
        }
        assert_eq!(changed(|i| hue(i, 0.0)), picture());
        assert_eq!(changed(|i| hue(i, 1.0)), picture());
    }

    #[test]
    fn zero_gives_black_mean_grey_and_grey() {
        assert!(changed(|i| brightness(i, 0.0)).iter().all(|&b| b == 0));
        let flat = changed(|i| contrast(i, 0.0));
        assert!(flat.iter().all(|&b| b == flat[(0, 0)].0[0]) && flat[(0, 0)].0[0] > 0);
        let grey_picture = changed(|i| saturation(i, 0.0));
        assert!(
            grey_picture
                .pixels()
                .zip(picture().pixels())
                .all(|(g, p)| g.0 == [grey(p); 3])
        );
    }

    #[test]
    fn blends_stay_in_the_range_of_a_byte() {
        assert_eq!(
            [
                blend(0, 200, 1.4),
                blend(255, 100, 1.9),
                blend(10, 20, 0.55)
            ],
            [255, 0, 15]
        );
    }

    #[test]
    fn a_third_of_a_turn_moves_red_to_green() {
        let mut image = RgbImage::from_pixel(1, 1, Rgb([200, 10, 10]));
        hue(&mut image, 1.0 / 3.0);
        assert_eq!(image[(0, 0)].0, [10, 200, 10]);
    }

    #[test]
    fn random_jitter_is_moderate() {
        for seed in 0..50 {
            let image = changed(|i| apply(i, &mut StdRng::seed_from_u64(seed)));
            let mean = |i: &RgbImage| i.iter().map(|&b| f64::from(b)).sum::<f64>() / i.len() as f64;
            let ratio = mean(&image) / mean(&picture());
            assert!((0.5..1.5).contains(&ratio), "seed {seed}: {ratio}");
        }
    }
}
