//! From the bytes of a request to pictures, and from probabilities to the bytes of an answer.
//!
//! ```text
//! Content-Type, body -> decode -> image file | npy | npz | json | csv | jsonlines -> Request{pictures, shape}
//!                                              (array: what the numbers of an array mean)
//! Accept -> negotiate -> Answer;  probabilities, Answer, shape -> encode -> body, content type
//! ```
//!
//! Input: what a client sent, which may be hostile: nothing here panics on it, and no memory is taken that its size, or for
//! compressed arrays the limits, do not justify. Output: [`Picture`]s, not yet decoded and not yet preprocessed, and the
//! text or array of an answer.
//!
//! Arrays mean the same in every format. Integers 0 to 255 are a picture of any size, treated as a photo is. Anything else
//! is preprocessed already: resized, cropped, normalised.

mod accept;
mod array;
mod csv;
mod encode;
mod error;
mod image_text;
mod json;
mod npy;
mod npz;

pub use accept::{AcceptError, Answer, negotiate};
pub use encode::{Labels, ModelInfo, encode};
pub use error::RequestError;

use image::RgbImage;

use crate::data::decode::sniff;
use error::shorten;

/// One image of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Picture {
    /// The bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file. Only its first bytes have been looked at.
    Encoded(Vec<u8>),
    /// Pixels of any size, to be treated as those of a decoded file.
    Pixels(RgbImage),
    /// What the network takes, `[3, side, side]` row by row. Finite.
    Tensor(Vec<f32>),
}

/// How an answer in JSON is nested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `[..]`
    One,
    /// `[[..], ..]`
    Many,
    /// `{"predictions": [[..], ..]}`
    Instances,
}

/// What a client wants to have classified: at least one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub pictures: Vec<Picture>,
    pub shape: Shape,
}

/// What a request may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Side of the square that the network takes: the crop of the model's preprocessing.
    pub side: u32,
    /// Images of one request.
    pub max_pictures: usize,
    /// Width times height of one picture. An inflated array may have 24 bytes for each.
    pub max_pixels: u64,
}

/// The content types of requests, for messages.
const ACCEPTED: &str = "image/* (JPEG, PNG, WebP, GIF, BMP, TIFF), application/x-image, application/octet-stream, \
     application/x-npy, application/x-npz, application/json, application/jsonlines, text/csv";

/// Reads the body of a request. Parameters and case of the content type do not matter; without one, or with one of an image
/// or of mere bytes, the body itself tells what it is.
///
/// # Errors
/// See [`RequestError`].
pub fn decode(
    content_type: Option<&str>,
    body: &[u8],
    limits: &Limits,
) -> Result<Request, RequestError> {
    let given = content_type.unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    if body.is_empty() {
        return Err(RequestError::Empty);
    }
    match essence.as_str() {
        // The last is what S3 notes of an object whose type nobody gave.
        "" | "application/octet-stream" | "application/x-image" | "binary/octet-stream" => {
            by_content(body, limits)
        }
        image if image.starts_with("image/") => by_content(body, limits),
        "application/x-npy" => npy::read(body, body.len() as u64, limits),
        "application/x-npz" => npz::read(body, limits),
        "application/json" => json::read(body, limits),
        "application/jsonlines" | "application/x-jsonlines" => json::read_lines(body, limits),
        "text/csv" => csv::read(body, limits),
        _ => Err(RequestError::ContentType {
            found: shorten(given),
        }),
    }
}

/// Reads a body that says itself what it is.
fn by_content(body: &[u8], limits: &Limits) -> Result<Request, RequestError> {
    if body.starts_with(npy::MAGIC) {
        return npy::read(body, body.len() as u64, limits);
    }
    if npz::MAGICS.iter().any(|magic| body.starts_with(magic)) {
        return npz::read(body, limits);
    }
    if sniff(body).is_err() {
        let looks_like_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
        return Err(RequestError::Unrecognised { looks_like_json });
    }
    Ok(Request {
        pictures: vec![Picture::Encoded(body.to_vec())],
        shape: Shape::One,
    })
}

/// A text without the byte order mark that some editors put before it.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

#[cfg(test)]
mod tests;
