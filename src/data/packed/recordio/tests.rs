//! RecordIO: round trips, and what is wrong with broken bytes.

use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::data::packed::test_records::{part, record, records};

fn read_all(bytes: &[u8]) -> Result<Vec<(Vec<u8>, Place)>, PackedError> {
    let mut reader = RecordReader::new(bytes, Path::new("x.rec"));
    let mut found = Vec::new();
    let mut payload = Vec::new();
    while let Some(place) = reader.read_record(&mut payload)? {
        found.push((payload.clone(), place));
    }
    Ok(found)
}

fn message(bytes: &[u8]) -> String {
    read_all(bytes).unwrap_err().to_string()
}

#[test]
fn places_of_whole_and_joined_records() {
    let magic = MAGIC.to_le_bytes();
    let cut = [b"abcd".as_slice(), &magic, &magic, b"tail"].concat();
    let found = read_all(&records(&[b"hello", &cut, b""])).unwrap();
    let payloads: Vec<&[u8]> = found
        .iter()
        .map(|(payload, _)| payload.as_slice())
        .collect();
    assert_eq!(payloads, [b"hello".as_slice(), &cut, b""]);
    let places =
        |(_, place): &(_, Place)| (place.at.record, place.at.offset, place.payload, place.bytes);
    let places: Vec<_> = found.iter().map(places).collect();
    // The second record takes three parts of 12, 8 and 12 bytes.
    assert_eq!(
        places,
        [(0, 0, Some(8), 5), (1, 16, None, 16), (2, 48, Some(56), 0)]
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let good = record(b"hello");
    assert_eq!(
        message(&[good.as_slice(), b"\x1f\x8b\x08\0\0\0\0\0"].concat()),
        "record 1 (at byte 16) of x.rec does not begin with the RecordIO magic number; is the data really RecordIO, and \
         uncompressed?"
    );
    let cut_off = "record 1 (at byte 16) of x.rec is cut off; write or upload the data again, or look why its writer ended \
                   early";
    for missing in 1..16 {
        let two = [good.as_slice(), &good].concat();
        assert_eq!(message(&two[..32 - missing]), cut_off, "{missing}");
    }
    let orders: [(&[u32], u32); 7] = [
        (&[2, 3], 2),
        (&[3], 3),
        (&[1, 0], 0),
        (&[1, 1], 1),
        (&[1, 2, 1], 1),
        (&[4], 4),
        (&[7], 7),
    ];
    for (flags, wrong) in orders {
        let parts: Vec<u8> = flags.iter().flat_map(|&flag| part(flag, b"ab")).collect();
        let expected = format!(
            "record 0 (at byte 0) of x.rec has parts in the wrong order (flag {wrong}); write the data again with MXNet's \
             tools"
        );
        assert_eq!(message(&parts), expected);
    }
    let open_end = [part(1, b"abcd"), part(2, b"efgh")].concat();
    assert!(matches!(
        read_all(&open_end),
        Err(PackedError::Truncated { .. })
    ));
}

#[test]
fn a_bad_magic_within_a_record_is_at_its_own_byte() {
    let bytes = [part(1, b"abcd").as_slice(), b"12345678"].concat();
    assert!(message(&bytes).starts_with("record 0 (at byte 12) of x.rec does not begin"));
}

#[test]
fn long_records_are_refused_and_announced_lengths_are_not_believed() {
    let hello = record(b"hello");
    let mut reader = RecordReader::new(&*hello, Path::new("x.rec")).with_limit(4);
    assert_eq!(
        reader.read_record(&mut Vec::new()).unwrap_err().to_string(),
        "record 0 (at byte 0) of x.rec is longer than the limit of 4 bytes; leave the image out or make it smaller"
    );
    let parts = [part(1, b"ab"), part(3, b"cd")].concat();
    let mut reader = RecordReader::new(&*parts, Path::new("x.rec")).with_limit(7);
    assert!(matches!(
        reader.read_record(&mut Vec::new()),
        Err(PackedError::TooLong { limit: 7, .. })
    ));

    let mut liar = MAGIC.to_le_bytes().to_vec();
    liar.extend(((1_u32 << 29) - 1).to_le_bytes());
    liar.extend(b"short");
    let mut payload = Vec::new();
    let mut reader = RecordReader::new(&*liar, Path::new("x.rec"));
    assert!(reader.read_record(&mut payload).is_err());
    assert!(payload.capacity() < 1 << 20, "{}", payload.capacity());
}

fn heads(bytes: &[u8], head: u64) -> Result<Vec<(Vec<u8>, Place)>, PackedError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let mut reader = RecordReader::open(file.path())?;
    let mut found = Vec::new();
    let mut payload = Vec::new();
    while let Some(place) = reader.read_head(head, bytes.len() as u64, &mut payload)? {
        found.push((payload.clone(), place));
    }
    Ok(found)
}

#[test]
fn a_file_that_ends_early_is_found_without_reading_it() {
    let two = records(&[&[1; 100_000], &[2; 100_000]]);
    assert_eq!(heads(&two, 4).unwrap()[1].0, [2; 4]);
    assert!(matches!(
        heads(&two[..two.len() - 1], 4),
        Err(PackedError::Truncated {
            at: At {
                record: 1,
                offset: 100_008,
                ..
            }
        })
    ));
    let missing = RecordReader::open(Path::new("/nowhere/x.rec"));
    assert_eq!(
        missing.err().unwrap().to_string(),
        "cannot read /nowhere/x.rec: No such file or directory (os error 2); check that the file exists and its permissions"
    );
}

/// Payloads with many magic numbers in them.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(MAGIC.to_le_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6)
    ];
    prop::collection::vec(word, 0..8).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read(payloads in prop::collection::vec(payload(), 0..6)) {
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let bytes = records(&slices);
        let found = read_all(&bytes).unwrap();
        let read: Vec<&[u8]> = found.iter().map(|(payload, _)| payload.as_slice()).collect();
        prop_assert_eq!(&read, &slices);
        for (payload, place) in &found {
            if let Some(start) = place.payload {
                let there = &bytes[start as usize..][..place.bytes as usize];
                prop_assert_eq!(there, payload.as_slice());
            }
        }
        let places = |found: &[(Vec<u8>, Place)]| -> Vec<(u64, Option<u64>, u64)> {
            found.iter().map(|(_, p)| (p.at.offset, p.payload, p.bytes)).collect()
        };
        prop_assert_eq!(places(&heads(&bytes, 3).unwrap()), places(&found));
    }

    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), begin in any::<bool>(), length in 0..300_u32) {
        if begin && bytes.len() >= 8 {
            bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
            bytes[4..8].copy_from_slice(&length.to_le_bytes());
        }
        let _ = read_all(&bytes);
        let _ = heads(&bytes, 16);
    }
}
