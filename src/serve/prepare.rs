//! From the pictures of a request to the numbers that the network takes.
//!
//! Input: [`Picture`]s. Output: normalised values, `[n, side, side, 3]`. A file, its pixels and its preprocessed tensor give the
//! same numbers: all go through the preprocessing that was saved with the model, from where they are.

use super::codec::Picture;
use crate::data::{DecodeError, DecodeLimits, Preprocess};
use crate::feed::normalised;

/// Most pixels of a picture, however it comes.
pub const MAX_PIXELS: u64 = 50_000_000;

/// Bounds for one picture of a request: an endpoint on the smallest serverless instance has 1 GB.
fn limits() -> DecodeLimits {
    DecodeLimits {
        max_pixels: MAX_PIXELS,
        max_alloc_bytes: 256 << 20,
        max_file_bytes: 100 << 20,
    }
}

/// The values of all pictures, one behind the other.
///
/// # Errors
/// A picture that cannot be decoded, with its place in the request.
pub fn prepare(
    pictures: Vec<Picture>,
    preprocess: &Preprocess,
) -> Result<Vec<f32>, (usize, DecodeError)> {
    let side = preprocess.crop as usize;
    let mut values = Vec::with_capacity(pictures.len() * side * side * 3);
    for (place, picture) in pictures.into_iter().enumerate() {
        match picture {
            Picture::Encoded(bytes) => {
                let pixels = preprocess.decode(&bytes, &limits());
                let pixels = pixels.map_err(|error| (place, error))?;
                values.extend(normalised(&pixels, preprocess));
            }
            Picture::Pixels(image) => {
                values.extend(normalised(&preprocess.apply(&image), preprocess));
            }
            Picture::Tensor(tensor) => channels_last(&tensor, side * side, &mut values),
        }
    }
    Ok(values)
}

/// `[3, pixels]` to `[pixels, 3]`.
fn channels_last(tensor: &[f32], pixels: usize, values: &mut Vec<f32>) {
    values.extend(
        (0..pixels).flat_map(|pixel| [0, 1, 2].map(|channel| tensor[channel * pixels + pixel])),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgb, RgbImage};

    #[test]
    fn file_pixels_and_tensor_give_the_same_numbers() {
        let preprocess = Preprocess::imagenet(32);
        let image = RgbImage::from_fn(60, 50, |x, y| {
            Rgb([x as u8 * 4, y as u8 * 5, (x * y) as u8])
        });
        let mut file = std::io::Cursor::new(Vec::new());
        image.write_to(&mut file, ImageFormat::Png).unwrap();
        let one = |picture| prepare(vec![picture], &preprocess).unwrap();
        let from_file = one(Picture::Encoded(file.into_inner()));
        assert_eq!(from_file.len(), 32 * 32 * 3);
        assert_eq!(one(Picture::Pixels(image)), from_file);
        let tensor: Vec<f32> = (0..3)
            .flat_map(|channel| {
                from_file
                    .iter()
                    .skip(channel)
                    .step_by(3)
                    .copied()
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(one(Picture::Tensor(tensor)), from_file);
    }

    #[test]
    fn a_broken_picture_is_named_by_its_place() {
        let preprocess = Preprocess::imagenet(32);
        let pictures = vec![
            Picture::Tensor(vec![0.0; 3 * 32 * 32]),
            Picture::Encoded(b"no picture".to_vec()),
        ];
        assert_eq!(prepare(pictures, &preprocess).unwrap_err().0, 1);
    }
}
