//! What the numbers of an array mean.
//!
//! Input: a shape and numbers, row by row, from NPY, JSON or CSV. Output: a [`Request`]. Shapes are checked before the
//! numbers are there, so that a reader can refuse an array before it takes memory for it.

use image::RgbImage;

use super::error::Dimensions;
use super::{Limits, Picture, Request, RequestError, Shape};

/// Numbers of a text. They stay bytes as long as all of them could be those of a picture.
#[derive(Debug)]
pub(super) enum Numbers {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Default for Numbers {
    fn default() -> Self {
        Numbers::Bytes(Vec::new())
    }
}

impl Numbers {
    pub fn push_byte(&mut self, value: u8) {
        match self {
            Numbers::Bytes(bytes) => bytes.push(value),
            Numbers::Floats(floats) => floats.push(f32::from(value)),
        }
    }

    pub fn push_float(&mut self, value: f32) {
        if let Numbers::Bytes(bytes) = self {
            *self = Numbers::Floats(bytes.iter().map(|&byte| f32::from(byte)).collect());
        }
        if let Numbers::Floats(floats) = self {
            floats.push(value);
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Numbers::Bytes(bytes) => bytes.len(),
            Numbers::Floats(floats) => floats.len(),
        }
    }

    /// The pictures that the numbers are, `shape` being theirs.
    pub fn into_request(self, shape: &[usize], limits: &Limits) -> Result<Request, RequestError> {
        match self {
            Numbers::Bytes(bytes) => Ok(PictureLayout::of(shape, limits)?.split(bytes)),
            Numbers::Floats(floats) => TensorLayout::of(shape, limits)?.split(floats),
        }
    }
}

/// One picture, or several behind a first dimension.
fn nesting(shape: &[usize], one: usize, limits: &Limits) -> Result<Shape, RequestError> {
    if shape.len() == one {
        return Ok(Shape::One);
    }
    if shape[0] > limits.max_pictures {
        return Err(RequestError::TooManyPictures {
            limit: limits.max_pictures,
        });
    }
    Ok(Shape::Many)
}

/// A shape of preprocessed values.
#[derive(Debug)]
pub(super) struct TensorLayout {
    side: usize,
    channels_last: bool,
    nesting: Shape,
}

impl TensorLayout {
    /// Where the side is 3, channels come first.
    pub fn of(shape: &[usize], limits: &Limits) -> Result<Self, RequestError> {
        let refused = || RequestError::TensorShape {
            shape: Dimensions(shape.to_vec()),
            side: limits.side,
        };
        let side = limits.side as usize;
        let inner = &shape[shape.len().saturating_sub(3)..];
        let channels_last = match inner {
            inner if inner == [3, side, side] => false,
            inner if inner == [side, side, 3] => true,
            _ => return Err(refused()),
        };
        if shape.len() > 4 || shape[0] == 0 {
            return Err(refused());
        }
        let nesting = nesting(shape, 3, limits)?;
        Ok(TensorLayout {
            side,
            channels_last,
            nesting,
        })
    }

    /// The numbers, one picture each.
    pub fn split(&self, values: Vec<f32>) -> Result<Request, RequestError> {
        if let Some(position) = values.iter().position(|value| !value.is_finite()) {
            return Err(RequestError::NotFinite {
                position,
                value: values[position],
            });
        }
        let plane = self.side * self.side;
        let pictures = match self.channels_last {
            false if self.nesting == Shape::One => vec![Picture::Tensor(values)],
            false => values
                .chunks_exact(3 * plane)
                .map(|one| Picture::Tensor(one.to_vec()))
                .collect(),
            true => values
                .chunks_exact(3 * plane)
                .map(|one| Picture::Tensor(planes(one, plane)))
                .collect(),
        };
        Ok(Request {
            pictures,
            shape: self.nesting,
        })
    }
}

/// Channels first, from channels last.
fn planes(values: &[f32], plane: usize) -> Vec<f32> {
    let mut planes = Vec::with_capacity(3 * plane);
    for channel in 0..3 {
        planes.extend(values.iter().skip(channel).step_by(3));
    }
    planes
}

/// Where the colours of a picture are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Channels {
    Last,
    First,
    Grey,
}

/// A shape of pictures.
#[derive(Debug)]
pub(super) struct PictureLayout {
    width: u32,
    height: u32,
    channels: Channels,
    nesting: Shape,
}

impl PictureLayout {
    /// Where the colours could be first or last, they are last.
    pub fn of(shape: &[usize], limits: &Limits) -> Result<Self, RequestError> {
        let refused = || RequestError::PictureShape(Dimensions(shape.to_vec()));
        let (channels, height, width) = match *shape {
            [.., height, width, 3] if shape.len() <= 4 => (Channels::Last, height, width),
            [.., height, width, 1] if shape.len() <= 4 => (Channels::Grey, height, width),
            [3, height, width] | [_, 3, height, width] => (Channels::First, height, width),
            [height, width] => (Channels::Grey, height, width),
            _ => return Err(refused()),
        };
        if shape.contains(&0) {
            return Err(refused());
        }
        let nesting = nesting(shape, shape.len().min(3), limits)?;
        let too_large = || RequestError::TooManyPixels {
            width: width as u64,
            height: height as u64,
            limit: limits.max_pixels,
        };
        let pixels = (width as u64).checked_mul(height as u64);
        if pixels.is_none_or(|pixels| pixels > limits.max_pixels) {
            return Err(too_large());
        }
        Ok(PictureLayout {
            width: u32::try_from(width).map_err(|_| too_large())?,
            height: u32::try_from(height).map_err(|_| too_large())?,
            channels,
            nesting,
        })
    }

    /// The numbers, one picture each.
    pub fn split(&self, values: Vec<u8>) -> Request {
        let pixels = self.width as usize * self.height as usize;
        let one = if self.channels == Channels::Grey {
            pixels
        } else {
            3 * pixels
        };
        let pictures = if (self.nesting, self.channels) == (Shape::One, Channels::Last) {
            self.picture(values).into_iter().collect()
        } else {
            values
                .chunks_exact(one)
                .filter_map(|one| self.picture(self.interleaved(one, pixels)))
                .collect()
        };
        Request {
            pictures,
            shape: self.nesting,
        }
    }

    /// Red, green and blue of one pixel after the other.
    fn interleaved(&self, values: &[u8], pixels: usize) -> Vec<u8> {
        match self.channels {
            Channels::Last => values.to_vec(),
            Channels::Grey => values.iter().flat_map(|&grey| [grey; 3]).collect(),
            Channels::First => {
                let (red, rest) = values.split_at(pixels);
                let (green, blue) = rest.split_at(pixels);
                let pixels = red.iter().zip(green).zip(blue);
                pixels.flat_map(|((&r, &g), &b)| [r, g, b]).collect()
            }
        }
    }

    /// Never `None`: the readers bring as many numbers as the shape says.
    fn picture(&self, rgb: Vec<u8>) -> Option<Picture> {
        RgbImage::from_raw(self.width, self.height, rgb).map(Picture::Pixels)
    }
}

#[cfg(test)]
mod tests;
