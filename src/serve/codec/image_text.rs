//! Image files written as base64 text.
//!
//! Input: base64, standard or URL-safe, padded or not, wrapped or not, alone or as a `data:` URL. Output: the bytes of an
//! image file.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::RequestError;
use crate::data::decode::sniff;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const USUAL: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const FOR_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Decodes a text; what it holds has to begin like an image.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, RequestError> {
    let text = payload(text.trim_ascii())?;
    // Some encoders wrap lines.
    let text: Cow<[u8]> = match text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        true => text
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect(),
        false => text.as_bytes().into(),
    };
    let engine = match text.iter().any(|byte| matches!(byte, b'-' | b'_')) {
        true => FOR_URLS,
        false => USUAL,
    };
    let image = engine
        .decode(&text)
        .map_err(|error| RequestError::Base64(error.to_string()))?;
    match sniff(&image) {
        Ok(_) => Ok(image),
        Err(_) => Err(RequestError::NotAnImage),
    }
}

/// A text without the beginning of a `data:` URL.
fn payload(text: &str) -> Result<&str, RequestError> {
    let is_url = text
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("data:"));
    match text.split_once(',') {
        Some((start, payload)) if is_url && start.to_ascii_lowercase().ends_with(";base64") => {
            Ok(payload)
        }
        _ if is_url => Err(RequestError::Base64(
            "a `data:` URL has to continue with `;base64,` and the text".into(),
        )),
        _ => Ok(text),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Begins like a GIF and has every digit of base64.
    pub fn image() -> Vec<u8> {
        let mut image = b"GIF89a".to_vec();
        image.extend(0..=255);
        image
    }

    #[test]
    fn alphabets_padding_wrapping_and_urls_are_all_read() {
        let (usual, url) = (USUAL.encode(image()), FOR_URLS.encode(image()));
        assert!(usual.contains('/') && url.contains('_') && usual.ends_with('='));
        let wrapped: String = usual
            .as_bytes()
            .chunks(76)
            .map(|line| format!("{}\r\n", str::from_utf8(line).unwrap()))
            .collect();
        for text in [
            usual.clone(),
            url.clone(),
            usual.trim_end_matches('=').to_owned(),
            url.trim_end_matches('=').to_owned(),
            wrapped,
            format!("data:image/gif;base64,{usual}"),
            format!("DATA:;Base64,{url}"),
        ] {
            assert_eq!(decode(&text).unwrap(), image(), "{text}");
        }
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for (text, said) in [
            ("", "does not hold"),
            ("aGVsbG8=", "does not hold"),
            ("R0lGODlh!", "base64: "),
            ("data:image/gif,GIF89a", ";base64,"),
            ("é", "base64: "),
            ("dataé", "base64: "),
        ] {
            let error = decode(text).unwrap_err();
            assert!(error.to_string().contains(said), "{text}: {error}");
            assert_eq!(error.status(), 400);
        }
    }
}
