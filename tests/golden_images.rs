//! Decoding and preprocessing of synthetic pictures in every format, against PIL and torchvision.
//! `scripts/make_golden_images.py` draws the pictures and computes the expected pixels.

use std::path::{Path, PathBuf};

use sagemaker_burn::data::{DecodeError, DecodeLimits, Preprocess, decode_bytes, decode_file};
use serde::Deserialize;

use crate::main_job::run::python;

#[derive(Deserialize)]
struct Case {
    file: String,
    resize: u32,
    crop: u32,
    /// None: the file must be reported as broken.
    expected: Option<String>,
}

fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images")
}

fn cases() -> Vec<Case> {
    let json = std::fs::read_to_string(images().join("cases.json")).unwrap();
    serde_json::from_str(&json).unwrap()
}

/// Largest difference, and mean difference, in grey levels.
fn difference(case: &Case, expected: &str) -> (u8, f64) {
    let preprocess = Preprocess {
        resize: case.resize,
        crop: case.crop,
        ..Preprocess::imagenet(224)
    };
    let pixels = preprocess
        .decode_file(&images().join(&case.file), &DecodeLimits::default())
        .unwrap_or_else(|error| panic!("{}: {error}", case.file));
    let expected = image::open(images().join(expected))
        .unwrap()
        .into_rgb8()
        .into_raw();
    assert_eq!(pixels.len(), expected.len(), "{}", case.file);
    let differences = pixels.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = differences.clone().map(u64::from).sum();
    (differences.max().unwrap(), sum as f64 / pixels.len() as f64)
}

/// Resampling is within 1. JPEG decoders differ by more, in the rounding of their transform and of the colour planes
/// they enlarge: by 2 on photos, by up to 4 at these pictures' edges between pure colours.
fn tolerance(case: &Case) -> (u8, f64) {
    let is_jpeg = case.file.ends_with(".jpg") || case.file.starts_with("jpeg");
    if is_jpeg { (4, 0.5) } else { (1, 0.25) }
}

#[test]
fn pixels_equal_torchvision() {
    let mut failures = Vec::new();
    for case in cases() {
        let Some(expected) = &case.expected else {
            continue;
        };
        let (worst, mean) = difference(&case, expected);
        println!("{:28} worst {worst} mean {mean:.3}", case.file);
        let (worst_allowed, mean_allowed) = tolerance(&case);
        if worst > worst_allowed || mean > mean_allowed {
            failures.push(format!("{}: worst {worst}, mean {mean:.3}", case.file));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn truncated_and_foreign_files_are_reported_as_broken() {
    let broken: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.expected.is_none())
        .collect();
    assert!(broken.len() >= 10);
    for case in broken {
        let decoded = decode_file(images().join(&case.file), &DecodeLimits::default());
        assert!(decoded.is_err(), "{} was decoded", case.file);
        println!("{:28} {}", case.file, decoded.unwrap_err());
    }
}

/// Flips bytes of every golden file. Nothing is asked of the result but that there is one: no panic may leave the
/// decoder, and no damaged header may make it take memory beyond the limits.
#[test]
fn damaged_files_never_panic() {
    let limits = DecodeLimits {
        max_pixels: 1 << 20,
        max_alloc_bytes: 16 << 20,
        ..Default::default()
    };
    let mut state = 1u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let (mut decoded, mut refused) = (0, 0);
    for case in cases() {
        let bytes = std::fs::read(images().join(&case.file)).unwrap();
        for _ in 0..if bytes.is_empty() { 0 } else { 20 } {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random(8) {
                // Headers are at the start: half of the damage goes there.
                let reach = if random(2) == 0 {
                    bytes.len().min(200)
                } else {
                    bytes.len()
                };
                damaged[random(reach)] = random(256) as u8;
            }
            match decode_bytes(&damaged, &limits) {
                Ok(image) => {
                    decoded += 1;
                    assert!(
                        u64::from(image.width()) * u64::from(image.height()) <= limits.max_pixels
                    );
                    assert_eq!(Preprocess::imagenet(32).apply(&image).len(), 32 * 32 * 3);
                }
                Err(DecodeError::Panicked { format, reason }) => {
                    println!("{}: {format} panicked: {reason}", case.file)
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(decoded > 100 && refused > 100, "{decoded} {refused}");
}

/// Writes photos with all kinds of sizes, qualities, chroma and restart markers, and beside each the pixels that libjpeg-turbo, which
/// Pillow decodes with, makes of it.
const PHOTOS: &str = r#"
import itertools, sys
import numpy
from PIL import Image
random = numpy.random.default_rng(0)
names = []
for index, (size, quality, subsampling) in enumerate(itertools.product([(97, 61), (64, 48), (17, 33), (300, 200)], [40, 75, 92, 100], [0, 1, 2, "L"])):
    width, height = size
    y, x = numpy.mgrid[0:height, 0:width]
    pixels = numpy.stack([128 + 90 * numpy.sin(x / 7 + y / 11), (x * 255 / width + y) % 256, 255 * ((x // 9 + y // 5) % 2)], -1)
    pixels = numpy.clip(pixels + random.normal(0, 12, pixels.shape), 0, 255).astype("u1")
    image = Image.fromarray(pixels)
    options = {"quality": quality, "optimize": quality < 100 and index % 3 == 0}
    if index % 4 == 1:
        options["restart_marker_blocks"] = 5
    if subsampling == "L":
        image = image.convert("L")
    else:
        options["subsampling"] = subsampling
    name = f"{sys.argv[1]}/{index}"
    image.save(name + ".jpg", **options)
    decoded = Image.open(name + ".jpg").convert("RGB")
    open(name + ".rgb", "wb").write(decoded.tobytes())
    print(name, decoded.width, decoded.height)
"#;

#[test]
fn photos_have_exactly_the_pixels_of_libjpeg() {
    let folder = tempfile::tempdir().unwrap();
    let Some(files) = python(&["PIL", "numpy"], PHOTOS, &[folder.path()]) else {
        return;
    };
    assert_eq!(files.lines().count(), 64);
    for line in files.lines() {
        let [name, width, height] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let path = format!("{name}.jpg");
        let image = decode_file(&path, &DecodeLimits::default()).unwrap();
        assert_eq!(image.width().to_string(), width);
        assert_eq!(image.height().to_string(), height);
        let expected = std::fs::read(format!("{name}.rgb")).unwrap();
        let pairs = image.as_raw().iter().zip(&expected);
        let differing = pairs.filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{line}");
        // Pixels that no crop sees are not decoded, and nobody misses them.
        for side in [16, 64] {
            let preprocess = Preprocess::imagenet(side);
            let pixels = preprocess.decode_file(path.as_ref(), &DecodeLimits::default());
            assert_eq!(pixels.unwrap(), preprocess.apply(&image), "{line}");
        }
    }
}
