//! TrivialAugment: one operation, drawn at random, at a strength drawn at random ("wide" ranges).
//!
//! Input and output: a square [`RgbImage`]. Operations and ranges are those of torchvision's `TrivialAugmentWide`, with
//! nearest-neighbour geometry and black corners.

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand::rngs::StdRng;

use super::jitter::{self, blend, map_bytes};

/// Strengths are drawn from this many steps, the weakest included.
const STEPS: u32 = 31;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

const OPERATIONS: [Operation; 14] = [
    Operation::Identity,
    Operation::ShearX,
    Operation::ShearY,
    Operation::TranslateX,
    Operation::TranslateY,
    Operation::Rotate,
    Operation::Brightness,
    Operation::Color,
    Operation::Contrast,
    Operation::Sharpness,
    Operation::Posterize,
    Operation::Solarize,
    Operation::AutoContrast,
    Operation::Equalize,
];

/// Applies one random operation.
pub fn apply(image: RgbImage, rng: &mut StdRng) -> RgbImage {
    let operation = OPERATIONS[rng.random_range(0..OPERATIONS.len())];
    let step = rng.random_range(0..STEPS);
    let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    run(image, operation, step as f32 / (STEPS - 1) as f32, sign)
}

/// Runs the operation of torchvision's name `name` at one of the steps.
#[cfg(test)]
pub fn run_named(image: RgbImage, name: &str, step: u32, sign: f32) -> RgbImage {
    let named = OPERATIONS
        .iter()
        .find(|operation| format!("{operation:?}") == name);
    run(
        image,
        *named.unwrap(),
        step as f32 / (STEPS - 1) as f32,
        sign,
    )
}

/// Runs `operation` at `strength` in 0..=1; `sign` is its direction where it has one.
fn run(mut image: RgbImage, operation: Operation, strength: f32, sign: f32) -> RgbImage {
    let shear = sign * 0.99 * strength;
    // Whole pixels, as a translation of a picture is.
    let shift = sign * (32.0 * strength).trunc();
    let factor = 1.0 + sign * 0.99 * strength;
    match operation {
        Operation::Identity => {}
        Operation::ShearX => {
            return affine(&image, [[1.0, shear], [0.0, 1.0]], [0.0, 0.0], [0.0, 0.0]);
        }
        Operation::ShearY => {
            return affine(&image, [[1.0, 0.0], [shear, 1.0]], [0.0, 0.0], [0.0, 0.0]);
        }
        Operation::TranslateX => return affine(&image, IDENTITY, [-shift, 0.0], [0.0, 0.0]),
        Operation::TranslateY => return affine(&image, IDENTITY, [0.0, -shift], [0.0, 0.0]),
        Operation::Rotate => return rotate(&image, sign * 135.0 * strength),
        Operation::Brightness => jitter::brightness(&mut image, factor),
        Operation::Color => jitter::saturation(&mut image, factor),
        Operation::Contrast => jitter::contrast(&mut image, factor),
        Operation::Sharpness => return sharpness(&image, factor),
        Operation::Posterize => {
            let bits = 8 - (strength * 6.0).round_ties_even() as u32;
            map_bytes(&mut image, |byte| byte & (0xFF00u32 >> bits) as u8);
        }
        Operation::Solarize => {
            let threshold = 255.0 * (1.0 - strength);
            map_bytes(&mut image, |byte| {
                if f32::from(byte) < threshold {
                    byte
                } else {
                    255 - byte
                }
            });
        }
        Operation::AutoContrast => map_channels(&mut image, autocontrast_table),
        Operation::Equalize => map_channels(&mut image, equalize_table),
    }
    image
}

const IDENTITY: [[f32; 2]; 2] = [[1.0, 0.0], [0.0, 1.0]];

/// Turns the picture counter-clockwise about its centre.
fn rotate(image: &RgbImage, degrees: f32) -> RgbImage {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let centre = [image.width() as f32 / 2.0, image.height() as f32 / 2.0];
    affine(image, [[cos, -sin], [sin, cos]], [0.0, 0.0], centre)
}

/// Output pixel `p` takes the input pixel at `matrix * (p - centre) + centre + offset`, black outside.
fn affine(image: &RgbImage, matrix: [[f32; 2]; 2], offset: [f32; 2], centre: [f32; 2]) -> RgbImage {
    let (width, height) = image.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        // Pixels are sampled at their centres.
        let (dx, dy) = (x as f32 + 0.5 - centre[0], y as f32 + 0.5 - centre[1]);
        let source = |row: usize| {
            (matrix[row][0] * dx + matrix[row][1] * dy + centre[row] + offset[row]).floor()
        };
        let (sx, sy) = (source(0), source(1));
        let inside = sx >= 0.0 && sy >= 0.0 && sx < width as f32 && sy < height as f32;
        if inside {
            *image.get_pixel(sx as u32, sy as u32)
        } else {
            Rgb([0; 3])
        }
    })
}

/// Blends the picture with a smoothed copy of it; the border row of pixels is kept.
fn sharpness(image: &RgbImage, factor: f32) -> RgbImage {
    let (width, height) = image.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        let pixel = *image.get_pixel(x, y);
        if x == 0 || y == 0 || x + 1 == width || y + 1 == height {
            return pixel;
        }
        let mut sums = pixel.0.map(|byte| 4 * u32::from(byte));
        for (nx, ny) in (y - 1..=y + 1).flat_map(|ny| (x - 1..=x + 1).map(move |nx| (nx, ny))) {
            for (sum, byte) in sums.iter_mut().zip(image.get_pixel(nx, ny).0) {
                *sum += u32::from(byte);
            }
        }
        let smooth = sums.map(|sum| ((sum as f32 / 13.0) + 0.5) as u8);
        Rgb(std::array::from_fn(|c| {
            blend(smooth[c], pixel.0[c], factor)
        }))
    })
}

/// Maps each channel through the table that `make` derives from its histogram.
fn map_channels(image: &mut RgbImage, make: fn(&[u32; 256]) -> [u8; 256]) {
    let mut histograms = [[0u32; 256]; 3];
    for pixel in image.pixels() {
        for (histogram, byte) in histograms.iter_mut().zip(pixel.0) {
            histogram[usize::from(byte)] += 1;
        }
    }
    let tables = histograms.each_ref().map(make);
    for pixel in image.pixels_mut() {
        for (byte, table) in pixel.0.iter_mut().zip(&tables) {
            *byte = table[usize::from(*byte)];
        }
    }
}

/// Stretches the range of values in use to 0..=255.
fn autocontrast_table(histogram: &[u32; 256]) -> [u8; 256] {
    let lowest = histogram.iter().position(|&n| n > 0).unwrap_or(0);
    let highest = histogram.iter().rposition(|&n| n > 0).unwrap_or(0);
    if highest <= lowest {
        return std::array::from_fn(|byte| byte as u8);
    }
    let scale = 255.0 / (highest - lowest) as f64;
    let offset = -(lowest as f64) * scale;
    std::array::from_fn(|byte| (byte as f64 * scale + offset) as u8)
}

/// Makes all values about equally frequent.
fn equalize_table(histogram: &[u32; 256]) -> [u8; 256] {
    let total: u32 = histogram.iter().sum();
    let last = histogram.iter().rfind(|&&n| n > 0).copied().unwrap_or(0);
    let step = (total - last) / 255;
    if step == 0 {
        return std::array::from_fn(|byte| byte as u8);
    }
    let mut seen = step / 2;
    std::array::from_fn(|byte| {
        let level = (seen / step).min(255) as u8;
        seen += histogram[byte];
        level
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn picture() -> RgbImage {
        RgbImage::from_fn(48, 48, |x, y| {
            Rgb([40 + x as u8 * 3, 20 + y as u8 * 4, (x * y % 200) as u8])
        })
    }

    fn at(operation: Operation, strength: f32, sign: f32) -> RgbImage {
        run(picture(), operation, strength, sign)
    }

    #[test]
    fn signed_operations_at_strength_zero_change_nothing() {
        use Operation::*;
        for operation in [
            Identity, ShearX, ShearY, TranslateX, TranslateY, Rotate, Brightness, Color, Contrast,
            Sharpness, Posterize,
        ] {
            assert_eq!(at(operation, 0.0, -1.0), picture(), "{operation:?}");
        }
    }

    #[test]
    fn translation_moves_by_whole_pixels_and_leaves_black() {
        let moved = at(Operation::TranslateX, 0.5, 1.0);
        assert_eq!(moved[(0, 7)].0, [0; 3]);
        assert_eq!(moved[(16, 7)], picture()[(0, 7)]);
        let back = at(Operation::TranslateY, 0.5, -1.0);
        assert_eq!(back[(5, 0)], picture()[(5, 16)]);
    }

    #[test]
    fn a_quarter_turn_is_exact() {
        let turned = rotate(&picture(), 90.0);
        assert_eq!(turned, image::imageops::rotate270(&picture()));
    }

    #[test]
    fn tables_stretch_and_flatten() {
        let stretched = at(Operation::AutoContrast, 0.0, 1.0);
        let red: Vec<u8> = stretched.pixels().map(|p| p.0[0]).collect();
        assert_eq!((red.iter().min(), red.iter().max()), (Some(&0), Some(&255)));
        let mut flat = RgbImage::from_pixel(4, 4, Rgb([7, 8, 9]));
        map_channels(&mut flat, equalize_table);
        map_channels(&mut flat, autocontrast_table);
        assert_eq!(flat[(0, 0)].0, [7, 8, 9]);
    }

    #[test]
    fn solarize_and_posterize_at_full_strength() {
        let negative = at(Operation::Solarize, 1.0, 1.0);
        assert!(
            negative
                .iter()
                .zip(picture().iter())
                .all(|(a, b)| *a == 255 - b)
        );
        assert!(
            at(Operation::Posterize, 1.0, 1.0)
                .iter()
                .all(|b| b & 0x3F == 0)
        );
    }

    #[test]
    fn random_draws_reach_many_operations() {
        let distinct: std::collections::HashSet<Vec<u8>> = (0..200)
            .map(|seed| apply(picture(), &mut StdRng::seed_from_u64(seed)).into_raw())
            .collect();
        assert!(distinct.len() > 80, "{}", distinct.len());
    }
}
