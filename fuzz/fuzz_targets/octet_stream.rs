//! Bodies of `application/octet-stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| sagemaker_burn_fuzz::request("application/octet-stream", body));
