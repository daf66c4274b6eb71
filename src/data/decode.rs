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

use super::fast_jpeg;
use super::pixels::Crop;

/// Upper bounds on what one file may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width times height (default: 125 million, which admits the 108-megapixel photos of phones).
    pub max_pixels: u64,
    /// Bytes of the decoded image, and of the buffers of those decoders that keep count (default: 512 MiB). A progressive
    /// JPEG takes 6 bytes per pixel on top.
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
    #[error("the picture has no pixels ({width}x{height})")]
    NoPixels { width: u32, height: u32 },
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
    decode_part(bytes, limits, Crop::whole)
}

/// As [`decode_bytes`], for a caller that looks only at what `part` answers to the image's width and height: all other pixels may be
/// black.
///
/// # Errors
/// See [`DecodeError`].
pub(super) fn decode_part(
    bytes: &[u8],
    limits: &DecodeLimits,
    part: impl Fn(u32, u32) -> Crop,
) -> Result<RgbImage, DecodeError> {
    let format = sniff(bytes)?;
    // The decoders are third-party code that parses untrusted bytes: a panic in one must cost one image, not the run.
    // Nothing is shared with the closure that a panic could leave half changed.
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        let fast = (format == ImageFormat::Jpeg)
            .then(|| fast_jpeg::decode(bytes, |width, height| limits.admit(width, height), part));
        match fast.flatten() {
            Some(image) => Ok(image),
            None => decode_format(bytes, format, limits),
        }
    }));
    decoded.unwrap_or_else(|payload| {
        Err(DecodeError::Panicked {
            format: format_name(format),
            reason: panic_message(&*payload),
        })
    })
}

impl DecodeLimits {
    /// Whether a photo of this size may be decoded at once, with samples of its three components beside its pixels.
    fn admit(&self, width: u32, height: u32) -> bool {
        let pixels = u64::from(width) * u64::from(height);
        pixels <= self.max_pixels && 6 * pixels <= self.max_alloc_bytes
    }
}

/// The format of a file, from its first bytes.
pub(crate) fn sniff(bytes: &[u8]) -> Result<ImageFormat, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(format) if !format_name(format).is_empty() => Ok(format),
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
    if format == ImageFormat::Jpeg && !fast_jpeg::is_complete(bytes) {
        return Err(DecodeError::Truncated);
    }
    let failed = |error: ImageError| from_image_error(error, format, limits);

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder_limits = Limits::no_limits();
    decoder_limits.max_alloc = Some(limits.max_alloc_bytes);
    reader.limits(decoder_limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;

    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(DecodeError::NoPixels { width, height });
    }
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

    image.apply_orientation(orientation);
    Ok(to_rgb(image))
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
mod tests;
