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
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        side: 2,
        max_pictures: 4,
        max_pixels: 100,
    };

    fn pixels(shape: &[usize]) -> Result<Request, RequestError> {
        let bytes = (0..shape.iter().product::<usize>()).map(|i| i as u8);
        Numbers::Bytes(bytes.collect()).into_request(shape, &LIMITS)
    }

    fn tensors(shape: &[usize]) -> Result<Request, RequestError> {
        let floats = (0..shape.iter().product::<usize>()).map(|i| i as f32);
        Numbers::Floats(floats.collect()).into_request(shape, &LIMITS)
    }

    fn rgb(picture: &Picture) -> (u32, u32, &[u8]) {
        match picture {
            Picture::Pixels(image) => (image.width(), image.height(), image.as_raw()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pictures_have_their_colours_last_first_or_are_grey() {
        let last = pixels(&[1, 2, 3]).unwrap();
        assert_eq!(last.shape, Shape::One);
        assert_eq!(rgb(&last.pictures[0]), (2, 1, &[0, 1, 2, 3, 4, 5][..]));
        let first = pixels(&[3, 1, 2]).unwrap();
        assert_eq!(rgb(&first.pictures[0]), (2, 1, &[0, 2, 4, 1, 3, 5][..]));
        for shape in [&[1, 2][..], &[1, 2, 1], &[1, 1, 2, 1]] {
            let grey = pixels(shape).unwrap();
            assert_eq!(rgb(&grey.pictures[0]), (2, 1, &[0, 0, 0, 1, 1, 1][..]));
        }
        let many = pixels(&[2, 3, 1, 2]).unwrap();
        assert_eq!(many.shape, Shape::Many);
        assert_eq!(rgb(&many.pictures[1]), (2, 1, &[6, 8, 10, 7, 9, 11][..]));
        let many = pixels(&[2, 1, 2, 3]).unwrap();
        assert_eq!(rgb(&many.pictures[1]), (2, 1, &[6, 7, 8, 9, 10, 11][..]));
    }

    #[test]
    fn colours_are_last_where_they_could_be_first() {
        let picture = pixels(&[3, 1, 3]).unwrap();
        assert_eq!(
            rgb(&picture.pictures[0]),
            (1, 3, &[0, 1, 2, 3, 4, 5, 6, 7, 8][..])
        );
    }

    #[test]
    fn tensors_come_out_with_channels_first() {
        let first = tensors(&[3, 2, 2]).unwrap();
        let last = tensors(&[2, 2, 2, 3]).unwrap();
        assert_eq!((first.shape, last.shape), (Shape::One, Shape::Many));
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(first.pictures, [Picture::Tensor(values)]);
        let expected = [12., 15., 18., 21., 13., 16., 19., 22., 14., 17., 20., 23.];
        assert_eq!(last.pictures[1], Picture::Tensor(expected.to_vec()));
    }

    #[test]
    fn other_shapes_are_refused_with_what_was_found() {
        for shape in [
            &[][..],
            &[3],
            &[2, 2],
            &[0, 3, 2, 2],
            &[3, 3, 3],
            &[1, 1, 3, 2, 2],
        ] {
            let error = tensors(shape).unwrap_err();
            assert!(error.to_string().contains(&format!("{shape:?}")), "{error}");
            assert_eq!(error.status(), 400);
        }
        for shape in [
            &[][..],
            &[3],
            &[0, 2],
            &[2, 2, 2],
            &[0, 1, 1, 3],
            &[1, 1, 1, 1, 3],
        ] {
            let error = pixels(shape).unwrap_err();
            assert!(error.to_string().contains(&format!("{shape:?}")), "{error}");
        }
    }

    #[test]
    fn limits_are_413() {
        for error in [
            pixels(&[5, 1, 1, 3]).unwrap_err(),
            tensors(&[5, 3, 2, 2]).unwrap_err(),
            pixels(&[11, 10, 3]).unwrap_err(),
            PictureLayout::of(&[usize::MAX, usize::MAX, 3], &LIMITS).unwrap_err(),
            PictureLayout::of(&[usize::MAX, 1, 1, 3], &LIMITS).unwrap_err(),
        ] {
            assert_eq!(error.status(), 413, "{error}");
        }
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let mut values = vec![0.0; 12];
        values[7] = f32::NAN;
        let error = Numbers::Floats(values).into_request(&[3, 2, 2], &LIMITS);
        assert!(error.unwrap_err().to_string().contains("position 7"));
    }
}
