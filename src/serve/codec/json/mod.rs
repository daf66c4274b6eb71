//! JSON: nested lists of numbers, or images as base64 text.
//!
//! Input: a list, `{"instances": [..]}`, `{"image_b64": ".."}`, `{"images_b64": [..]}`, or a list of such texts or objects;
//! or lines of these. Output: a [`Request`]. Numbers go straight into one flat list: a tree of them would take ten times the
//! memory.

mod nested;
mod objects;

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Limits, Picture, Request, RequestError, Shape, without_mark};
use nested::{Element, Nested};
use objects::Object;

const ACCEPTED: &str = "nested lists of numbers, {\"instances\": [..]}, {\"image_b64\": \"..\"}, \
     {\"images_b64\": [\"..\"]}, or a list of {\"image_b64\": \"..\"}";

/// Reads one JSON text.
pub(super) fn read(text: &[u8], limits: &Limits) -> Result<Request, RequestError> {
    let text = without_mark(text);
    let context = Context {
        limits,
        refusal: RefCell::default(),
    };
    let mut parser = serde_json::Deserializer::from_slice(text);
    let result = Body(&context).deserialize(&mut parser);
    let result = result.and_then(|request| parser.end().map(|()| request));
    result.map_err(|error| match context.refusal.take() {
        Some(refusal) => refusal,
        None => RequestError::Json(explained(&error, text)),
    })
}

/// Reads lines of JSON, one picture each; blank ones do not count.
pub(super) fn read_lines(text: &[u8], limits: &Limits) -> Result<Request, RequestError> {
    let mut pictures = Vec::new();
    for (index, line) in without_mark(text).split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let at_line = |source| RequestError::Line {
            line: index + 1,
            source: Box::new(source),
        };
        let request = read(line, limits).map_err(at_line)?;
        if request.pictures.len() != 1 {
            let reason = "a line holds one picture, since the answer has a line for each";
            return Err(at_line(RequestError::Json(reason.into())));
        }
        if pictures.len() == limits.max_pictures {
            return Err(too_many(limits));
        }
        pictures.extend(request.pictures);
    }
    if pictures.is_empty() {
        return Err(RequestError::Empty);
    }
    Ok(Request {
        pictures,
        shape: Shape::Many,
    })
}

fn too_many(limits: &Limits) -> RequestError {
    RequestError::TooManyPictures {
        limit: limits.max_pictures,
    }
}

/// The parser's message, and what people run into: Python writes words that JSON does not have.
fn explained(error: &serde_json::Error, text: &[u8]) -> String {
    let column = error.column().saturating_sub(1);
    let line = text
        .split(|&byte| byte == b'\n')
        .nth(error.line().saturating_sub(1));
    // The parser stops at the word, behind its first letter, or behind a minus.
    let near = line
        .and_then(|line| line.get(column.saturating_sub(2)..))
        .unwrap_or_default();
    let near = &near[..near.len().min(6)];
    let has_word = [&b"Na"[..], b"In", b"-N", b"-I"]
        .iter()
        .any(|word| near.windows(2).any(|two| two == *word));
    match error.is_syntax() && has_word {
        true => format!("{error}; JSON has no NaN and no Infinity"),
        false => error.to_string(),
    }
}

/// The limits, and the reason of a refusal: the parser's own errors are mere texts.
struct Context<'l> {
    limits: &'l Limits,
    refusal: RefCell<Option<RequestError>>,
}

impl Context<'_> {
    fn refuse<E: Error>(&self, reason: RequestError) -> E {
        let error = E::custom(&reason);
        self.refusal.replace(Some(reason));
        error
    }

    /// Whether there may be a picture more.
    fn check_room<E: Error>(&self, pictures: usize) -> Result<(), E> {
        match pictures < self.limits.max_pictures {
            true => Ok(()),
            false => Err(self.refuse(too_many(self.limits))),
        }
    }
}

/// A whole request.
struct Body<'c, 'l>(&'c Context<'l>);

impl<'de> DeserializeSeed<'de> for Body<'_, '_> {
    type Value = Request;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Request, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Body<'_, '_> {
    type Value = Request;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ACCEPTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Request, A::Error> {
        let object = Object::read(self.0, map, true)?;
        let (pictures, shape) = match object {
            Object::One(image) => (vec![Picture::Encoded(image)], Shape::One),
            Object::Many(pictures) => (pictures, Shape::Many),
            Object::Instances(pictures) => (pictures, Shape::Instances),
        };
        Ok(Request { pictures, shape })
    }

    /// The elements decide: numbers and lists are an array, anything else is images.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Request, A::Error> {
        let mut nested = Nested::default();
        let (mut images, mut count) = (Vec::new(), 0);
        loop {
            let element = Element {
                context: self.0,
                nested: &mut nested,
                depth: 1,
                or_image: true,
            };
            match list.next_element_seed(element)? {
                None => break,
                Some(None) => count += 1,
                Some(Some(image)) => {
                    self.0.check_room(images.len())?;
                    images.push(Picture::Encoded(image));
                }
            }
            if count > 0 && !images.is_empty() {
                return Err(A::Error::custom("a list holds either numbers or images"));
            }
        }
        if images.is_empty() {
            nested.close(0, count).map_err(A::Error::custom)?;
            let request = nested.into_request(self.0.limits);
            return request.map_err(|reason| self.0.refuse(reason));
        }
        Ok(Request {
            pictures: images,
            shape: Shape::Many,
        })
    }
}

#[cfg(test)]
mod tests;
