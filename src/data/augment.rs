//! Training preprocessing: a random variant of the picture at every epoch.
//!
//! Input: an upright [`RgbImage`] and a seeded generator. Output: `crop` x `crop` RGB bytes, as
//! [`Preprocess::apply`] gives. The operations and their ranges are those that torchvision documents.

use clap::ValueEnum;
use image::RgbImage;
use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::pixels::{Crop, resize_crop};
use super::preprocess::Preprocess;
use super::{jitter, trivial};

/// How strongly training images are varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Augmentation {
    /// Same pixels at every epoch: the evaluation preprocessing.
    None,
    /// Random crop of 8 to 100 % of the area, resized; mirrored half of the time.
    Crop,
    /// As crop, then random brightness, contrast, saturation and hue.
    CropColor,
    /// As crop, then one random operation of TrivialAugment.
    Trivial,
}

/// Share of the area that a random crop covers.
const CROP_AREA: (f64, f64) = (0.08, 1.0);
/// Width divided by height of a random crop.
const CROP_RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

impl Augmentation {
    /// A variant of `image` in the size of `preprocess`, drawn from `rng`.
    pub fn apply(self, image: &RgbImage, preprocess: &Preprocess, rng: &mut StdRng) -> Vec<u8> {
        if self == Self::None {
            return preprocess.apply(image);
        }
        let crop = random_crop(image.width(), image.height(), rng);
        let mut pixels = resize_crop(image, crop, preprocess.crop, preprocess.crop);
        if rng.random_bool(0.5) {
            image::imageops::flip_horizontal_in_place(&mut pixels);
        }
        match self {
            Self::CropColor => jitter::apply(&mut pixels, rng),
            Self::Trivial => pixels = trivial::apply(pixels, rng),
            Self::None | Self::Crop => {}
        }
        pixels.into_raw()
    }
}

/// The box of a random resized crop: ten attempts at a random area and ratio, then the largest centred box whose ratio
/// is allowed.
fn random_crop(width: u32, height: u32, rng: &mut StdRng) -> Crop {
    let area = f64::from(width) * f64::from(height);
    let (min_ratio, max_ratio) = CROP_RATIO;
    for _ in 0..10 {
        let target = area * rng.random_range(CROP_AREA.0..=CROP_AREA.1);
        // Uniform in the logarithm, so that a ratio and its inverse are equally likely.
        let ratio = rng.random_range(min_ratio.ln()..=max_ratio.ln()).exp();
        let crop_width = (target * ratio).sqrt().round_ties_even() as u32;
        let crop_height = (target / ratio).sqrt().round_ties_even() as u32;
        if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
            let top = rng.random_range(0..=height - crop_height);
            let left = rng.random_range(0..=width - crop_width);
            return Crop {
                left,
                top,
                width: crop_width,
                height: crop_height,
            };
        }
    }
    let ratio = f64::from(width) / f64::from(height);
    let (mut crop_width, mut crop_height) = (width, height);
    if ratio < min_ratio {
        crop_height = ((f64::from(width) / min_ratio).round_ties_even() as u32).clamp(1, height);
    } else if ratio > max_ratio {
        crop_width = ((f64::from(height) * max_ratio).round_ties_even() as u32).clamp(1, width);
    }
    Crop {
        left: (width - crop_width) / 2,
        top: (height - crop_height) / 2,
        width: crop_width,
        height: crop_height,
    }
}

#[cfg(test)]
mod golden;

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use rand::SeedableRng;

    const ALL: [Augmentation; 4] = [
        Augmentation::None,
        Augmentation::Crop,
        Augmentation::CropColor,
        Augmentation::Trivial,
    ];

    fn picture() -> RgbImage {
        RgbImage::from_fn(90, 60, |x, y| {
            Rgb([x as u8 * 2, y as u8 * 4, (x * y) as u8])
        })
    }

    #[test]
    fn names_on_the_command_line_and_in_json_agree() {
        for augmentation in ALL {
            let name = augmentation
                .to_possible_value()
                .unwrap()
                .get_name()
                .to_string();
            assert_eq!(serde_json::to_value(augmentation).unwrap(), name);
        }
        assert_eq!(
            serde_json::to_value(Augmentation::CropColor).unwrap(),
            "crop-color"
        );
    }

    #[test]
    fn a_seed_decides_the_pixels() {
        let (image, preprocess) = (picture(), Preprocess::imagenet(32));
        for augmentation in ALL {
            let run =
                |seed| augmentation.apply(&image, &preprocess, &mut StdRng::seed_from_u64(seed));
            assert_eq!(run(1), run(1));
            assert_eq!(run(1).len(), 32 * 32 * 3);
            assert_eq!(
                run(1) == run(2),
                augmentation == Augmentation::None,
                "{augmentation:?}"
            );
        }
    }

    #[test]
    fn crops_stay_inside_and_cover_the_range_of_areas_and_ratios() {
        let mut rng = StdRng::seed_from_u64(0);
        let (mut smallest, mut largest) = (f64::MAX, f64::MIN);
        for _ in 0..2000 {
            let crop = random_crop(400, 300, &mut rng);
            assert!(crop.left + crop.width <= 400 && crop.top + crop.height <= 300);
            let ratio = f64::from(crop.width) / f64::from(crop.height);
            assert!((0.73..1.37).contains(&ratio), "{crop:?}");
            let area = f64::from(crop.width * crop.height) / 120_000.0;
            (smallest, largest) = (smallest.min(area), largest.max(area));
        }
        assert!(smallest < 0.1 && largest > 0.95, "{smallest} {largest}");
    }

    #[test]
    fn a_picture_too_long_for_any_crop_gives_its_centre() {
        let mut rng = StdRng::seed_from_u64(0);
        assert_eq!(
            random_crop(1000, 3, &mut rng),
            Crop {
                left: 498,
                top: 0,
                width: 4,
                height: 3
            }
        );
        assert_eq!(
            random_crop(3, 1000, &mut rng),
            Crop {
                left: 0,
                top: 498,
                width: 3,
                height: 4
            }
        );
        assert_eq!(
            random_crop(1, 1, &mut rng),
            Crop {
                left: 0,
                top: 0,
                width: 1,
                height: 1
            }
        );
    }

    #[test]
    fn half_of_the_crops_are_mirrored() {
        // A picture that grows brighter to the right shows which way round it lies.
        let image = RgbImage::from_fn(64, 64, |x, _| Rgb([x as u8 * 4; 3]));
        let preprocess = Preprocess::imagenet(16);
        let mirrored = (0..400)
            .filter(|&seed| {
                let pixels =
                    Augmentation::Crop.apply(&image, &preprocess, &mut StdRng::seed_from_u64(seed));
                pixels[0] > pixels[15 * 3]
            })
            .count();
        assert!((150..250).contains(&mirrored), "{mirrored}");
    }
}
