use std::path::Path;

use serde::Deserialize;

use super::*;

mod mutations;
mod speed;

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
