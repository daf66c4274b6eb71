//! A stream of packed records.
#![no_main]

use std::path::Path;

use sagemaker_burn::data::packed::RecordReader;

libfuzzer_sys::fuzz_target!(|stream: &[u8]| {
    let limit = 1 << 16;
    let mut reader = RecordReader::new(stream, Path::new("stream.rec")).with_limit(limit);
    let mut payload = Vec::new();
    let mut total = 0;
    while let Ok(Some(place)) = reader.read_record(&mut payload) {
        assert_eq!(place.bytes, payload.len() as u64);
        assert!(place.bytes <= limit);
        total += payload.len();
    }
    // Nothing comes out that did not go in.
    assert!(total <= stream.len());
});
