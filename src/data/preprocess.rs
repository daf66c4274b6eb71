//! Evaluation preprocessing as data: saved with a model, replayed wherever the model is used.
//!
//! Input: an upright [`RgbImage`] of any size. Output: `crop` x `crop` RGB bytes, `[height, width, 3]`, equal to what
//! torchvision's `Resize(resize)` and `CenterCrop(crop)` make of the same picture, within 2 grey levels.

use std::path::Path;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::decode::{DecodeError, DecodeLimits, decode_part, read_file};
use super::error::DataError;
use super::pixels::{Crop, Region, resize_region};

/// How pixels are interpolated. Bilinear with antialiasing is what torchvision's weights were evaluated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    Bilinear,
}

/// From a photo to the network's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Length in pixels that the shorter side is resized to.
    pub resize: u32,
    /// Side in pixels of the square cut from the centre.
    pub crop: u32,
    pub interpolation: Interpolation,
    /// Per channel (red, green, blue), of values in 0..1; subtracted first.
    pub mean: [f32; 3],
    /// Per channel, divided by.
    pub std: [f32; 3],
}

/// The longest side that a photo may be resized to. Far above any use; it keeps a saved file from asking for gigabytes.
const MAX_SIDE: u32 = 4096;

impl Preprocess {
    /// ImageNet's: for `image_size` 224, resize to 256, crop 224, the ImageNet mean and standard deviation. Other sizes
    /// keep the ratio of the two.
    pub fn imagenet(image_size: u32) -> Self {
        Self {
            resize: (f64::from(image_size) * 256.0 / 224.0).round() as u32,
            crop: image_size,
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// Checks values that may come from a file.
    ///
    /// # Errors
    /// A size of 0 or above 4096, a standard deviation that is not positive, a mean that is not finite.
    pub fn validate(&self) -> Result<(), DataError> {
        let invalid = |reason: String| Err(DataError::Preprocess { reason });
        for (name, side) in [("resize", self.resize), ("crop", self.crop)] {
            if side == 0 || side > MAX_SIDE {
                return invalid(format!("{name} is {side}, not in 1..={MAX_SIDE}"));
            }
        }
        if !self.mean.iter().all(|m| m.is_finite()) {
            return invalid(format!("mean {:?} is not finite", self.mean));
        }
        if !self.std.iter().all(|s| s.is_finite() && *s > 0.0) {
            return invalid(format!("std {:?} is not positive", self.std));
        }
        Ok(())
    }

    /// Decodes a file and does what [`apply`](Self::apply) does. Where the format allows, only those pixels are decoded that it takes.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(&self, bytes: &[u8], limits: &DecodeLimits) -> Result<Vec<u8>, DecodeError> {
        let image = decode_part(bytes, limits, |width, height| {
            Cut::new(self, width, height).part(width, height)
        })?;
        Ok(self.apply(&image))
    }

    /// As [`decode`](Self::decode), of the file at `path`.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode_file(&self, path: &Path, limits: &DecodeLimits) -> Result<Vec<u8>, DecodeError> {
        self.decode(&read_file(path, limits)?, limits)
    }

    /// Resizes and crops `image`; returns `crop * crop * 3` bytes, row by row.
    ///
    /// Only the part of the picture under the crop is resampled. Where the crop is larger than the resized picture, the
    /// border is black, as in torchvision.
    pub fn apply(&self, image: &RgbImage) -> Vec<u8> {
        let Cut { region, x, y } = Cut::new(self, image.width(), image.height());
        let inner = resize_region(image, region, x.length, y.length);
        if (x.length, y.length) == (self.crop, self.crop) {
            return inner.into_raw();
        }
        let mut padded = RgbImage::new(self.crop, self.crop);
        image::imageops::replace(
            &mut padded,
            &inner,
            i64::from(x.padding),
            i64::from(y.padding),
        );
        padded.into_raw()
    }
}

/// What the crop takes of a picture.
struct Cut {
    /// The box that is resized.
    region: Region,
    x: CropAxis,
    y: CropAxis,
}

impl Cut {
    fn new(preprocess: &Preprocess, image_width: u32, image_height: u32) -> Self {
        let (width, height) = resized_size(image_width, image_height, preprocess.resize);
        let (x, y) = (
            CropAxis::new(width, preprocess.crop),
            CropAxis::new(height, preprocess.crop),
        );
        let (x_scale, y_scale) = (
            f64::from(image_width) / width as f64,
            f64::from(image_height) / height as f64,
        );
        let region = Region {
            left: x.source as f64 * x_scale,
            top: y.source as f64 * y_scale,
            width: f64::from(x.length) * x_scale,
            height: f64::from(y.length) * y_scale,
        };
        Cut { region, x, y }
    }

    /// The pixels that take part: those of the box, and those around it where the filter reaches them.
    fn part(&self, width: u32, height: u32) -> Crop {
        let axis = |start: f64, length: f64, target: u32, size: u32| {
            // The triangle of the filter is as wide as two pixels of the result, or of the source where that is enlarged.
            let reach = (length / f64::from(target.max(1))).max(1.0) + 1.0;
            let first = (start - reach).floor().max(0.0) as u32;
            let end = (start + length + reach).ceil().min(f64::from(size)) as u32;
            (first.min(end), end - first.min(end))
        };
        let (left, part_width) = axis(self.region.left, self.region.width, self.x.length, width);
        let (top, part_height) = axis(self.region.top, self.region.height, self.y.length, height);
        Crop {
            left,
            top,
            width: part_width,
            height: part_height,
        }
    }
}

/// The size torchvision's `Resize(shorter)` gives: the longer side is rounded down. 64-bit, since a line of one pixel
/// by millions is a legal picture.
fn resized_size(width: u32, height: u32, shorter: u32) -> (u64, u64) {
    let scale = |long: u32, short: u32| u64::from(shorter) * u64::from(long) / u64::from(short);
    if width <= height {
        (u64::from(shorter), scale(height, width))
    } else {
        (scale(width, height), u64::from(shorter))
    }
}

/// Where the crop lies on one axis of the resized picture, all in pixels.
struct CropAxis {
    /// Offset of the crop in the resized picture.
    source: u64,
    /// How many pixels of the picture the crop holds.
    length: u32,
    /// Black pixels before them.
    padding: u32,
}

impl CropAxis {
    fn new(resized: u64, crop: u32) -> Self {
        match u32::try_from(resized) {
            Ok(resized) if resized < crop => Self {
                source: 0,
                length: resized,
                padding: (crop - resized) / 2,
            },
            // Python rounds a half to the even neighbour.
            _ => {
                let offset = ((resized - u64::from(crop)) as f64 / 2.0).round_ties_even();
                Self {
                    source: offset as u64,
                    length: crop,
                    padding: 0,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn imagenet_sizes_keep_their_ratio() {
        let sizes =
            [224, 192, 299].map(|s| (Preprocess::imagenet(s).resize, Preprocess::imagenet(s).crop));
        assert_eq!(sizes, [(256, 224), (219, 192), (342, 299)]);
    }

    #[test]
    fn what_is_not_decoded_is_not_missed() {
        for (width, height) in [
            (90, 61),
            (61, 90),
            (200, 40),
            (33, 33),
            (400, 300),
            (12, 70),
        ] {
            let image = RgbImage::from_fn(width, height, |x, y| {
                Rgb([(x * 5) as u8, (y * 7) as u8, (x * y % 251) as u8])
            });
            let mut file = Vec::new();
            let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 95);
            image.write_with_encoder(encoder).unwrap();
            let limits = DecodeLimits::default();
            let whole = crate::data::decode_bytes(&file, &limits).unwrap();
            for preprocess in [Preprocess::imagenet(32), Preprocess::imagenet(64)] {
                let found = preprocess.decode(&file, &limits).unwrap();
                assert_eq!(found, preprocess.apply(&whole), "{width}x{height}");
            }
        }
    }

    #[test]
    fn json_round_trip_names_the_interpolation() {
        let preprocess = Preprocess::imagenet(224);
        let json = serde_json::to_string(&preprocess).unwrap();
        assert!(json.contains(r#""interpolation":"bilinear""#), "{json}");
        assert_eq!(
            serde_json::from_str::<Preprocess>(&json).unwrap(),
            preprocess
        );
        assert!(serde_json::from_str::<Preprocess>(&json.replace("bilinear", "nearest")).is_err());
    }

    #[test]
    fn invalid_values_are_named() {
        let valid = Preprocess::imagenet(224);
        valid.validate().unwrap();
        for (broken, name) in [
            (
                Preprocess {
                    resize: 0,
                    ..valid.clone()
                },
                "resize",
            ),
            (
                Preprocess {
                    crop: 1 << 20,
                    ..valid.clone()
                },
                "crop",
            ),
            (
                Preprocess {
                    std: [0.1, 0.0, 0.1],
                    ..valid.clone()
                },
                "std",
            ),
            (
                Preprocess {
                    mean: [f32::NAN; 3],
                    ..valid.clone()
                },
                "mean",
            ),
        ] {
            let message = broken.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }

    /// Resizing the whole picture and cutting the centre out of it, the slow way round.
    fn resize_then_crop(image: &RgbImage, preprocess: &Preprocess) -> Vec<u8> {
        let (width, height) = resized_size(image.width(), image.height(), preprocess.resize);
        let whole = Region {
            left: 0.0,
            top: 0.0,
            width: f64::from(image.width()),
            height: f64::from(image.height()),
        };
        let resized = resize_region(image, whole, width as u32, height as u32);
        let offset = |side: u64| CropAxis::new(side, preprocess.crop).source as u32;
        let (left, top) = (offset(width), offset(height));
        image::imageops::crop_imm(&resized, left, top, preprocess.crop, preprocess.crop)
            .to_image()
            .into_raw()
    }

    #[test]
    fn fusing_resize_and_crop_changes_nothing_in_any_shape() {
        let preprocess = Preprocess::imagenet(224);
        let sizes = [
            (500, 375),
            (333, 500),
            (256, 256),
            (300, 256),
            (80, 60),
            (31, 47),
            (1, 1),
            (900, 40),
            (3, 700),
        ];
        for (width, height) in sizes {
            let image = RgbImage::from_fn(width, height, |x, y| {
                Rgb([
                    (x * 7 + y * 3) as u8,
                    ((x * x + y) % 251) as u8,
                    if (x / 3 + y / 5) % 2 == 0 { 0 } else { 255 },
                ])
            });
            let fused = preprocess.apply(&image);
            let slow = resize_then_crop(&image, &preprocess);
            let worst = fused
                .iter()
                .zip(&slow)
                .map(|(a, b)| a.abs_diff(*b))
                .max()
                .unwrap();
            assert!(worst <= 1, "{width}x{height}: {worst}");
        }
    }

    #[test]
    fn extreme_shapes_cost_no_memory() {
        let preprocess = Preprocess::imagenet(224);
        for (width, height) in [(100_000, 1), (1, 100_000)] {
            let image = RgbImage::from_pixel(width, height, Rgb([9, 8, 7]));
            let pixels = preprocess.apply(&image);
            assert_eq!(pixels.len(), 224 * 224 * 3);
            assert!(pixels.chunks_exact(3).all(|p| p == [9, 8, 7]));
        }
    }

    #[test]
    fn a_crop_larger_than_the_picture_is_padded_with_black() {
        let preprocess = Preprocess {
            resize: 2,
            crop: 5,
            ..Preprocess::imagenet(224)
        };
        let pixels = preprocess.apply(&RgbImage::from_pixel(2, 2, Rgb([255; 3])));
        let white: Vec<usize> = pixels
            .chunks_exact(3)
            .enumerate()
            .filter(|(_, p)| p[0] == 255)
            .map(|(i, _)| i)
            .collect();
        assert_eq!(white, [6, 7, 11, 12]);
    }
}
