use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use serde::Deserialize;

use super::*;

const LIMITS: Limits = Limits {
    side: 2,
    max_pictures: 4,
    max_pixels: 5000,
};

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[derive(Deserialize)]
struct Photo {
    width: u32,
    height: u32,
    rgb: String,
}

#[derive(Deserialize)]
struct Array {
    name: String,
    file: String,
    many: bool,
    tensors: Option<Vec<Vec<f32>>>,
    pictures: Option<Vec<Photo>>,
}

#[derive(Deserialize)]
struct Refused {
    file: String,
    said: String,
}

#[derive(Deserialize)]
struct Saved {
    rows: usize,
    columns: usize,
    file: String,
}

#[derive(Deserialize)]
struct Golden {
    npy: Vec<Array>,
    npz: Vec<Array>,
    refused: Vec<Refused>,
    saved: Vec<Saved>,
}

/// `scripts/make_golden_arrays.py` writes it.
fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/serve/arrays.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn arrays_of_numpy_are_read_as_numpy_reads_them() {
    let Golden { npy, npz, .. } = golden();
    assert!(npy.len() > 50 && npz.len() > 8);
    for (array, named) in npy
        .iter()
        .map(|array| (array, "application/x-npy"))
        .chain(npz.iter().map(|array| (array, "application/x-npz")))
    {
        let file = unhex(&array.file);
        let request = decode(Some(named), &file, &LIMITS).unwrap();
        assert_eq!(request.shape == Shape::Many, array.many, "{}", array.name);
        let tensors = array.tensors.iter().flatten();
        let tensors = tensors.map(|values| Picture::Tensor(values.clone()));
        let pictures = array.pictures.iter().flatten().map(|photo| {
            let image = RgbImage::from_raw(photo.width, photo.height, unhex(&photo.rgb));
            Picture::Pixels(image.unwrap())
        });
        let expected: Vec<Picture> = tensors.chain(pictures).collect();
        assert_eq!(request.pictures, expected, "{}", array.name);
        for sniffed in [
            None,
            Some("Application/Octet-Stream; x=y"),
            Some("image/png"),
        ] {
            assert_eq!(decode(sniffed, &file, &LIMITS).as_ref(), Ok(&request));
        }
    }
}

#[test]
fn arrays_of_other_things_are_refused_by_name() {
    for Refused { file, said } in golden().refused {
        let error = decode(None, &unhex(&file), &LIMITS).unwrap_err();
        assert!(error.to_string().contains(&said), "{said}: {error}");
        assert_eq!(error.status(), 400);
    }
}

#[test]
fn arrays_are_written_as_numpy_writes_them() {
    for Saved {
        rows,
        columns,
        file,
    } in golden().saved
    {
        let values: Vec<f32> = (0..rows * columns).map(|i| i as f32 / 8.0).collect();
        let classes: Vec<String> = (0..columns).map(|i| i.to_string()).collect();
        let labels = Labels {
            classes: &classes,
            top_k: 1,
        };
        let model = ModelInfo {
            version: "",
            architecture: "",
            created: "",
        };
        let (body, content_type) = encode(Answer::Npy, Shape::Many, &values, &labels, &model);
        assert_eq!(content_type, "application/x-npy");
        assert_eq!(body, unhex(&file), "{rows} x {columns}");
    }
}

fn png() -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let image = RgbImage::new(5, 4);
    image.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

#[test]
fn content_types_and_magics_decide() {
    let image = Request {
        pictures: vec![Picture::Encoded(png())],
        shape: Shape::One,
    };
    for content_type in [
        None,
        Some(""),
        Some("image/jpeg"),
        Some("IMAGE/PNG; charset=utf-8"),
        Some("application/x-image"),
        Some(" application/octet-stream ;a=b"),
        Some("binary/octet-stream"),
    ] {
        assert_eq!(decode(content_type, &png(), &LIMITS).as_ref(), Ok(&image));
        assert_eq!(decode(content_type, b"", &LIMITS), Err(RequestError::Empty));
        let error = decode(content_type, b"hello", &LIMITS).unwrap_err();
        assert_eq!(error.status(), 415);
        let error = decode(content_type, b" [[1]]", &LIMITS).unwrap_err();
        assert!(error.to_string().contains("Content-Type: application/json"));
    }
    for (content_type, body) in [
        ("application/json; charset=UTF-8", "[[1]]"),
        ("Text/CSV", "1,2,3,4,5,6,7,8,9,10,11,12"),
        ("application/jsonlines", "[[1]]"),
        ("application/x-jsonlines", "[[1]]"),
    ] {
        decode(Some(content_type), body.as_bytes(), &LIMITS).unwrap();
        assert_eq!(
            decode(Some(content_type), b"", &LIMITS),
            Err(RequestError::Empty)
        );
    }
    for content_type in ["multipart/form-data; boundary=x", "text/html", "json", "é"] {
        let error = decode(Some(content_type), &png(), &LIMITS).unwrap_err();
        assert!(error.to_string().contains("application/x-npz"), "{error}");
        assert_eq!(error.status(), 415);
    }
}

/// Numbers as random as a test needs them, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides.max(1)
    }
}

/// Changes a few places of a body.
fn mutate(body: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    const TOKENS: [&[u8]; 16] = [
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"[[",
        b"]",
        b"{\"",
        b"\"b64\":",
        b"\"url\":\"",
        b"1e38",
        b"-0",
        b"NaN",
        b"99999999999999999999",
        b"'descr': '|O'",
        b"(3, 1)",
        b"True",
        b",",
        b"\r\n",
    ];
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(body.len());
        let end = (at + dice.below(16)).min(body.len());
        match dice.below(7) {
            0 if !body.is_empty() => body[at] ^= 1 << dice.below(8),
            1 if !body.is_empty() => body[at] = dice.below(256) as u8,
            2 => drop(body.drain(at..end)),
            3 => {
                let copy = body[at..end].to_vec();
                let to = dice.below(body.len());
                body.splice(to..to, copy);
            }
            4 => drop(body.splice(at..at, TOKENS[dice.below(TOKENS.len())].iter().copied())),
            5 => {
                let from = dice.below(other.len());
                body.splice(at.., other[from..].iter().copied());
            }
            _ => body.truncate(at),
        }
    }
}

/// Valid bodies of each content type.
fn valid_bodies() -> HashMap<&'static str, Vec<Vec<u8>>> {
    let golden = golden();
    let files = |arrays: &[Array]| arrays.iter().map(|array| unhex(&array.file)).collect();
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let tensor = "[[[0.5,1],[2,3]],[[0,1],[2,3]],[[0,1],[2,3]]]";
    let gif = "R0lGODlhAQABAIAAAAAAAAAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==";
    let object = format!("{{\"image_b64\": \"{gif}\"}}");
    let instances = format!("{{\"instances\": [\"{gif}\", {object}, [[1, 2], [3, 4]], {tensor}]}}");
    let lines = format!("{object}\n{tensor}\n[[[1,2,3]]]\n");
    let csv = "0.5,1,2,3,4,5,6,7,8,9,10,-1e3\n0,1,2,3,4,5,6,7,8,9,10,255\r\n";
    HashMap::from([
        ("application/x-npy", files(&golden.npy)),
        ("application/x-npz", files(&golden.npz)),
        (
            "application/octet-stream",
            vec![
                png(),
                unhex(&golden.npy[0].file),
                unhex(&golden.npz[0].file),
            ],
        ),
        (
            "application/json",
            texts(&[tensor, &instances, &object, "[[[[1,2,3]]],[[[4,5,6]]]]"]),
        ),
        ("application/jsonlines", texts(&[&lines])),
        ("text/csv", texts(&[csv])),
    ])
}

fn check(result: Result<Request, RequestError>) -> bool {
    match &result {
        Ok(request) => {
            assert!((1..=LIMITS.max_pictures).contains(&request.pictures.len()));
            for picture in &request.pictures {
                match picture {
                    Picture::Encoded(bytes) => assert!(!bytes.is_empty()),
                    Picture::Pixels(image) => {
                        let (width, height) = image.dimensions();
                        assert!(
                            (1..=LIMITS.max_pixels)
                                .contains(&(u64::from(width) * u64::from(height)))
                        );
                    }
                    Picture::Tensor(values) => {
                        assert!(values.len() == 12 && values.iter().all(|value| value.is_finite()));
                    }
                }
            }
        }
        Err(error) => {
            assert!(matches!(error.status(), 400 | 413 | 415));
            assert!(error.to_string().len() < 1500, "{error}");
        }
    }
    result.is_ok()
}

#[test]
fn mutated_bodies_are_read_or_refused() {
    let rounds = if cfg!(debug_assertions) {
        3_000
    } else {
        100_000
    };
    for (content_type, bodies) in valid_bodies() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for body in &bodies {
            assert!(
                check(decode(Some(content_type), body, &LIMITS)),
                "{content_type}"
            );
        }
        let mut read = 0;
        for _ in 0..rounds {
            let mut body = bodies[dice.below(bodies.len())].clone();
            let other = &bodies[dice.below(bodies.len())];
            mutate(&mut body, other, &mut dice);
            read += usize::from(check(decode(Some(content_type), &body, &LIMITS)));
        }
        println!("{content_type}: {read} of {rounds} are still requests");
        // Mutations have to reach what is behind the first check.
        assert!(read > rounds / 100, "{content_type}: {read} of {rounds}");
    }
}

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
