//! Bodies of `application/x-npy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| sagemaker_burn_fuzz::request("application/x-npy", body));
