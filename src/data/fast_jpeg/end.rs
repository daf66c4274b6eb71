//! Is a JPEG file whole?
//!
//! The JPEG decoder paints what is missing from a cut file grey and reports success, so a truncated photo would train
//! the network on grey. This module reads the marker structure, and the compressed data only where the end marker is
//! missing.
//!
//! Input: the bytes of a JPEG file. Output: whether all of the picture is there.

use super::scan::{Frame, Scan, Tables, marker, restart_interval};

/// Whether the file has an end-of-image marker (what follows it is ignored by every viewer), or lacks nothing but that.
///
/// The second is told for pictures in one sequential scan, which most photos are. A progressive file without its end
/// marker counts as cut.
pub fn is_complete(bytes: &[u8]) -> bool {
    let mut reader = Reader::default();
    // The first two bytes are the start-of-image marker.
    let mut at = 2;
    while let Some((found, after)) = next_marker(bytes, at) {
        at = after;
        match found {
            marker::END_OF_IMAGE => return true,
            // Restart markers, start of image and TEM stand alone.
            0x01 | 0xD0..=0xD8 => continue,
            _ => {}
        }
        let Some(segment) = segment(bytes, at) else {
            return false;
        };
        at += segment.len() + 2;
        reader.read(found, segment, at);
    }
    reader.scans.as_slice().first().is_some_and(|scan| {
        let single = reader.scans.len() == 1;
        single
            && reader
                .frame
                .as_ref()
                .is_some_and(|frame| scan.has_all_blocks(frame, bytes))
    })
}

/// What is needed to read the compressed data.
#[derive(Default)]
struct Reader {
    /// Of a sequential picture only.
    frame: Option<Frame>,
    tables: Tables,
    restart_interval: usize,
    scans: Vec<Scan>,
}

impl Reader {
    fn read(&mut self, found: u8, segment: &[u8], data_start: usize) {
        match found {
            marker::BASELINE | marker::EXTENDED => self.frame = Frame::parse(segment),
            marker::DEFINE_HUFFMAN_TABLES => {
                // A damaged table only means that this file, which may well be complete, cannot be vouched for.
                let _ = self.tables.read(segment);
            }
            marker::DEFINE_RESTART_INTERVAL => {
                let said = restart_interval(segment);
                self.restart_interval = said.unwrap_or(self.restart_interval);
            }
            marker::START_OF_SCAN => {
                let scan = Scan::parse(segment, &self.tables, self.restart_interval, data_start);
                self.scans.extend(scan);
            }
            _ => {}
        }
    }
}

/// The content of the segment whose length field is at `at`; `None` if the file ends before it does.
pub(super) fn segment(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = bytes.get(at..at + 2)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
    bytes.get(at + 2..at + length)
}

/// The next marker at or after `at`, and the offset behind it. Compressed data between markers is skipped: there a
/// 0xFF byte of data is followed by 0x00.
pub(super) fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
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
    use image::{DynamicImage, GrayImage, RgbImage};

    fn pictures() -> [DynamicImage; 2] {
        let rgb = RgbImage::from_fn(61, 43, |x, y| {
            image::Rgb([x as u8 * 3, y as u8 * 3, (x * y) as u8])
        });
        let grey = GrayImage::from_fn(61, 43, |x, y| image::Luma([(x * y + x) as u8]));
        [rgb.into(), grey.into()]
    }

    fn jpeg(picture: &DynamicImage) -> Vec<u8> {
        let mut bytes = Vec::new();
        JpegEncoder::new(&mut bytes).encode_image(picture).unwrap();
        bytes
    }

    #[test]
    fn a_whole_file_is_complete_also_with_garbage_behind() {
        for picture in &pictures() {
            let mut bytes = jpeg(picture);
            assert!(is_complete(&bytes));
            bytes.extend_from_slice(b"\0\0garbage\xFF");
            assert!(is_complete(&bytes));
        }
    }

    #[test]
    fn only_the_end_marker_may_be_missing() {
        for picture in &pictures() {
            let bytes = jpeg(picture);
            let data_end = bytes.len() - 2;
            assert!(is_complete(&bytes[..data_end]));
            assert!(is_complete(&bytes[..data_end + 1]), "half of the marker");
            // The last byte may hold nothing but padding, the one before it always holds picture data.
            for cut in 2..data_end - 1 {
                assert!(
                    !is_complete(&bytes[..cut]),
                    "cut at {cut} of {}",
                    bytes.len()
                );
            }
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
        assert!(!is_complete(&bytes));
    }

    #[test]
    fn damaged_headers_are_incomplete_not_a_panic() {
        let bytes = jpeg(&pictures()[0]);
        let whole = &bytes[..bytes.len() - 2];
        for at in 2..whole.len().min(700) {
            for value in [0x00, 0xFF, 0x11] {
                let mut damaged = whole.to_vec();
                damaged[at] = value;
                is_complete(&damaged);
            }
        }
    }
}
