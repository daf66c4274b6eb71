//! Is a JPEG file whole?
//!
//! The JPEG decoder paints what is missing from a cut file grey and reports success, so a truncated photo would train
//! the network on grey. This module reads the marker structure, and the compressed data only where the end marker is
//! missing.
//!
//! Input: the bytes of a JPEG file. Output: whether all of the picture is there.

use super::jpeg_scan::{Frame, HuffmanTable, Scan};

const DEFINE_HUFFMAN_TABLES: u8 = 0xC4;
const DEFINE_RESTART_INTERVAL: u8 = 0xDD;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;

/// Whether the file has an end-of-image marker (what follows it is ignored by every viewer), or lacks nothing but that.
///
/// The second is told for pictures in one sequential scan, which most photos are. A progressive file without its end
/// marker counts as cut.
pub fn is_complete(bytes: &[u8]) -> bool {
    let mut reader = Reader::default();
    // The first two bytes are the start-of-image marker.
    let mut at = 2;
    while let Some((marker, after)) = next_marker(bytes, at) {
        at = after;
        match marker {
            END_OF_IMAGE => return true,
            // Restart markers, start of image and TEM stand alone.
            0x01 | 0xD0..=0xD8 => continue,
            _ => {}
        }
        let Some(segment) = segment(bytes, at) else {
            return false;
        };
        at += segment.len() + 2;
        reader.read(marker, segment, at);
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
    dc_tables: [Option<HuffmanTable>; 4],
    ac_tables: [Option<HuffmanTable>; 4],
    restart_interval: usize,
    scans: Vec<Scan>,
}

impl Reader {
    fn read(&mut self, marker: u8, segment: &[u8], data_start: usize) {
        match marker {
            // Baseline and extended sequential, Huffman coded.
            0xC0 | 0xC1 => self.frame = Frame::parse(segment),
            DEFINE_HUFFMAN_TABLES => {
                // A damaged table only means that this file, which may well be complete, cannot be vouched for.
                let _ = self.read_tables(segment);
            }
            DEFINE_RESTART_INTERVAL if segment.len() >= 2 => {
                self.restart_interval = usize::from(u16::from_be_bytes([segment[0], segment[1]]));
            }
            START_OF_SCAN => {
                let tables = (&self.dc_tables, &self.ac_tables);
                self.scans.extend(Scan::parse(
                    segment,
                    tables,
                    self.restart_interval,
                    data_start,
                ));
            }
            _ => {}
        }
    }

    fn read_tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&selector, rest)) = segment.split_first() {
            let (table, length) = HuffmanTable::parse(rest)?;
            let tables = if selector >> 4 == 0 {
                &mut self.dc_tables
            } else {
                &mut self.ac_tables
            };
            *tables.get_mut(usize::from(selector & 15))? = Some(table);
            segment = &rest[length..];
        }
        Some(())
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
