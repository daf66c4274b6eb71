//! The header `Accept`.
#![no_main]

use sagemaker_burn::serve::codec::{Answer, negotiate};

libfuzzer_sys::fuzz_target!(|header: &str| {
    if let Err(error) = negotiate(Some(header), Answer::Json) {
        assert_eq!(error.status(), 406);
        assert!(error.to_string().len() < 1500, "{error}");
    }
});
