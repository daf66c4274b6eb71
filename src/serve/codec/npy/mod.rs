//! NPY, the format of NumPy's arrays.
//!
//! Input: an array of numbers, of any byte order, row by row or column by column. Output: a [`Request`]. The numbers are
//! read and converted a piece at a time, so inflating one does not take its memory twice.

mod header;

pub(super) use header::MAGIC;

use std::io::{ErrorKind, Read};

use half::f16;

use super::array::{PictureLayout, TensorLayout};
use super::{Limits, Request, RequestError};
use header::{Dtype, Kind};

/// Bytes converted at a time; a multiple of the size of every number.
const PIECE: usize = 1 << 16;

/// Reads an array that is to have `length` bytes with its header.
pub(super) fn read(
    mut source: impl Read,
    length: u64,
    limits: &Limits,
) -> Result<Request, RequestError> {
    let header = header::read(&mut source).map_err(RequestError::Npy)?;
    let numbers = header
        .shape
        .iter()
        .try_fold(1usize, |product, &side| product.checked_mul(side));
    let bytes = numbers.and_then(|numbers| numbers.checked_mul(header.dtype.size));
    let found = length.saturating_sub(header.length as u64);
    let bytes = match bytes {
        Some(bytes) if bytes as u64 == found => bytes,
        _ => {
            return Err(RequestError::Npy(format!(
                "an array of shape {:?} with {} bytes a number does not have {found} bytes",
                header.shape, header.dtype.size
            )));
        }
    };
    let mut source = source.take(bytes as u64);
    if header.dtype.kind == Kind::Float {
        let layout = TensorLayout::of(&header.shape, limits)?;
        let values = floats(&mut source, header.dtype, bytes)?;
        layout.split(row_by_row(values, &header.shape, header.fortran))
    } else {
        let layout = PictureLayout::of(&header.shape, limits)?;
        let values = integers(&mut source, header.dtype, bytes)?;
        Ok(layout.split(row_by_row(values, &header.shape, header.fortran)))
    }
}

fn floats(source: &mut impl Read, dtype: Dtype, bytes: usize) -> Result<Vec<f32>, RequestError> {
    let mut values = Vec::new();
    let big = dtype.big_endian;
    pieces(source, bytes, |piece| match dtype.size {
        2 => convert(piece, big, &mut values, |n| {
            Ok(f16::from_le_bytes(n).to_f32())
        }),
        4 => convert(piece, big, &mut values, |n| Ok(f32::from_le_bytes(n))),
        _ => convert(
            piece,
            big,
            &mut values,
            |n| Ok(f64::from_le_bytes(n) as f32),
        ),
    })?;
    Ok(values)
}

fn integers(source: &mut impl Read, dtype: Dtype, bytes: usize) -> Result<Vec<u8>, RequestError> {
    let mut values = Vec::new();
    let big = dtype.big_endian;
    pieces(source, bytes, |piece| {
        let to = &mut values;
        match (dtype.kind, dtype.size) {
            (Kind::Unsigned, 1) => {
                to.extend_from_slice(piece);
                Ok(())
            }
            (Kind::Unsigned, 2) => convert(piece, big, to, |n| byte(u16::from_le_bytes(n))),
            (Kind::Unsigned, 4) => convert(piece, big, to, |n| byte(u32::from_le_bytes(n))),
            (Kind::Unsigned, _) => convert(piece, big, to, |n| byte(u64::from_le_bytes(n))),
            (_, 1) => convert(piece, big, to, |n| byte(i8::from_le_bytes(n))),
            (_, 2) => convert(piece, big, to, |n| byte(i16::from_le_bytes(n))),
            (_, 4) => convert(piece, big, to, |n| byte(i32::from_le_bytes(n))),
            (_, _) => convert(piece, big, to, |n| byte(i64::from_le_bytes(n))),
        }
    })?;
    Ok(values)
}

fn byte<T: TryInto<u8> + Into<i128> + Copy>(value: T) -> Result<u8, RequestError> {
    value.try_into().map_err(|_| RequestError::NotAByte {
        value: value.into(),
    })
}

/// Hands `bytes` bytes of `source` to `read`, in order. The buffer grows with what really comes.
fn pieces(
    source: &mut impl Read,
    bytes: usize,
    mut read: impl FnMut(&[u8]) -> Result<(), RequestError>,
) -> Result<(), RequestError> {
    let mut buffer = vec![0; bytes.min(PIECE)];
    let mut left = bytes;
    while left > 0 {
        let piece = &mut buffer[..left.min(PIECE)];
        source.read_exact(piece).map_err(|error| {
            RequestError::Npy(match error.kind() {
                ErrorKind::UnexpectedEof => "the array is truncated".into(),
                _ => error.to_string(),
            })
        })?;
        read(piece)?;
        left -= piece.len();
    }
    Ok(())
}

/// Appends the numbers of `piece`, each given to `number` with its lowest byte first.
fn convert<const N: usize, T>(
    piece: &[u8],
    big_endian: bool,
    values: &mut Vec<T>,
    number: impl Fn([u8; N]) -> Result<T, RequestError>,
) -> Result<(), RequestError> {
    let (numbers, _) = piece.as_chunks::<N>();
    values.reserve(numbers.len());
    for &(mut bytes) in numbers {
        if big_endian {
            bytes.reverse();
        }
        values.push(number(bytes)?);
    }
    Ok(())
}

/// Moves numbers whose first index ran fastest.
fn row_by_row<T: Copy>(values: Vec<T>, shape: &[usize], fortran: bool) -> Vec<T> {
    if !fortran {
        return values;
    }
    let mut strides = vec![1; shape.len()];
    for axis in 1..shape.len() {
        strides[axis] = strides[axis - 1] * shape[axis - 1];
    }
    let mut index = vec![0; shape.len()];
    let mut position = 0;
    let mut rows = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        rows.push(values[position]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            position += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            position -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    rows
}

#[cfg(test)]
pub(super) mod tests;
