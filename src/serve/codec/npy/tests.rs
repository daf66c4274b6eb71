use proptest::prelude::*;

use super::super::{Picture, Shape};
use super::*;

const LIMITS: Limits = Limits {
    side: 2,
    max_pictures: 4,
    max_pixels: 100,
};

/// An array with this header text.
pub fn with_header(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = [MAGIC, &[version, 0]].concat();
    match version {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

pub fn write(descr: &str, fortran: bool, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    let fortran = if fortran { "True" } else { "False" };
    let header =
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({sides}), }}\n");
    with_header(1, &header, data)
}

fn parse(bytes: &[u8]) -> Result<Request, RequestError> {
    read(bytes, bytes.len() as u64, &LIMITS)
}

fn header(text: &str) -> Result<header::Header, String> {
    header::read(&mut with_header(1, text, &[]).as_slice())
}

#[test]
fn keys_come_in_any_order_and_spacing() {
    let expected = header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }").unwrap();
    assert_eq!(expected.shape, [3, 4]);
    for text in [
        "{'shape':(3,4),'descr':'<f4','fortran_order':False}",
        "  { \"fortran_order\" : False ,\n\"shape\" : ( 3L , 4L , ) , \"descr\" : \"<f4\" , }  \n",
    ] {
        let found = header(text).unwrap();
        assert_eq!((found.dtype, found.shape), (expected.dtype, vec![3, 4]));
    }
    let one = header("{'descr': '>f4', 'fortran_order': True, 'shape': (3,)}").unwrap();
    assert!(one.fortran && one.dtype.big_endian && one.shape == [3]);
    let none = header("{'descr': '|u1', 'fortran_order': True, 'shape': ()}").unwrap();
    assert!(none.shape.is_empty());
}

#[test]
fn headers_that_say_anything_else_are_refused() {
    for (text, said) in [
        ("", "dictionary"),
        ("{}", "lacks one of"),
        ("{'descr': '<f4', 'shape': (3,), }", "lacks one of"),
        ("{'descr': '<f4', 'descr': '<f4'}", "twice"),
        ("{'descr': '<f4', 'other': 1}", "`other`"),
        ("{'fortran_order': 1}", "neither"),
        ("{'shape': (3)}", "not a tuple"),
        ("{'shape': 3}", "`(`"),
        ("{'shape': (-3,)}", "no size"),
        ("{'shape': (99999999999999999999999,)}", "no size"),
        ("{'shape': (3,", "no size"),
        ("{'descr': '<f16'}", "unusual size"),
        ("{'descr': '|f4'}", "byte order"),
        ("{'descr': '=f4'}", "byte order"),
        ("{'descr': '<f4\\x'}", "unusual size"),
        ("{'descr': [('a', '<f4')]}", "structured"),
        ("{'descr': '|V8'}", "structured"),
        ("{'descr': '|O'}", "objects"),
        ("{'descr': 'é'}", "unknown type"),
        ("{'descr", "dictionary"),
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), } 1",
            "goes on",
        ),
        ("__import__('os')", "`{`"),
    ] {
        let error = header(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
    let many = format!("{{'shape': ({})}}", "1,".repeat(100));
    assert!(header(&many).unwrap_err().contains("dimensions"));
}

#[test]
fn sizes_are_checked_before_anything_is_taken() {
    let huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 3)}";
    for bytes in [
        with_header(1, huge, &[0; 8]),
        write("|u1", false, &[2, 2, 3], &[0; 11]),
        write("|u1", false, &[2, 2, 3], &[0; 13]),
        write("<f4", false, &[1 << 40, 3, 2, 2], &[0; 48]),
        write("|u1", false, &[1 << 61, 1 << 61, 3], &[]),
    ] {
        let error = parse(&bytes).unwrap_err();
        assert!(error.to_string().contains("does not have"), "{error}");
    }
    let mut long = with_header(2, "", &[]);
    long[8..12].fill(0xff);
    assert!(parse(&long).unwrap_err().to_string().contains("4294967295"));
    let whole = write("<f4", false, &[3, 2, 2], &[0; 48]);
    parse(&whole).unwrap();
    for length in 0..whole.len() {
        assert!(parse(&whole[..length]).is_err(), "{length} bytes");
        // Where the announced length is a lie, as in an archive.
        assert!(read(&whole[..length], whole.len() as u64, &LIMITS).is_err());
    }
    let mut newer = whole;
    newer[6] = 4;
    assert!(
        parse(&newer)
            .unwrap_err()
            .to_string()
            .contains("version 4.0")
    );
}

#[test]
fn arrays_longer_than_a_piece_are_whole() {
    let values: Vec<u8> = (0..300 * 301 * 3).map(|i| (i % 251) as u8).collect();
    let wide: Vec<u8> = values
        .iter()
        .flat_map(|&v| i64::from(v).to_be_bytes())
        .collect();
    let limits = Limits {
        max_pixels: 1 << 20,
        ..LIMITS
    };
    for bytes in [
        write("|u1", false, &[300, 301, 3], &values),
        write(">i8", false, &[300, 301, 3], &wide),
    ] {
        let request = read(bytes.as_slice(), bytes.len() as u64, &limits).unwrap();
        let Picture::Pixels(image) = &request.pictures[0] else {
            panic!("not pixels")
        };
        assert_eq!((image.width(), image.as_raw()), (301, &values));
    }
}

proptest! {
    #[test]
    fn floats_round_trip(values in prop::collection::vec(-1e30f32..1e30, 24), big: bool) {
        let four = values.iter().flat_map(|v| if big { v.to_be_bytes() } else { v.to_le_bytes() });
        let eight = values.iter().map(|&v| f64::from(v));
        let eight = eight.flat_map(|v| if big { v.to_be_bytes() } else { v.to_le_bytes() });
        let order = if big { '>' } else { '<' };
        for (size, data) in [(4, four.collect::<Vec<_>>()), (8, eight.collect())] {
            let bytes = write(&format!("{order}f{size}"), false, &[2, 3, 2, 2], &data);
            let request = parse(&bytes).unwrap();
            let tensors = values.chunks(12).map(|one| Picture::Tensor(one.to_vec()));
            prop_assert_eq!(request.pictures, tensors.collect::<Vec<_>>());
            prop_assert_eq!(request.shape, Shape::Many);
        }
    }

    #[test]
    fn integers_round_trip(
        height in 1usize..8,
        width in 1usize..8,
        values in prop::collection::vec(0u8..=255, 49 * 3),
    ) {
        let values = &values[..height * width * 3];
        let shape = [height, width, 3];
        let wide = values.iter().flat_map(|&v| u32::from(v).to_le_bytes()).collect::<Vec<_>>();
        for bytes in [write("|u1", false, &shape, values), write("<u4", false, &shape, &wide)] {
            let image = image::RgbImage::from_raw(width as u32, height as u32, values.to_vec());
            let expected = vec![Picture::Pixels(image.unwrap())];
            prop_assert_eq!(parse(&bytes).unwrap().pictures, expected);
        }
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, header in "[{}'descrfotan_hp:(),0-9 <|TFL]{0,80}") {
        let _ = parse(&bytes);
        let _ = parse(&[MAGIC, &bytes].concat());
        let _ = parse(&with_header(1, &header, &bytes));
    }
}
