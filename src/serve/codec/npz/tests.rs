use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use proptest::prelude::*;

use super::super::Picture;
use super::super::npy::tests as npy_tests;
use super::*;

const LIMITS: Limits = Limits {
    side: 2,
    max_pictures: 4,
    max_pixels: 100,
};

/// An archive of these members.
pub fn write(members: &[(&str, &[u8])], deflated: bool) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let mut crc = Crc::new();
        crc.update(data);
        let packed = match deflated {
            true => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            false => data.to_vec(),
        };
        let mut fields = vec![20, 0, 0, 0, if deflated { 8 } else { 0 }, 0, 0, 0, 0, 0];
        fields.extend(crc.sum().to_le_bytes());
        fields.extend((packed.len() as u32).to_le_bytes());
        fields.extend((data.len() as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        directory.extend([ENTRY, &[20, 0], &fields, &[0; 10]].concat());
        directory.extend((archive.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        archive.extend([MEMBER, &fields, name.as_bytes(), &packed].concat());
    }
    let offset = archive.len() as u32;
    archive.extend(&directory);
    archive.extend([END, &[0; 4]].concat());
    archive.extend([members.len() as u16; 2].map(u16::to_le_bytes).concat());
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend(offset.to_le_bytes());
    archive.extend([0, 0]);
    archive
}

fn photo(value: u8) -> Vec<u8> {
    npy_tests::write("|u1", false, &[2, 2, 3], &[value; 12])
}

fn first_byte(archive: &[u8]) -> u8 {
    match &read(archive, &LIMITS).unwrap().pictures[0] {
        Picture::Pixels(image) => image.as_raw()[0],
        other => panic!("{other:?}"),
    }
}

fn said(archive: &[u8]) -> String {
    read(archive, &LIMITS).unwrap_err().to_string()
}

#[test]
fn the_single_array_or_one_of_a_usual_name_is_taken() {
    let (one, two, three) = (photo(1), photo(2), photo(3));
    for deflated in [false, true] {
        let archive = |members: &[(&str, &[u8])]| write(members, deflated);
        assert_eq!(first_byte(&archive(&[("photo.npy", &one)])), 1);
        assert_eq!(
            first_byte(&archive(&[("a.txt", b"text"), ("b.npy", &two)])),
            2
        );
        let members = [
            ("x.npy", &one[..]),
            ("instances.npy", &two),
            ("arr_0.npy", &three),
        ];
        assert_eq!(first_byte(&archive(&members)), 2);
        let error = said(&archive(&[("a.npy", &one), ("b.npy", &two)]));
        assert!(error.contains("a.npy, b.npy"), "{error}");
        assert!(said(&archive(&[("a.txt", &one)])).contains("no `.npy`"));
    }
    assert!(said(&write(&[], false)).contains("no `.npy`"));
}

#[test]
fn a_comment_and_bytes_before_the_end_record_do_no_harm() {
    let mut archive = write(&[("a.npy", &photo(5))], true);
    let last = archive.len() - 2;
    archive.splice(last.., *b"\x05\x00PK\x05\x06!");
    assert_eq!(first_byte(&archive), 5);
}

#[test]
fn damage_is_noticed() {
    for deflated in [false, true] {
        let data = photo(9);
        let archive = write(&[("a.npy", &data)], deflated);
        for at in 0..archive.len() {
            for bit in 0..8 {
                let mut broken = archive.clone();
                broken[at] ^= 1 << bit;
                // Versions, times and attributes mean nothing here; anything else is refused or leaves the array alone.
                if let Ok(request) = read(&broken, &LIMITS) {
                    assert_eq!(request, read(&archive, &LIMITS).unwrap(), "byte {at}");
                }
            }
        }
        for length in 0..archive.len() {
            assert!(read(&archive[..length], &LIMITS).is_err(), "{length} bytes");
        }
    }
}

#[test]
fn bombs_do_not_go_off() {
    // 100 pixels admit 2400 bytes.
    let zeros = npy_tests::write("|u1", false, &[4, 30, 30, 3], &[0; 10800]);
    let error = read(&write(&[("a.npy", &zeros)], true), &LIMITS).unwrap_err();
    assert_eq!(error.status(), 413, "{error}");
    // The array is small, what is behind it is not.
    let mut long = photo(0);
    long.extend(vec![0; 1 << 20]);
    let mut archive = write(&[("a.npy", &long)], true);
    assert_eq!(read(&archive, &LIMITS).unwrap_err().status(), 413);
    let entry = archive.windows(4).rposition(|four| four == ENTRY).unwrap();
    let size = photo(0).len() as u32;
    archive[entry + 24..entry + 28].copy_from_slice(&size.to_le_bytes());
    assert!(said(&archive).contains("does not have the size"));
    // More than deflate could have made of it.
    let limits = Limits {
        max_pixels: u64::MAX,
        ..LIMITS
    };
    archive[entry + 24..entry + 28].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    let error = read(&archive, &limits).unwrap_err().to_string();
    assert!(error.contains("cannot have the size"), "{error}");
}

#[test]
fn what_is_not_read_is_named() {
    let archive = write(&[("a.npy", &photo(1))], false);
    let entry = archive.windows(4).rposition(|four| four == ENTRY).unwrap();
    for (at, value, word) in [
        (8, 1, "encrypted"),
        (10, 12, "stored or deflated"),
        (42, 1, "not where"),
        (16, archive[entry + 16] ^ 1, "checksum"),
    ] {
        let mut changed = archive.clone();
        changed[entry + at] = value;
        assert!(said(&changed).contains(word), "{}", said(&changed));
    }
    let mut large = archive.clone();
    large[entry + 24..entry + 28].fill(0xff);
    assert!(said(&large).contains("4 GiB"));
    assert!(said(b"PK\x03\x04").contains("truncated"));
}

proptest! {
    #[test]
    fn arrays_round_trip(values in prop::collection::vec(-9f32..9.0, 12), deflated: bool, name in "[a-z]{1,9}") {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let array = npy_tests::write("<f4", false, &[3, 2, 2], &data);
        let archive = write(&[(&format!("{name}.npy"), &array)], deflated);
        prop_assert_eq!(read(&archive, &LIMITS).unwrap().pictures, vec![Picture::Tensor(values)]);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, end in prop::collection::vec(0u8..40, 16)) {
        let _ = read(&bytes, &LIMITS);
        let _ = read(&[MEMBER, &bytes, ENTRY, &bytes, END, &end, &[0, 0]].concat(), &LIMITS);
    }
}
