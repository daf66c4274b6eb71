//! Objects of JSON that hold pictures.
//!
//! Input: the events of a JSON parser. Output: [`Object`]. Keys that mean nothing here are skipped if there is one that does.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::error::shorten;
use super::super::image_text;
use super::nested::{Element, Nested};
use super::{ACCEPTED, Context, Picture, RequestError, Shape};

/// What an object holds.
pub(super) enum Object {
    One(Vec<u8>),
    Many(Vec<Picture>),
    Instances(Vec<Picture>),
}

impl Object {
    /// Reads an object: a whole request, or one image of a list.
    pub fn read<'de, A: MapAccess<'de>>(
        context: &Context<'_>,
        mut map: A,
        is_whole: bool,
    ) -> Result<Self, A::Error> {
        let (mut object, mut unknown) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            let found = match key.as_str() {
                "url" => return Err(context.refuse(RequestError::Url)),
                "image_b64" | "b64" => Object::One(map.next_value_seed(Text(context))?),
                "images_b64" if is_whole => Object::Many(map.next_value_seed(Texts(context))?),
                "instances" if is_whole => {
                    Object::Instances(map.next_value_seed(Instances(context))?)
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    unknown.get_or_insert(key);
                    continue;
                }
            };
            if object.replace(found).is_some() {
                return Err(A::Error::custom(format!(
                    "`{key}` is the second key with pictures; one is accepted"
                )));
            }
        }
        let accepted = match is_whole {
            true => ACCEPTED,
            false => "{\"image_b64\": \"..\"} or {\"b64\": \"..\"}",
        };
        object.ok_or_else(|| {
            A::Error::custom(match unknown {
                Some(key) => format!("key `{}`; accepted: {accepted}", shorten(&key)),
                None => format!("an empty object; accepted: {accepted}"),
            })
        })
    }
}

/// An image as text.
struct Text<'c, 'l>(&'c Context<'l>);

impl<'de> DeserializeSeed<'de> for Text<'_, '_> {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text<'_, '_> {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an image as base64 text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
        image_text::decode(text).map_err(|reason| self.0.refuse(reason))
    }
}

/// A list of images as texts.
struct Texts<'c, 'l>(&'c Context<'l>);

impl<'de> DeserializeSeed<'de> for Texts<'_, '_> {
    type Value = Vec<Picture>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Texts<'_, '_> {
    type Value = Vec<Picture>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of images as base64 texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut pictures = Vec::new();
        while let Some(image) = list.next_element_seed(Text(self.0))? {
            self.0.check_room(pictures.len())?;
            pictures.push(Picture::Encoded(image));
        }
        not_empty(pictures)
    }
}

/// A list of pictures in any form.
struct Instances<'c, 'l>(&'c Context<'l>);

impl<'de> DeserializeSeed<'de> for Instances<'_, '_> {
    type Value = Vec<Picture>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Instances<'_, '_> {
    type Value = Vec<Picture>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of pictures")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut pictures = Vec::new();
        loop {
            let mut nested = Nested::default();
            let element = Element {
                context: self.0,
                nested: &mut nested,
                depth: 0,
                or_image: true,
            };
            let Some(image) = list.next_element_seed(element)? else {
                return not_empty(pictures);
            };
            self.0.check_room(pictures.len())?;
            if let Some(image) = image {
                pictures.push(Picture::Encoded(image));
                continue;
            }
            let request = nested.into_request(self.0.limits);
            let request = request.map_err(|reason| self.0.refuse(reason))?;
            if request.shape != Shape::One {
                return Err(A::Error::custom("an instance is one picture, not several"));
            }
            pictures.extend(request.pictures);
        }
    }
}

fn not_empty<E: Error>(pictures: Vec<Picture>) -> Result<Vec<Picture>, E> {
    match pictures.is_empty() {
        true => Err(E::custom("the list holds no picture")),
        false => Ok(pictures),
    }
}
