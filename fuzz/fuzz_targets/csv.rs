//! Bodies of `text/csv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| sagemaker_burn_fuzz::request("text/csv", body));
