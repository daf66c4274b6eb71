//! Does a JPEG file reach its end-of-image marker?
//!
//! The JPEG decoder fills what is missing from a cut file with grey and reports success, so a truncated photo would
//! train the network on grey. This module reads the marker structure only.
//!
//! Input: the bytes of a JPEG file. Output: [`JpegEnd`].

/// How a JPEG file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JpegEnd {
    /// It has an end-of-image marker; whatever follows is ignored by every viewer.
    Complete,
    /// The data stops without one. `sequential`: each part of the picture is stored once, from top to bottom, so that
    /// the decoder's grey fill shows whether more than the marker is missing.
    Missing { sequential: bool },
}

const START_OF_SCAN: u8 = 0xDA;
const END_OF_IMAGE: u8 = 0xD9;

/// Walks the segments of `bytes`, which must start with the start-of-image marker.
pub fn jpeg_end(bytes: &[u8]) -> JpegEnd {
    let mut sequential = true;
    let mut scans = 0;
    let mut at = 2;
    while let Some(found) = next_marker(bytes, at) {
        let (marker, after) = found;
        at = after;
        match marker {
            END_OF_IMAGE => return JpegEnd::Complete,
            // Restart markers, start of image and TEM stand alone.
            0x01 | 0xD0..=0xD8 => continue,
            // Progressive frames, with Huffman or arithmetic coding.
            0xC2 | 0xC6 | 0xCA | 0xCE => sequential = false,
            START_OF_SCAN => scans += 1,
            _ => {}
        }
        let Some(length) = bytes.get(at..at + 2) else {
            break;
        };
        at += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
    }
    JpegEnd::Missing {
        sequential: sequential && scans == 1,
    }
}

/// The next marker at or after `at`, and the offset behind it. Compressed data between markers is skipped: there a
/// 0xFF byte of data is followed by 0x00.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xFF)? + 1;
        match *bytes.get(at)? {
            0x00 => at += 1,
            // Fill bytes: stay on this 0xFF.
            0xFF => {}
            marker => return Some((marker, at + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;

    fn jpeg() -> Vec<u8> {
        let mut bytes = Vec::new();
        let image = image::RgbImage::from_fn(64, 64, |x, y| {
            image::Rgb([x as u8 * 3, y as u8 * 3, (x * y) as u8])
        });
        JpegEncoder::new(&mut bytes).encode_image(&image).unwrap();
        bytes
    }

    #[test]
    fn a_whole_file_is_complete_also_with_garbage_behind() {
        let mut bytes = jpeg();
        assert_eq!(jpeg_end(&bytes), JpegEnd::Complete);
        bytes.extend_from_slice(b"\0\0garbage\xFF");
        assert_eq!(jpeg_end(&bytes), JpegEnd::Complete);
    }

    #[test]
    fn a_cut_anywhere_is_missing_the_end() {
        let bytes = jpeg();
        for cut in 2..bytes.len() - 1 {
            assert!(
                matches!(jpeg_end(&bytes[..cut]), JpegEnd::Missing { .. }),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn an_end_marker_inside_a_metadata_segment_does_not_count() {
        // A thumbnail in the metadata has its own end marker.
        let bytes = [
            &[0xFF, 0xD8, 0xFF, 0xE1, 0x00, 0x06, 0xFF, 0xD9, 0xFF, 0xD9][..],
            &[0xFF, 0xC2, 0, 2],
        ]
        .concat();
        assert_eq!(jpeg_end(&bytes), JpegEnd::Missing { sequential: false });
    }
}
