//! Resampling of RGB pixels, with antialiasing as PIL does it.
//!
//! Input: an [`RgbImage`], a box in it and the size wanted. Output: an [`RgbImage`] of that size. The resizer is called by
//! its typed front: the untyped one compiles its kernels for every pixel format, which doubled this crate's build time.

use std::cell::RefCell;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ImageView, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

/// What a thread may keep for the next photo: enough for one of a telephone, of which an evaluation takes the middle.
const MOST_KEPT_BYTES: usize = 4 << 20;

thread_local! {
    /// With the memory for what is resized in one direction only, which would have to be cleared for each photo.
    static RESIZER: RefCell<Resizer> = RefCell::default();
}

/// A box in pixels of the source image; fractions are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

/// A box of whole pixels, inside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

impl Crop {
    /// All of an image of this size.
    pub fn whole(width: u32, height: u32) -> Self {
        Crop {
            left: 0,
            top: 0,
            width,
            height,
        }
    }
}

/// Resizes `region` of `image` to `width` x `height` (bilinear, antialiased). Pixels around the region take part where
/// the filter reaches them, so the result is that part of a resize of the whole image.
pub fn resize_region(image: &RgbImage, region: Region, width: u32, height: u32) -> RgbImage {
    let fit = |start: f64, length: f64, limit: u32| {
        let start = start.max(0.0);
        let mut length = length.min(f64::from(limit) - start);
        // The sum may exceed the limit by a rounding error, which the resizer refuses.
        while start + length > f64::from(limit) {
            length = length.next_down();
        }
        (start, length)
    };
    let (left, inner_width) = fit(region.left, region.width, image.width());
    let (top, inner_height) = fit(region.top, region.height, image.height());
    resize(
        &view(image),
        ResizeOptions::new().crop(left, top, inner_width, inner_height),
        width,
        height,
    )
}

/// Cuts `crop` out of `image`, then resizes it to `width` x `height`: pixels outside of the crop take no part.
pub fn resize_crop(image: &RgbImage, crop: Crop, width: u32, height: u32) -> RgbImage {
    match TypedCroppedImage::from_ref(&view(image), crop.left, crop.top, crop.width, crop.height) {
        Ok(cropped) => resize(&cropped, ResizeOptions::new(), width, height),
        Err(error) => unreachable!("{crop:?} is not inside {:?}: {error}", image.dimensions()),
    }
}

fn resize(
    source: &impl ImageView<Pixel = U8x3>,
    options: ResizeOptions,
    width: u32,
    height: u32,
) -> RgbImage {
    let options = options.resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let mut target = TypedImage::<U8x3>::from_buffer(width, height, &mut pixels)
        .unwrap_or_else(|error| unreachable!("the buffer was made for this size: {error}"));
    let resized = RESIZER.with_borrow_mut(|resizer| {
        let resized = resizer.resize_typed(source, &mut target, &options);
        if resizer.size_of_internal_buffers() > MOST_KEPT_BYTES {
            resizer.reset_internal_buffers();
        }
        resized
    });
    // Both images have the same pixel type and the region was fitted into the source.
    if let Err(error) = resized {
        unreachable!("resizing to {width}x{height}: {error}");
    }
    RgbImage::from_raw(width, height, pixels)
        .unwrap_or_else(|| unreachable!("the buffer was made for this size"))
}

fn view(image: &RgbImage) -> TypedImageRef<'_, U8x3> {
    TypedImageRef::from_buffer(image.width(), image.height(), image.as_raw())
        .unwrap_or_else(|error| unreachable!("an RgbImage holds width x height x 3 bytes: {error}"))
}

/// The whole of `image` at another size, whatever that does to its shape.
pub fn resize_to(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let whole = Crop::whole(image.width(), image.height());
    resize_crop(image, whole, width, height)
}

/// A small picture as a JPEG. Nothing but pixels: what a camera noted about place and time does not get into it.
///
/// # Errors
/// A picture without pixels, or too large for the format.
pub fn jpeg(image: &RgbImage) -> std::io::Result<Vec<u8>> {
    const QUALITY: u8 = 80;
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode_image(image)
        .map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// The largest square in the middle of `image`, resized to `side` x `side`.
pub fn square(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let short = width.min(height);
    let middle = Crop {
        left: (width - short) / 2,
        top: (height - short) / 2,
        width: short,
        height: short,
    };
    resize_crop(image, middle, side, side)
}

/// Shrinks `image` so that its shorter side is `max_short_side`, if it is longer; the shape is kept.
pub fn shrink(image: RgbImage, max_short_side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let short = width.min(height);
    if short <= max_short_side {
        return image;
    }
    let scaled = |side: u32| {
        let exact = f64::from(side) * f64::from(max_short_side) / f64::from(short);
        (exact.round() as u32).max(1)
    };
    let whole = Crop::whole(width, height);
    resize_crop(&image, whole, scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn shrinking_keeps_the_shape_and_never_enlarges() {
        let sizes = [
            ((900, 600), (450, 300)),
            ((600, 900), (300, 450)),
            ((300, 301), (300, 301)),
            ((5, 5000), (5, 5000)),
        ];
        for ((width, height), expected) in sizes {
            assert_eq!(
                shrink(RgbImage::new(width, height), 300).dimensions(),
                expected
            );
        }
    }

    #[test]
    fn a_crop_does_not_see_its_surroundings_and_a_region_does() {
        // Left half black, right half white; the box is the left half.
        let image = RgbImage::from_fn(20, 10, |x, _| Rgb([if x < 10 { 0 } else { 255 }; 3]));
        let crop = resize_crop(
            &image,
            Crop {
                left: 0,
                top: 0,
                width: 10,
                height: 10,
            },
            4,
            4,
        );
        assert!(crop.iter().all(|&b| b == 0));
        let region = resize_region(
            &image,
            Region {
                left: 0.0,
                top: 0.0,
                width: 10.0,
                height: 10.0,
            },
            4,
            4,
        );
        assert!(region[(3, 0)].0[0] > 0 && region[(0, 0)].0[0] == 0);
    }
}
