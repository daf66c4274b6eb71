//! Photos of all kinds against the decoder of the `image` crate, parts against the whole, broken files against nothing.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, Rgb, RgbImage};
use proptest::prelude::*;

use super::*;

fn whole(bytes: &[u8]) -> Option<RgbImage> {
    decode(bytes, |_, _| true, Crop::whole)
}

/// Something with edges, gradients and noise.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let noise = (x * 7919 + y * 104_729) % 23;
        let edge = if (x / 9 + y / 13) % 2 == 0 { 90 } else { 20 };
        Rgb([
            (edge + x * 100 / width + noise) as u8,
            (edge + y * 120 / height) as u8,
            (200 - edge - noise) as u8,
        ])
    })
}

/// `image` writes its colours without subsampling.
fn encoded(image: &RgbImage, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode_image(image)
        .unwrap();
    bytes
}

fn by_image(bytes: &[u8]) -> RgbImage {
    image::load_from_memory(bytes).unwrap().into_rgb8()
}

#[test]
fn sizes_and_qualities_against_another_decoder() {
    for (width, height) in [(8, 8), (1, 1), (7, 9), (33, 16), (64, 64), (100, 75)] {
        for quality in [30, 75, 95, 100] {
            let bytes = encoded(&picture(width, height), quality);
            let (ours, theirs) = (whole(&bytes).unwrap(), by_image(&bytes));
            assert_eq!(ours.dimensions(), theirs.dimensions());
            let pairs = ours.as_raw().iter().zip(theirs.as_raw());
            let worst = pairs.map(|(a, b)| a.abs_diff(*b)).max();
            // Its transform rounds otherwise, and three samples make a colour.
            assert!(worst <= Some(4), "{width}x{height} {quality}: {worst:?}");
        }
    }
}

#[test]
fn grey_photos_are_grey() {
    let grey: Vec<u8> = (0..40 * 30u32).map(|i| (i * 37 % 251) as u8).collect();
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95)
        .encode(&grey, 40, 30, ExtendedColorType::L8)
        .unwrap();
    let (ours, theirs) = (whole(&bytes).unwrap(), by_image(&bytes));
    for (a, b) in ours.pixels().zip(theirs.pixels()) {
        assert!(a.0[0].abs_diff(b.0[0]) <= 2 && a.0 == [a.0[0]; 3]);
    }
}

#[test]
fn each_instruction_set_gives_the_same_pixels() {
    let bytes = encoded(&picture(83, 61), 90);
    let header = Header::parse(&bytes).unwrap();
    let with = |isa: Isa| {
        let decode = Decode {
            bytes: &bytes,
            header: &header,
            part: Crop::whole(83, 61),
        };
        isa.run(decode).unwrap()
    };
    let plain = with(Isa::Plain);
    for isa in Isa::available() {
        assert_eq!(with(isa), plain, "{isa:?}");
    }
}

#[test]
fn a_file_that_is_cut_or_another_format_is_left_to_others() {
    let bytes = encoded(&picture(100, 75), 90);
    for length in [0, 1, 2, 20, bytes.len() / 2, bytes.len() - 40] {
        assert!(whole(&bytes[..length]).is_none(), "{length}");
    }
    // Without its end marker it lacks nothing, and what follows that changes nothing.
    assert_eq!(whole(&bytes[..bytes.len() - 2]), whole(&bytes));
    assert_eq!(whole(&[&bytes[..], b"more"].concat()), whole(&bytes));
    assert!(whole(b"\x89PNG\r\n\x1a\n").is_none());
    assert!(decode(&bytes, |_, _| false, Crop::whole).is_none());
    let mut progressive = bytes.clone();
    let at = progressive.windows(2).position(|pair| pair == [0xFF, 0xC0]);
    progressive[at.unwrap() + 1] = 0xC2;
    assert!(whole(&progressive).is_none());
}

proptest! {
    #[test]
    fn a_part_is_that_part_of_the_whole(left in 0u32..90, top in 0u32..70, width in 1u32..100, height in 1u32..80) {
        let bytes = encoded(&picture(100, 75), 90);
        let all = whole(&bytes).unwrap();
        let part = decode(&bytes, |_, _| true, |_, _| Crop { left, top, width, height }).unwrap();
        prop_assert_eq!(part.dimensions(), all.dimensions());
        for y in top..(top + height).min(75) {
            for x in left..(left + width).min(100) {
                prop_assert_eq!(part[(x, y)], all[(x, y)]);
            }
        }
    }

    #[test]
    fn broken_files_do_no_harm(at in 0usize..4000, value: u8) {
        let mut bytes = encoded(&picture(64, 48), 80);
        let length = bytes.len();
        bytes[at % length] = value;
        if let Some(image) = whole(&bytes) {
            prop_assert_eq!(image.as_raw().len(), image.width() as usize * image.height() as usize * 3);
        }
    }
}
