//! CSV: an image a line.
//!
//! Input: lines of `3 * side * side` numbers, all red, all green, all blue. Output: a [`Request`]. A line that holds only
//! integers 0 to 255 is a picture, any other holds preprocessed values.

use super::array::Numbers;
use super::error::shorten;
use super::{Limits, Request, RequestError, Shape, without_mark};

/// Reads lines; blank ones do not count.
pub(super) fn read(text: &[u8], limits: &Limits) -> Result<Request, RequestError> {
    let mut pictures = Vec::new();
    for (index, line) in without_mark(text).split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if pictures.len() == limits.max_pictures {
            return Err(RequestError::TooManyPictures {
                limit: limits.max_pictures,
            });
        }
        let side = limits.side as usize;
        let numbers = numbers(line, limits).map_err(|reason| RequestError::Csv {
            line: index + 1,
            reason,
        })?;
        let request = numbers.into_request(&[3, side, side], limits);
        let request = request.map_err(|source| RequestError::Line {
            line: index + 1,
            source: source.into(),
        })?;
        pictures.extend(request.pictures);
    }
    let shape = match pictures.len() {
        0 => return Err(RequestError::Empty),
        1 => Shape::One,
        _ => Shape::Many,
    };
    Ok(Request { pictures, shape })
}

fn numbers(line: &[u8], limits: &Limits) -> Result<Numbers, String> {
    let side = limits.side as usize;
    let expected = 3 * side * side;
    let mut numbers = Numbers::default();
    for (column, field) in line.split(|&byte| byte == b',').enumerate() {
        let field = field.trim_ascii();
        if column == expected {
            return Err(format!(
                "more than {expected} numbers; a line holds 3 x {side} x {side}, channels first"
            ));
        }
        match small(field) {
            Some(byte) => numbers.push_byte(byte),
            None => {
                numbers.push_float(float(field).ok_or_else(|| not_a_number(line, field, column))?)
            }
        }
    }
    match numbers.len() {
        found if found == expected => Ok(numbers),
        found => Err(format!(
            "{found} numbers; a line holds {expected} (3 x {side} x {side}, channels first)"
        )),
    }
}

/// An integer 0 to 255.
fn small(field: &[u8]) -> Option<u8> {
    if field.is_empty() || field.len() > 3 {
        return None;
    }
    let value = field.iter().try_fold(0u16, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + u16::from(digit - b'0'))
    })?;
    value.try_into().ok()
}

fn float(field: &[u8]) -> Option<f32> {
    // Parsing knows words such as nan, which are not wanted here.
    let is_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let text = std::str::from_utf8(field).ok()?;
    field.iter().all(is_number).then(|| text.parse().ok())?
}

fn not_a_number(line: &[u8], field: &[u8], column: usize) -> String {
    let is_number = |field: &[u8]| float(field.trim_ascii()).is_some();
    if column == 0 && !line.split(|&byte| byte == b',').any(is_number) {
        return "a header line; send numbers only".into();
    }
    format!(
        "`{}` in column {} is no finite number",
        shorten(&String::from_utf8_lossy(field)),
        column + 1
    )
}

#[cfg(test)]
mod tests;
