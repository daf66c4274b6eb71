//! Bodies of `application/jsonlines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| sagemaker_burn_fuzz::request("application/jsonlines", body));
