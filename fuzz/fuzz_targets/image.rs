//! Image files: JPEG, PNG, WebP, GIF, BMP and TIFF, decoded and brought to the network's size.
#![no_main]

use sagemaker_burn::data::{DecodeLimits, decode_bytes};
use sagemaker_burn_fuzz::preprocess;

const LIMITS: DecodeLimits = DecodeLimits {
    max_pixels: 1 << 20,
    max_alloc_bytes: 16 << 20,
    max_file_bytes: 1 << 20,
};

libfuzzer_sys::fuzz_target!(
    // A decoder's panic is caught and becomes an error; only one that gets out counts, and libFuzzer sees that without a hook.
    init: std::panic::set_hook(Box::new(|_| {})),
    |file: &[u8]| {
        if let Ok(image) = decode_bytes(file, &LIMITS) {
            let pixels = u64::from(image.width()) * u64::from(image.height());
            assert!((1..=LIMITS.max_pixels).contains(&pixels));
            let square = preprocess().apply(&image);
            assert_eq!(square.len(), 32 * 32 * 3);
        }
    }
);
