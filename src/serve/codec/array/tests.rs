use super::*;

const LIMITS: Limits = Limits {
    side: 2,
    max_pictures: 4,
    max_pixels: 100,
};

fn pixels(shape: &[usize]) -> Result<Request, RequestError> {
    let bytes = (0..shape.iter().product::<usize>()).map(|i| i as u8);
    Numbers::Bytes(bytes.collect()).into_request(shape, &LIMITS)
}

fn tensors(shape: &[usize]) -> Result<Request, RequestError> {
    let floats = (0..shape.iter().product::<usize>()).map(|i| i as f32);
    Numbers::Floats(floats.collect()).into_request(shape, &LIMITS)
}

fn rgb(picture: &Picture) -> (u32, u32, &[u8]) {
    match picture {
        Picture::Pixels(image) => (image.width(), image.height(), image.as_raw()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pictures_have_their_colours_last_first_or_are_grey() {
    let last = pixels(&[1, 2, 3]).unwrap();
    assert_eq!(last.shape, Shape::One);
    assert_eq!(rgb(&last.pictures[0]), (2, 1, &[0, 1, 2, 3, 4, 5][..]));
    let first = pixels(&[3, 1, 2]).unwrap();
    assert_eq!(rgb(&first.pictures[0]), (2, 1, &[0, 2, 4, 1, 3, 5][..]));
    for shape in [&[1, 2][..], &[1, 2, 1], &[1, 1, 2, 1]] {
        let grey = pixels(shape).unwrap();
        assert_eq!(rgb(&grey.pictures[0]), (2, 1, &[0, 0, 0, 1, 1, 1][..]));
    }
    let many = pixels(&[2, 3, 1, 2]).unwrap();
    assert_eq!(many.shape, Shape::Many);
    assert_eq!(rgb(&many.pictures[1]), (2, 1, &[6, 8, 10, 7, 9, 11][..]));
    let many = pixels(&[2, 1, 2, 3]).unwrap();
    assert_eq!(rgb(&many.pictures[1]), (2, 1, &[6, 7, 8, 9, 10, 11][..]));
}

#[test]
fn colours_are_last_where_they_could_be_first() {
    let picture = pixels(&[3, 1, 3]).unwrap();
    assert_eq!(
        rgb(&picture.pictures[0]),
        (1, 3, &[0, 1, 2, 3, 4, 5, 6, 7, 8][..])
    );
}

#[test]
fn tensors_come_out_with_channels_first() {
    let first = tensors(&[3, 2, 2]).unwrap();
    let last = tensors(&[2, 2, 2, 3]).unwrap();
    assert_eq!((first.shape, last.shape), (Shape::One, Shape::Many));
    let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    assert_eq!(first.pictures, [Picture::Tensor(values)]);
    let expected = [12., 15., 18., 21., 13., 16., 19., 22., 14., 17., 20., 23.];
    assert_eq!(last.pictures[1], Picture::Tensor(expected.to_vec()));
}

#[test]
fn other_shapes_are_refused_with_what_was_found() {
    for shape in [
        &[][..],
        &[3],
        &[2, 2],
        &[0, 3, 2, 2],
        &[3, 3, 3],
        &[1, 1, 3, 2, 2],
    ] {
        let error = tensors(shape).unwrap_err();
        assert!(error.to_string().contains(&format!("{shape:?}")), "{error}");
        assert_eq!(error.status(), 400);
    }
    for shape in [
        &[][..],
        &[3],
        &[0, 2],
        &[2, 2, 2],
        &[0, 1, 1, 3],
        &[1, 1, 1, 1, 3],
    ] {
        let error = pixels(shape).unwrap_err();
        assert!(error.to_string().contains(&format!("{shape:?}")), "{error}");
    }
}

#[test]
fn limits_are_413() {
    for error in [
        pixels(&[5, 1, 1, 3]).unwrap_err(),
        tensors(&[5, 3, 2, 2]).unwrap_err(),
        pixels(&[11, 10, 3]).unwrap_err(),
        PictureLayout::of(&[usize::MAX, usize::MAX, 3], &LIMITS).unwrap_err(),
        PictureLayout::of(&[usize::MAX, 1, 1, 3], &LIMITS).unwrap_err(),
    ] {
        assert_eq!(error.status(), 413, "{error}");
    }
}

#[test]
fn what_is_not_finite_is_refused() {
    let mut values = vec![0.0; 12];
    values[7] = f32::NAN;
    let error = Numbers::Floats(values).into_request(&[3, 2, 2], &LIMITS);
    assert!(error.unwrap_err().to_string().contains("position 7"));
}
