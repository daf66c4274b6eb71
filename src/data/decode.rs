//! Image files to the RGB that a person sees.
//!
//! Input: the bytes of a JPEG, PNG, WebP, GIF (first frame), BMP or TIFF file; the format is told from the content, not
//! from the name. Output: an [`RgbImage`], upright: the orientation a camera noted is applied, transparency lies on
//! white, grey, palette, CMYK and 16-bit images become 8-bit RGB. Nothing here panics on hostile input, and the size is
//! checked from the header before any pixel is decoded.

use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::error::{ImageError, LimitError, LimitErrorKind};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::jpeg_end::{JpegEnd, jpeg_end};

/// Upper bounds on what one file may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width times height (default: 125 million, which admits the 108-megapixel photos of phones).
    pub max_pixels: u64,
    /// Bytes of the decoded image, and of the decoder's own buffers (default: 512 MiB).
    pub max_alloc_bytes: u64,
    /// Size of the file (default: 512 MiB).
    pub max_file_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_pixels: 125_000_000,
            max_alloc_bytes: 512 << 20,
            max_file_bytes: 512 << 20,
        }
    }
}

/// Why a file is not usable as an image.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("is not a regular file")]
    NotAFile,
    #[error("the file is empty")]
    Empty,
    #[error("the file has {bytes} bytes, more than the limit of {limit}")]
    FileTooLarge { bytes: u64, limit: u64 },
    #[error("not a JPEG, PNG, WebP, GIF, BMP or TIFF file")]
    UnknownFormat,
    #[error("{width}x{height} pixels are more than the limit of {limit}")]
    TooManyPixels { width: u32, height: u32, limit: u64 },
    #[error("decoding it would take more memory than the limit of {limit_bytes} bytes")]
    TooMuchMemory { limit_bytes: u64 },
    #[error("the file is truncated")]
    Truncated,
    #[error("{format} decoder: {reason}")]
    Format {
        format: &'static str,
        reason: String,
    },
    #[error("{format} decoder panicked: {reason}")]
    Panicked {
        format: &'static str,
        reason: String,
    },
}

/// Reads and decodes one file.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_file(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<RgbImage, DecodeError> {
    decode_bytes(&read_file(path.as_ref(), limits)?, limits)
}

/// Reads a file within `limits`, refusing pipes and devices, which might never end.
pub(super) fn read_file(path: &Path, limits: &DecodeLimits) -> Result<Vec<u8>, DecodeError> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Err(DecodeError::NotAFile);
    }
    if meta.len() > limits.max_file_bytes {
        return Err(DecodeError::FileTooLarge {
            bytes: meta.len(),
            limit: limits.max_file_bytes,
        });
    }
    Ok(fs::read(path)?)
}

/// Decodes one image held in memory.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_bytes(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, DecodeError> {
    let format = sniff(bytes)?;
    // The decoders are third-party code that parses untrusted bytes: a panic in one must cost one image, not the run.
    // Nothing is shared with the closure that a panic could leave half changed.
    catch_unwind(AssertUnwindSafe(|| decode_format(bytes, format, limits))).unwrap_or_else(
        |payload| {
            Err(DecodeError::Panicked {
                format: format_name(format),
                reason: panic_message(&*payload),
            })
        },
    )
}

/// The format of a file, from its first bytes.
pub(super) fn sniff(bytes: &[u8]) -> Result<ImageFormat, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(format) if format_name(format) != "" => Ok(format),
        _ => Err(DecodeError::UnknownFormat),
    }
}

/// The name of a supported format, else an empty text.
pub(super) fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => "",
    }
}

/// The text of a caught panic.
pub(super) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| s.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_string())
}

fn decode_format(
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<RgbImage, DecodeError> {
    let end = if format == ImageFormat::Jpeg {
        jpeg_end(bytes)
    } else {
        JpegEnd::Complete
    };
    if end == (JpegEnd::Missing { sequential: false }) {
        return Err(DecodeError::Truncated);
    }
    let failed = |error: ImageError| from_image_error(error, format, limits);

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder_limits = Limits::no_limits();
    decoder_limits.max_alloc = Some(limits.max_alloc_bytes);
    reader.limits(decoder_limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;

    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(DecodeError::TooManyPixels {
            width,
            height,
            limit: limits.max_pixels,
        });
    }
    if decoder.total_bytes() > limits.max_alloc_bytes {
        return Err(DecodeError::TooMuchMemory {
            limit_bytes: limits.max_alloc_bytes,
        });
    }
    // Unreadable metadata is no reason to drop a picture that can be decoded.
    let orientation = decoder
        .orientation()
        .unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;

    if end != JpegEnd::Complete && is_cut_short(&image) {
        return Err(DecodeError::Truncated);
    }
    image.apply_orientation(orientation);
    Ok(to_rgb(image))
}

/// Whether a sequential JPEG without an end marker misses picture data, not just the marker. The decoder paints missing
/// rows of blocks in the grey 128, so the bottom row tells. A picture of one row of blocks (16 pixels at most) cannot be
/// judged and counts as cut.
fn is_cut_short(image: &DynamicImage) -> bool {
    let row_bytes = image.width() as usize * usize::from(image.color().bytes_per_pixel());
    let bytes = image.as_bytes();
    image.height() <= 16 || bytes[bytes.len() - row_bytes..].iter().all(|&b| b == 128)
}

fn from_image_error(error: ImageError, format: ImageFormat, limits: &DecodeLimits) -> DecodeError {
    let too_much = |e: &LimitError| e.kind() == LimitErrorKind::InsufficientMemory;
    match error {
        ImageError::Limits(e) if too_much(&e) => DecodeError::TooMuchMemory {
            limit_bytes: limits.max_alloc_bytes,
        },
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::Truncated
        }
        other => DecodeError::Format {
            format: format_name(format),
            reason: other.to_string(),
        },
    }
}

fn to_rgb(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (out, pixel) in rgb.pixels_mut().zip(rgba.pixels()) {
        let [r, g, b, alpha] = pixel.0.map(u32::from);
        out.0 = [r, g, b].map(|c| ((c * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayAlphaImage, Rgb, Rgba, RgbaImage};

    fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn picture(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 5) as u8, (y * 5) as u8, (x ^ y) as u8])
        })
        .into()
    }

    fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
        decode_bytes(bytes, &DecodeLimits::default())
    }

    const LOSSLESS: [ImageFormat; 4] = [
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
    ];

    #[test]
    fn lossless_formats_round_trip_whatever_the_file_is_called() {
        let image = picture(40, 30);
        let dir = tempfile::tempdir().unwrap();
        for format in LOSSLESS {
            let path = dir.path().join("wrong_name.jpg");
            fs::write(&path, encode(&image, format)).unwrap();
            let decoded = decode_file(&path, &DecodeLimits::default()).unwrap();
            assert_eq!(decoded, image.to_rgb8(), "{format:?}");
        }
    }

    #[test]
    fn transparency_lies_on_white() {
        let pixels = [[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 128]];
        let image = RgbaImage::from_fn(3, 1, |x, _| Rgba(pixels[x as usize]));
        let decoded = decode(&encode(&image.into(), ImageFormat::Png)).unwrap();
        assert_eq!(
            decoded.into_raw(),
            [10, 20, 30, 255, 255, 255, 127, 177, 227]
        );
        let grey = GrayAlphaImage::from_pixel(1, 1, image::LumaA([0, 0]));
        assert_eq!(
            decode(&encode(&grey.into(), ImageFormat::Png))
                .unwrap()
                .into_raw(),
            [255; 3]
        );
    }

    #[test]
    fn a_cut_file_is_an_error_in_every_format() {
        let image = picture(64, 64);
        for format in LOSSLESS
            .into_iter()
            .chain([ImageFormat::Jpeg, ImageFormat::Gif])
        {
            let bytes = encode(&image, format);
            for part in [2, 3, 10] {
                let cut = &bytes[..bytes.len() - bytes.len() / part];
                assert!(decode(cut).is_err(), "{format:?} without its last 1/{part}");
            }
        }
    }

    #[test]
    fn a_jpeg_without_its_end_marker_or_with_garbage_behind_survives() {
        let bytes = encode(&picture(64, 64), ImageFormat::Jpeg);
        let whole = decode(&bytes).unwrap();
        let unmarked = &bytes[..bytes.len() - 2];
        assert_eq!(decode(unmarked).unwrap(), whole);
        let garbage = [&bytes[..], b"trailing garbage"].concat();
        assert_eq!(decode(&garbage).unwrap(), whole);
    }

    #[test]
    fn hostile_bytes_are_errors() {
        assert!(matches!(decode(b""), Err(DecodeError::Empty)));
        assert!(matches!(
            decode(b"<html>404</html>"),
            Err(DecodeError::UnknownFormat)
        ));
        for format in LOSSLESS
            .into_iter()
            .chain([ImageFormat::Jpeg, ImageFormat::Gif])
        {
            let bytes = encode(&picture(20, 20), format);
            for keep in [3, 8, 16, 24] {
                assert!(
                    decode(&bytes[..keep]).is_err(),
                    "{format:?} with {keep} bytes"
                );
            }
        }
    }

    #[test]
    fn pixels_and_memory_are_limited_before_decoding() {
        let bytes = encode(&picture(100, 100), ImageFormat::Png);
        let tight = DecodeLimits {
            max_pixels: 9_999,
            ..Default::default()
        };
        assert!(matches!(
            decode_bytes(&bytes, &tight),
            Err(DecodeError::TooManyPixels { width: 100, .. })
        ));
        let tight = DecodeLimits {
            max_alloc_bytes: 29_999,
            ..Default::default()
        };
        assert!(matches!(
            decode_bytes(&bytes, &tight),
            Err(DecodeError::TooMuchMemory { .. })
        ));

        // A BMP header that promises 2^31 pixels and holds none.
        let mut bomb = encode(&picture(4, 4), ImageFormat::Bmp);
        bomb[18..22].copy_from_slice(&46_340u32.to_le_bytes());
        bomb[22..26].copy_from_slice(&46_340u32.to_le_bytes());
        assert!(matches!(
            decode(&bomb),
            Err(DecodeError::TooManyPixels { .. })
        ));
    }

    #[test]
    fn what_is_not_a_regular_small_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            decode_file(dir.path(), &DecodeLimits::default()),
            Err(DecodeError::NotAFile)
        ));
        let path = dir.path().join("a.png");
        assert!(matches!(
            decode_file(&path, &DecodeLimits::default()),
            Err(DecodeError::Io(_))
        ));
        fs::write(&path, [0; 100]).unwrap();
        let tight = DecodeLimits {
            max_file_bytes: 99,
            ..Default::default()
        };
        assert!(matches!(
            decode_file(&path, &tight),
            Err(DecodeError::FileTooLarge { bytes: 100, .. })
        ));
    }
}
