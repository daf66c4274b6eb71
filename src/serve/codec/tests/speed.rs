//! How long bodies of the usual size take to read.

use std::hint::black_box;
use std::time::Instant;

use crate::serve::codec::{Limits, decode, npy, npz};

/// Not a test: `cargo test --release --lib serve -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures"]
fn speed() {
    let limits = Limits {
        side: 224,
        max_pictures: 64,
        max_pixels: 1 << 24,
    };
    let values: Vec<f32> = (0..3 * 224 * 224)
        .map(|i| ((i * 7919) % 10007) as f32 / 2503.3 - 2.0)
        .collect();
    let planes = |values: &[f32]| -> Vec<Vec<Vec<f64>>> {
        let rows = |plane: &[f32]| {
            plane
                .chunks(224)
                .map(|row| row.iter().map(|&v| v.into()).collect())
                .collect()
        };
        values.chunks(224 * 224).map(rows).collect()
    };
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let array = npy::tests::write("<f4", false, &[1, 3, 224, 224], &data);
    let line: Vec<String> = values.iter().map(f32::to_string).collect();
    let bytes: Vec<u8> = (0..3 * 224 * 224).map(|i| (i % 256) as u8).collect();
    let photo: Vec<Vec<&[u8]>> = bytes
        .chunks(672)
        .map(|row| row.chunks(3).collect())
        .collect();
    for (name, content_type, body) in [
        (
            "json f64",
            "application/json",
            serde_json::to_vec(&planes(&values)).unwrap(),
        ),
        ("json f32", "application/json", {
            let rows: Vec<&[f32]> = values.chunks(224).collect();
            serde_json::to_vec(&rows.chunks(224).collect::<Vec<_>>()).unwrap()
        }),
        (
            "json integers",
            "application/json",
            serde_json::to_vec(&photo).unwrap(),
        ),
        (
            "npz deflated",
            "application/x-npz",
            npz::tests::write(&[("a.npy", &array)], true),
        ),
        ("npy <f4", "application/x-npy", array),
        ("csv", "text/csv", line.join(",").into_bytes()),
    ] {
        let mut times: Vec<_> = (0..30)
            .map(|_| {
                let start = Instant::now();
                black_box(decode(Some(content_type), black_box(&body), &limits).unwrap());
                start.elapsed()
            })
            .collect();
        times.sort();
        println!("{name}: {} bytes, median {:?}", body.len(), times[15]);
    }
}
