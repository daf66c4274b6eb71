//! What must hold of every decoder, whatever it is fed.
//!
//! Input: any bytes. Output: nothing; a broken promise is a panic, which libFuzzer reports with the bytes that broke it.

use sagemaker_burn::data::Preprocess;
use sagemaker_burn::serve::codec::{Limits, Picture, Request, decode};

/// Small, so that bodies at the limits are short.
pub const LIMITS: Limits = Limits {
    side: 2,
    max_pictures: 5,
    max_pixels: 4096,
};

/// Reads a body as the endpoint would and checks what came of it.
///
/// # Panics
/// A picture beyond the limits or with numbers that the network must not see; an error without an HTTP status of its own, or
/// longer than a client can be sent.
pub fn request(content_type: &str, body: &[u8]) {
    match decode(Some(content_type), body, &LIMITS) {
        Ok(request) => check(&request),
        Err(error) => {
            assert!(matches!(error.status(), 400 | 413 | 415), "{error}");
            assert!(error.to_string().len() < 1500, "{error}");
        }
    }
}

fn check(request: &Request) {
    assert!((1..=LIMITS.max_pictures).contains(&request.pictures.len()));
    for picture in &request.pictures {
        match picture {
            Picture::Encoded(bytes) => assert!(!bytes.is_empty()),
            Picture::Pixels(image) => {
                let pixels = u64::from(image.width()) * u64::from(image.height());
                assert!((1..=LIMITS.max_pixels).contains(&pixels));
            }
            Picture::Tensor(values) => {
                assert_eq!(values.len(), 3 * (LIMITS.side * LIMITS.side) as usize);
                assert!(values.iter().all(|value| value.is_finite()));
            }
        }
    }
}

/// The preprocessing that a decoded picture goes through.
pub fn preprocess() -> Preprocess {
    Preprocess::imagenet(32)
}
