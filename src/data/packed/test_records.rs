//! Writes RecordIO and im2rec records for tests, after the description of the format.
//!
//! Input: payloads, labels, images. Output: bytes.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};

use super::recordio::MAGIC;

/// One part with its padding.
pub(super) fn part(flag: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_le_bytes().to_vec();
    out.extend((flag << 29 | bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// A record, cut into parts at every magic number that stands at a multiple of four bytes.
pub(super) fn record(payload: &[u8]) -> Vec<u8> {
    let mut cuts: Vec<usize> = Vec::new();
    for (word, bytes) in payload.chunks_exact(4).enumerate() {
        if bytes == MAGIC.to_le_bytes() {
            cuts.push(word * 4);
        }
    }
    if cuts.is_empty() {
        return part(0, payload);
    }
    let mut out = Vec::new();
    let mut start = 0;
    for &cut in &cuts {
        out.extend(part(if start == 0 { 1 } else { 2 }, &payload[start..cut]));
        start = cut + 4;
    }
    out.extend(part(3, &payload[start..]));
    out
}

/// All records, one behind the other.
pub(super) fn records(payloads: &[&[u8]]) -> Vec<u8> {
    payloads
        .iter()
        .flat_map(|payload| record(payload))
        .collect()
}

/// `labels` goes into the header if `flag` is 0, else behind it.
pub(super) fn im2rec_record(flag: u32, labels: &[f32], image: &[u8]) -> Vec<u8> {
    let in_header = if flag == 0 { labels[0] } else { -7.0 };
    let mut out = flag.to_le_bytes().to_vec();
    out.extend(in_header.to_le_bytes());
    out.extend([9; 16]);
    if flag > 0 {
        for label in labels {
            out.extend(label.to_le_bytes());
        }
    }
    out.extend(image);
    out
}

/// A small picture; another for each `shade`.
pub(super) fn png(shade: u8) -> Vec<u8> {
    let picture = RgbImage::from_pixel(2, 2, image::Rgb([shade, 10, 200]));
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, ImageFormat::Png).unwrap();
    out.into_inner()
}
