//! Why a request cannot be answered.
//!
//! Input: what the readers of this room found. Output: a message for the client that says what is wrong and what would be
//! right, and an HTTP status.

use std::fmt;

use super::ACCEPTED;

/// What is wrong with a request.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum RequestError {
    #[error("the body is empty; send an image or an array ({ACCEPTED})")]
    Empty,
    #[error("content type `{found}` is not supported; supported are {ACCEPTED}")]
    ContentType { found: String },
    #[error(
        "the body is not a JPEG, PNG, WebP, GIF, BMP, TIFF, NPY or NPZ file{}",
        if *looks_like_json { "; JSON needs the header `Content-Type: application/json`" } else { "" }
    )]
    Unrecognised { looks_like_json: bool },
    #[error("more than {limit} pictures in one request; send fewer at a time")]
    TooManyPictures { limit: usize },
    #[error("a picture of {width}x{height} pixels; at most {limit} pixels are accepted")]
    TooManyPixels { width: u64, height: u64, limit: u64 },
    #[error("the array would take {bytes} bytes when inflated; at most {limit} are accepted")]
    TooManyBytes { bytes: u64, limit: u64 },
    #[error("NPY: {0}")]
    Npy(String),
    #[error("NPZ: {0}")]
    Npz(String),
    #[error("JSON: {0}")]
    Json(String),
    #[error("CSV, line {line}: {reason}")]
    Csv { line: usize, reason: String },
    #[error("line {line}: {source}")]
    Line {
        line: usize,
        source: Box<RequestError>,
    },
    #[error(
        "numbers other than integers 0 to 255 are taken as preprocessed values, of shape [3, {side}, {side}], \
         [N, 3, {side}, {side}], [{side}, {side}, 3] or [N, {side}, {side}, 3]; found {shape}. Pictures of any size are \
         arrays of integers 0 to 255"
    )]
    TensorShape { shape: Dimensions, side: u32 },
    #[error(
        "an array of integers is taken as a picture, of shape [H, W, 3], [N, H, W, 3], [3, H, W], [N, 3, H, W], or in grey \
         [H, W], [H, W, 1] or [N, H, W, 1], none of them 0; found {0}"
    )]
    PictureShape(Dimensions),
    #[error(
        "an integer array is taken as a picture, so every value has to be in 0..=255; found {value}"
    )]
    NotAByte { value: i128 },
    #[error(
        "value {value} at position {position} (counted from 0); only finite numbers are accepted"
    )]
    NotFinite { position: usize, value: f32 },
    #[error("base64: {0}")]
    Base64(String),
    #[error("the base64 text does not hold a JPEG, PNG, WebP, GIF, BMP or TIFF file")]
    NotAnImage,
    #[error(
        "`url` is refused: this endpoint fetches nothing. Send the image itself, as bytes or as {{\"image_b64\": \"..\"}}"
    )]
    Url,
}

impl RequestError {
    /// The HTTP status: 400, 413 or 415.
    pub fn status(&self) -> u16 {
        match self {
            Self::ContentType { .. } | Self::Unrecognised { .. } => 415,
            Self::TooManyPictures { .. }
            | Self::TooManyPixels { .. }
            | Self::TooManyBytes { .. } => 413,
            Self::Line { source, .. } => source.status(),
            _ => 400,
        }
    }
}

/// The shape of an array, as NumPy users write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimensions(pub Vec<usize>);

impl fmt::Display for Dimensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// The beginning of a text that a client sent: messages stay short.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}
