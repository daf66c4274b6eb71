//! Bodies of `application/json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| sagemaker_burn_fuzz::request("application/json", body));
