//! Numbers in nested lists of JSON, and images between them.
//!
//! Input: the events of a JSON parser. Output: one flat list of numbers and its shape; lists that are not of equal length at
//! a depth are refused.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::array::Numbers;
use super::super::image_text;
use super::objects::Object;
use super::{Context, Limits, Request, RequestError};

/// Lists in lists.
const DEEPEST: usize = 4;
const RAGGED: &str = "the lists are not of equal length and depth, so they are no array";

/// An array that is being read.
#[derive(Debug, Default)]
pub(super) struct Nested {
    numbers: Numbers,
    /// In how many lists a number is.
    depth: Option<usize>,
    /// The length of the lists at each depth, as far as known.
    lengths: [Option<usize>; DEEPEST],
}

impl Nested {
    /// Checks a number that is in `depth` lists.
    fn number(&mut self, depth: usize) -> Result<(), &'static str> {
        match *self.depth.get_or_insert(depth) {
            known if known == depth && depth > 0 => Ok(()),
            _ if depth == 0 => Err("a number is not a picture"),
            _ => Err(RAGGED),
        }
    }

    /// Checks a list that is in `depth` other lists.
    fn open(&self, depth: usize) -> Result<(), &'static str> {
        if depth >= DEEPEST {
            return Err("lists are nested more than 4 deep");
        }
        match self.depth {
            Some(known) if depth >= known => Err(RAGGED),
            _ => Ok(()),
        }
    }

    /// Ends a list of `count` elements that is in `depth` other lists.
    pub fn close(&mut self, depth: usize, count: usize) -> Result<(), &'static str> {
        if count == 0 {
            return Err("a list is empty");
        }
        match *self.lengths[depth].get_or_insert(count) {
            known if known == count => Ok(()),
            _ => Err(RAGGED),
        }
    }

    pub fn into_request(self, limits: &Limits) -> Result<Request, RequestError> {
        let shape: Vec<usize> = self.lengths.iter().map_while(|length| *length).collect();
        self.numbers.into_request(&shape, limits)
    }
}

/// A number, a list of them, or an image: then its bytes.
pub(super) struct Element<'a, 'l> {
    pub context: &'a Context<'l>,
    pub nested: &'a mut Nested,
    /// In how many lists it is.
    pub depth: usize,
    pub or_image: bool,
}

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = Option<Vec<u8>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_, '_> {
    type Value = Option<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.or_image {
            true => "numbers, lists of numbers, base64 text or {\"image_b64\": \"..\"}",
            false => "a number or a list of numbers",
        })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.nested.number(self.depth).map_err(E::custom)?;
        match u8::try_from(value) {
            Ok(byte) => self.nested.numbers.push_byte(byte),
            Err(_) => self.nested.numbers.push_float(value as f32),
        }
        Ok(None)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        self.nested.number(self.depth).map_err(E::custom)?;
        self.nested.numbers.push_float(value as f32);
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        self.nested.open(self.depth).map_err(A::Error::custom)?;
        let mut count = 0;
        loop {
            let element = Element {
                context: self.context,
                nested: &mut *self.nested,
                depth: self.depth + 1,
                or_image: false,
            };
            match list.next_element_seed(element)? {
                Some(_) => count += 1,
                None => break,
            }
        }
        self.nested
            .close(self.depth, count)
            .map_err(A::Error::custom)?;
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if !self.or_image {
            return Err(E::invalid_type(
                serde::de::Unexpected::Other("a text"),
                &self,
            ));
        }
        let image = image_text::decode(text);
        image
            .map(Some)
            .map_err(|reason| self.context.refuse(reason))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        if !self.or_image {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        }
        match Object::read(self.context, map, false)? {
            Object::One(image) => Ok(Some(image)),
            _ => Err(A::Error::custom(
                "an object in a list is {\"image_b64\": \"..\"}",
            )),
        }
    }
}
