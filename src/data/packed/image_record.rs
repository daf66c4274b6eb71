//! What is in a record.
//!
//! Input: the beginning of a payload and its length. Output: [`Payload`].
//!
//! im2rec puts 24 bytes before the encoded image: flag u32, label f32 and two numbers of the image, u64 each. With a flag
//! above 0 so many labels follow as f32, and the label in the header means nothing.

use super::recordio::MAGIC;
use crate::data::decode::sniff;

/// As many bytes of a payload as [`classify`] may look at.
pub const HEAD_BYTES: u64 = 4096;
/// Longest text of a label, in bytes.
const MAX_TEXT_BYTES: u64 = HEAD_BYTES;
const HEADER_BYTES: usize = 24;

/// The content of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Payload<'a> {
    /// An encoded image and nothing else.
    Image,
    /// An im2rec record; the encoded image begins at `image_at`, in bytes from the beginning of the payload.
    Labelled { label: f32, image_at: u64 },
    /// An im2rec record with this many labels.
    MultiLabel { labels: u32 },
    /// Short text: a label.
    Text(&'a str),
    /// Records within a record.
    RecordIo,
    /// None of these.
    Unknown,
}

/// Tells what a payload of `bytes` bytes is from its first bytes: `head` holds all of it or at least [`HEAD_BYTES`].
pub fn classify(head: &[u8], bytes: u64) -> Payload<'_> {
    // Text first: a label such as "BMW" begins as a BMP file does, while no encoded image is printable text.
    if let Some(text) = as_text(head, bytes) {
        return Payload::Text(text);
    }
    if sniff(head).is_ok() {
        return Payload::Image;
    }
    if head.starts_with(&MAGIC.to_le_bytes()) {
        return Payload::RecordIo;
    }
    im2rec(head).unwrap_or(Payload::Unknown)
}

fn as_text(head: &[u8], bytes: u64) -> Option<&str> {
    if bytes > MAX_TEXT_BYTES || head.len() as u64 != bytes {
        return None;
    }
    let text = std::str::from_utf8(head).ok()?;
    let is_space = |c: char| matches!(c, '\t' | '\n' | '\r');
    (!text.contains(|c: char| c.is_control() && !is_space(c))).then_some(text)
}

fn im2rec(head: &[u8]) -> Option<Payload<'_>> {
    let word = |at: usize| <[u8; 4]>::try_from(head.get(at..at + 4)?).ok();
    let labels = u32::from_le_bytes(word(0)?);
    let image_at = usize::try_from(labels)
        .ok()?
        .checked_mul(4)?
        .checked_add(HEADER_BYTES)?;
    sniff(head.get(image_at..)?).ok()?;
    let label_at = match labels {
        0 => 4,
        1 => HEADER_BYTES,
        _ => return Some(Payload::MultiLabel { labels }),
    };
    Some(Payload::Labelled {
        label: f32::from_le_bytes(word(label_at)?),
        image_at: image_at as u64,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::packed::test_records::{im2rec_record, png};

    fn of(payload: &[u8]) -> Payload<'_> {
        classify(payload, payload.len() as u64)
    }

    #[test]
    fn images_records_and_texts_are_told_apart() {
        let image = png(1);
        assert_eq!(of(&image), Payload::Image);
        assert_eq!(of(b"\xff\xd8\xff\xe0\0\x10JFIF"), Payload::Image);
        assert_eq!(of(b"BMW"), Payload::Text("BMW"));
        assert_eq!(
            of("\"Hündchen\"\n".as_bytes()),
            Payload::Text("\"Hündchen\"\n")
        );
        assert_eq!(of(b""), Payload::Text(""));
        assert_eq!(of(b"\x0a\x23\xd7\xce\0\0\0\0"), Payload::RecordIo);
        assert_eq!(of(&[0; 40]), Payload::Unknown);
        // A protobuf message as the built-in algorithms take it.
        assert_eq!(of(b"\x0a\x0c\x0a\x06values\xff\xfe"), Payload::Unknown);
    }

    #[test]
    fn the_label_of_an_im2rec_record() {
        let image = png(2);
        let plain = im2rec_record(0, &[3.0], &image);
        let expected = |image_at| Payload::Labelled {
            label: 3.0,
            image_at,
        };
        assert_eq!(of(&plain), expected(24));
        // With a flag of 1 the label is behind the header, and the header's own means nothing.
        assert_eq!(of(&im2rec_record(1, &[3.0], &image)), expected(28));
        assert_eq!(
            of(&im2rec_record(2, &[3.0, 4.0], &image)),
            Payload::MultiLabel { labels: 2 }
        );
        assert_eq!(of(&plain[..24]), Payload::Unknown);
    }

    #[test]
    fn the_beginning_is_enough() {
        let mut long = im2rec_record(0, &[7.0], &png(3));
        long.resize(HEAD_BYTES as usize, 0xee);
        let expected = Payload::Labelled {
            label: 7.0,
            image_at: 24,
        };
        assert_eq!(classify(&long, 1 << 20), expected);
        assert_eq!(
            classify(&[b'a'; HEAD_BYTES as usize], 1 << 20),
            Payload::Unknown
        );
    }

    proptest! {
        #[test]
        fn nothing_panics(head in prop::collection::vec(any::<u8>(), 0..200), bytes in any::<u64>()) {
            classify(&head, bytes);
            of(&head);
        }
    }
}
