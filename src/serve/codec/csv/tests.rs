use proptest::prelude::*;

use super::super::Picture;
use super::*;

const LIMITS: Limits = Limits {
    side: 2,
    max_pictures: 3,
    max_pixels: 100,
};

fn parse(text: &str) -> Result<Request, RequestError> {
    read(text.as_bytes(), &LIMITS)
}

/// Twelve numbers.
fn line(first: &str) -> String {
    format!("{first},1,2,3,4,5,6,7,8,9,10,11")
}

#[test]
fn integers_are_pictures_and_other_numbers_tensors() {
    let request = parse(&format!("{}\r\n\r\n{}\n", line("0"), line("-1e-1"))).unwrap();
    assert_eq!(request.shape, Shape::Many);
    let rgb = vec![0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11];
    let image = image::RgbImage::from_raw(2, 2, rgb).unwrap();
    let mut values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    values[0] = -0.1;
    assert_eq!(
        request.pictures,
        [Picture::Pixels(image), Picture::Tensor(values)]
    );
    let one = parse(&format!("\u{feff}{}", line(" 255 "))).unwrap();
    assert_eq!(one.shape, Shape::One);
    assert!(matches!(one.pictures[0], Picture::Pixels(_)));
    for float in ["256", "1.0", "-1", "0255"] {
        let request = parse(&line(float)).unwrap();
        assert!(matches!(request.pictures[0], Picture::Tensor(_)), "{float}");
    }
}

#[test]
fn mistakes_are_named_with_their_line() {
    let good = line("0");
    for (text, said) in [
        (format!("r0,r1,r2\n{good}"), "line 1: a header line"),
        (format!("{good}\n1,2"), "line 2: 2 numbers; a line holds 12"),
        (format!("{good},12"), "more than 12"),
        (format!("{good}\n{}", line("x")), "line 2: `x` in column 1"),
        (line(""), "`` in column 1"),
        (line("nan"), "`nan`"),
        (line("1e39"), "inf"),
        (line("inf"), "`inf`"),
        (line("é"), "`é`"),
        (good.replace(',', ";"), "line 1: a header line"),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.to_string().contains(said), "{text}: {error}");
        assert_eq!(error.status(), 400);
    }
    assert_eq!(parse("\n \r\n"), Err(RequestError::Empty));
    assert_eq!(parse(&[&*good; 4].join("\n")).unwrap_err().status(), 413);
}

proptest! {
    #[test]
    fn floats_round_trip(values in prop::collection::vec(prop::num::f32::NORMAL, 12)) {
        let text: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
        let request = parse(&text.join(",")).unwrap();
        prop_assert_eq!(request.pictures, vec![Picture::Tensor(values)]);
    }

    #[test]
    fn no_text_panics(bytes: Vec<u8>, text in "[0-9,.\\-e\r\nna]{0,80}") {
        let _ = read(&bytes, &LIMITS);
        let _ = parse(&text);
    }
}
