use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::image_text::tests::image;
use super::*;

const LIMITS: Limits = Limits {
    side: 2,
    max_pictures: 4,
    max_pixels: 100,
};

fn parse(text: &str) -> Result<Request, RequestError> {
    super::read(text.as_bytes(), &LIMITS)
}

fn b64() -> String {
    BASE64_STANDARD.encode(image())
}

fn encoded(request: &Request) -> (usize, Shape) {
    let expected = Picture::Encoded(image());
    assert!(request.pictures.iter().all(|picture| *picture == expected));
    (request.pictures.len(), request.shape)
}

#[test]
fn lists_of_integers_are_pictures_and_others_are_tensors() {
    let photo = json!([[[1, 2, 3], [4, 5, 255]]]);
    let rgb = image::RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 255]).unwrap();
    let one = parse(&photo.to_string()).unwrap();
    assert_eq!(one.shape, Shape::One);
    assert_eq!(one.pictures, [Picture::Pixels(rgb.clone())]);
    let many = parse(&json!([photo, photo]).to_string()).unwrap();
    assert_eq!(many.shape, Shape::Many);
    assert_eq!(
        many.pictures,
        [Picture::Pixels(rgb.clone()), Picture::Pixels(rgb.clone())]
    );
    let grey = parse("\u{feff} [[7, 8, 9]]").unwrap();
    assert!(matches!(&grey.pictures[0], Picture::Pixels(image) if image.dimensions() == (3, 1)));

    for last in ["3.0", "256", "-1", "3e0", "18446744073709551616"] {
        let text = format!("[[[0,1],[2,3]],[[0,1],[2,3]],[[0,1],[2,{last}]]]");
        let request = parse(&text).unwrap();
        let mut values = [0., 1., 2., 3.].repeat(3);
        values[11] = last.parse().unwrap();
        assert_eq!(request.pictures, [Picture::Tensor(values)], "{last}");
    }
}

#[test]
fn images_come_as_text_in_objects_and_lists() {
    let b64 = b64();
    let url = format!("data:image/gif;base64,{b64}");
    for (body, expected) in [
        (json!({"image_b64": b64}), (1, Shape::One)),
        (
            json!({"b64": url, "name": [1, {"a": null}]}),
            (1, Shape::One),
        ),
        (json!({"images_b64": [b64, url]}), (2, Shape::Many)),
        (
            json!([{"image_b64": b64}, {"b64": b64}, url]),
            (3, Shape::Many),
        ),
        (
            json!({"instances": [b64, {"b64": b64}]}),
            (2, Shape::Instances),
        ),
        (
            json!({"signature_name": "x", "instances": [{"image_b64": b64}]}),
            (1, Shape::Instances),
        ),
    ] {
        assert_eq!(
            encoded(&parse(&body.to_string()).unwrap()),
            expected,
            "{body}"
        );
    }
    let escaped = json!({"image_b64": b64}).to_string().replace('/', "\\/");
    assert_eq!(encoded(&parse(&escaped).unwrap()), (1, Shape::One));
    let mixed = json!({"instances": [b64, [[[1, 2, 3]]], [[5]], [[[0.5, 1], [2, 3]], [[0, 1], [2, 3]], [[0, 1], [2, 3]]]]});
    let request = parse(&mixed.to_string()).unwrap();
    assert!(matches!(
        request.pictures[..],
        [
            Picture::Encoded(_),
            Picture::Pixels(_),
            Picture::Pixels(_),
            Picture::Tensor(_)
        ]
    ));
}

#[test]
fn mistakes_are_named() {
    let b64 = b64();
    for (text, said) in [
        ("", "EOF"),
        ("1", "nested lists"),
        ("null", "nested lists"),
        ("\"text\"", "nested lists"),
        ("[]", "empty"),
        ("[[], []]", "empty"),
        ("[1, 2]", "[2]"),
        ("[[1, 2], [3]]", "equal length"),
        ("[[1, 2], 3]", "equal length"),
        ("[1, [2]]", "equal length"),
        ("[[[1]], [2]]", "equal length"),
        ("[[[[[1]]]]]", "4 deep"),
        ("[[1, null]]", "null"),
        ("[[true]]", "boolean"),
        ("[[\"1\"]]", "a text"),
        ("[[{}]]", "map"),
        ("[[1.5, 2]]", "[1, 2]"),
        ("[[NaN]]", "no NaN"),
        ("[[1, -Infinity]]", "no NaN"),
        ("[[Infinity]]", "no NaN"),
        ("[[1e400]]", "out of range"),
        ("[[[0,1],[2,3]],[[0,1],[2,3]],[[0,1],[2,1e39]]]", "finite"),
        ("[[1]] 2", "trailing"),
        ("{}", "empty object"),
        ("{\"image\": \"x\"}", "`image`"),
        ("{\"url\": \"http://x/y.jpg\"}", "fetches nothing"),
        ("[{\"url\": 3}]", "fetches nothing"),
        ("{\"instances\": [{\"url\": 3}]}", "fetches nothing"),
        ("{\"instances\": []}", "no picture"),
        ("{\"instances\": 3}", "list of pictures"),
        ("{\"instances\": [3]}", "not a picture"),
        ("{\"instances\": [[[[[1, 2, 3]]]]]}", "one picture"),
        ("{\"instances\": [{\"instances\": []}]}", "`instances`"),
        ("{\"images_b64\": []}", "no picture"),
        ("{\"image_b64\": 3}", "base64 text"),
        ("{\"image_b64\": \"?\"}", "base64: "),
        ("{\"image_b64\": \"aGVsbG8\"}", "does not hold"),
        (
            "{\"instances\": [[[1]]], \"instances\": [[[1]]]}",
            "second key",
        ),
        (&format!("[[1], \"{b64}\"]"), "either"),
        (&format!("[\"{b64}\", [1]]"), "either"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.to_string().contains(said), "{text}: {error}");
        assert_eq!(error.status(), 400, "{text}");
    }
    let deep = "[".repeat(100_000);
    assert!(parse(&deep).unwrap_err().to_string().contains("4 deep"));
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    assert!(parse(&deep).unwrap_err().to_string().contains("EOF"));
}

#[test]
fn too_many_pictures_are_413() {
    let b64 = b64();
    let photo = json!([[[1, 2, 3]]]);
    for body in [
        json!(vec![&photo; 5]),
        json!({"instances": vec![&photo; 5]}),
        json!({"images_b64": vec![&b64; 5]}),
        json!(vec![&b64; 5]),
    ] {
        assert_eq!(parse(&body.to_string()).unwrap_err().status(), 413);
    }
    let lines = format!("{photo}\n").repeat(5);
    assert_eq!(
        read_lines(lines.as_bytes(), &LIMITS).unwrap_err().status(),
        413
    );
}

#[test]
fn lines_hold_a_picture_each() {
    let lines = format!(
        "{}\r\n\n[[[1, 2, 3]]]\n[[[[1, 2, 3]]]]",
        json!({"b64": b64()})
    );
    let request = read_lines(lines.as_bytes(), &LIMITS).unwrap();
    assert_eq!((request.pictures.len(), request.shape), (3, Shape::Many));
    for (lines, said) in [
        ("\n\n", "empty"),
        ("[[1]]\n[[NaN]]", "line 2: JSON: "),
        (
            "[[1]]\n{\"instances\": [[[1]], [[2]]]}",
            "line 2: JSON: a line holds one",
        ),
    ] {
        let error = read_lines(lines.as_bytes(), &LIMITS).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}

fn nested(values: &[f32]) -> Value {
    let planes = values
        .chunks(4)
        .map(|plane| plane.chunks(2).collect::<Vec<_>>());
    json!(planes.collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn floats_round_trip(values in prop::collection::vec(prop::num::f32::NORMAL, 12)) {
        let text = nested(&values).to_string();
        let tensor = vec![Picture::Tensor(values)];
        prop_assert_eq!(&parse(&text).unwrap().pictures, &tensor);
        let instances = parse(&format!("{{\"instances\": [{text}]}}")).unwrap();
        prop_assert_eq!(&instances.pictures, &tensor);
    }

    #[test]
    fn no_text_panics(bytes: Vec<u8>, text in "[\\[\\]{},:0-9.\\-e\"instacb64 ]{0,80}") {
        let _ = super::read(&bytes, &LIMITS);
        let _ = parse(&text);
        let _ = read_lines(text.as_bytes(), &LIMITS);
    }
}
