use super::*;
use image::{GrayAlphaImage, Rgb, Rgba, RgbaImage};

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn picture(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 5) as u8, (y * 5) as u8, (x ^ y) as u8])
    })
    .into()
}

fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    decode_bytes(bytes, &DecodeLimits::default())
}

const LOSSLESS: [ImageFormat; 4] = [
    ImageFormat::Png,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
];

#[test]
fn lossless_formats_round_trip_whatever_the_file_is_called() {
    let image = picture(40, 30);
    let dir = tempfile::tempdir().unwrap();
    for format in LOSSLESS {
        let path = dir.path().join("wrong_name.jpg");
        fs::write(&path, encode(&image, format)).unwrap();
        let decoded = decode_file(&path, &DecodeLimits::default()).unwrap();
        assert_eq!(decoded, image.to_rgb8(), "{format:?}");
    }
}

#[test]
fn transparency_lies_on_white() {
    let pixels = [[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 128]];
    let image = RgbaImage::from_fn(3, 1, |x, _| Rgba(pixels[x as usize]));
    let decoded = decode(&encode(&image.into(), ImageFormat::Png)).unwrap();
    assert_eq!(
        decoded.into_raw(),
        [10, 20, 30, 255, 255, 255, 127, 177, 227]
    );
    let grey = GrayAlphaImage::from_pixel(1, 1, image::LumaA([0, 0]));
    assert_eq!(
        decode(&encode(&grey.into(), ImageFormat::Png))
            .unwrap()
            .into_raw(),
        [255; 3]
    );
}

#[test]
fn a_cut_file_is_an_error_in_every_format() {
    let image = picture(64, 64);
    for format in LOSSLESS
        .into_iter()
        .chain([ImageFormat::Jpeg, ImageFormat::Gif])
    {
        let bytes = encode(&image, format);
        for part in [2, 3, 10] {
            let cut = &bytes[..bytes.len() - bytes.len() / part];
            assert!(decode(cut).is_err(), "{format:?} without its last 1/{part}");
        }
    }
}

#[test]
fn a_jpeg_without_its_end_marker_or_with_garbage_behind_survives() {
    let bytes = encode(&picture(64, 64), ImageFormat::Jpeg);
    let whole = decode(&bytes).unwrap();
    let unmarked = &bytes[..bytes.len() - 2];
    assert_eq!(decode(unmarked).unwrap(), whole);
    let garbage = [&bytes[..], b"trailing garbage"].concat();
    assert_eq!(decode(&garbage).unwrap(), whole);
}

#[test]
fn hostile_bytes_are_errors() {
    assert!(matches!(decode(b""), Err(DecodeError::Empty)));
    assert!(matches!(
        decode(b"<html>404</html>"),
        Err(DecodeError::UnknownFormat)
    ));
    for format in LOSSLESS
        .into_iter()
        .chain([ImageFormat::Jpeg, ImageFormat::Gif])
    {
        let bytes = encode(&picture(20, 20), format);
        for keep in [3, 8, 16, 24] {
            assert!(
                decode(&bytes[..keep]).is_err(),
                "{format:?} with {keep} bytes"
            );
        }
    }
}

#[test]
fn pixels_and_memory_are_limited_before_decoding() {
    let bytes = encode(&picture(100, 100), ImageFormat::Png);
    let tight = DecodeLimits {
        max_pixels: 9_999,
        ..Default::default()
    };
    assert!(matches!(
        decode_bytes(&bytes, &tight),
        Err(DecodeError::TooManyPixels { width: 100, .. })
    ));
    let tight = DecodeLimits {
        max_alloc_bytes: 29_999,
        ..Default::default()
    };
    assert!(matches!(
        decode_bytes(&bytes, &tight),
        Err(DecodeError::TooMuchMemory { .. })
    ));

    // A BMP header that promises 2^31 pixels and holds none.
    let mut bomb = encode(&picture(4, 4), ImageFormat::Bmp);
    bomb[18..22].copy_from_slice(&46_340u32.to_le_bytes());
    bomb[22..26].copy_from_slice(&46_340u32.to_le_bytes());
    assert!(matches!(
        decode(&bomb),
        Err(DecodeError::TooManyPixels { .. })
    ));
}

#[test]
fn what_is_not_a_regular_small_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        decode_file(dir.path(), &DecodeLimits::default()),
        Err(DecodeError::NotAFile)
    ));
    let path = dir.path().join("a.png");
    assert!(matches!(
        decode_file(&path, &DecodeLimits::default()),
        Err(DecodeError::Io(_))
    ));
    fs::write(&path, [0; 100]).unwrap();
    let tight = DecodeLimits {
        max_file_bytes: 99,
        ..Default::default()
    };
    assert!(matches!(
        decode_file(&path, &tight),
        Err(DecodeError::FileTooLarge { bytes: 100, .. })
    ));
}

#[test]
fn a_picture_without_pixels_is_refused() {
    let mut gif = encode(&picture(4, 4), ImageFormat::Gif);
    gif[6..10].fill(0);
    assert!(matches!(
        decode(&gif),
        Err(DecodeError::NoPixels {
            width: 0,
            height: 0
        })
    ));
}
