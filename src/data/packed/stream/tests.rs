//! Streams of records.

use proptest::prelude::*;

use super::*;
use crate::data::packed::test_records::{im2rec_record, png, record, records};
use crate::data::{DecodeLimits, Sample};

fn read(bytes: &[u8], wrapper: RecordWrapper) -> Result<LabelledImages, PackedError> {
    let folder = tempfile::tempdir().unwrap();
    let mut images = read_stream(
        bytes,
        Path::new("train_0"),
        &folder.path().join("spool"),
        wrapper,
        &mut |_| {},
    )?;
    // The folder is gone after this; what the tests compare must not depend on its name.
    for image in &mut images.images {
        image.path = image.path.strip_prefix(&images.root).unwrap().to_path_buf();
    }
    Ok(images)
}

fn message(bytes: &[u8]) -> String {
    read(bytes, RecordWrapper::RecordIo)
        .unwrap_err()
        .to_string()
}

fn summary(images: &LabelledImages) -> Vec<(String, Label)> {
    let one = |i: &Labelled| (i.path.to_str().unwrap().to_string(), i.label.clone());
    images.images.iter().map(one).collect()
}

fn digits(image: &[u8]) -> String {
    hex(&Sha256::digest(image)[..8])
}

#[test]
fn images_are_named_and_ordered_by_content() {
    let (a, b) = (png(1), png(2));
    let there = records(&[&a, b"dog", &b, b"cat", &a, b"cat"]);
    let back = records(&[&a, b"cat", &b, b"cat", &a, b"dog"]);
    let images = read(&there, RecordWrapper::RecordIo).unwrap();
    let mut expected = vec![
        (digits(&a), Label::Name("cat".into())),
        (digits(&a) + "-2", Label::Name("dog".into())),
        (digits(&b), Label::Name("cat".into())),
    ];
    expected.sort();
    let mut found = summary(&images);
    assert_eq!(
        found,
        summary(&read(&back, RecordWrapper::RecordIo).unwrap())
    );
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn images_can_be_read_back_and_progress_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (png(1), png(2));
    let bytes = records(&[&im2rec_record(0, &[1.0], &a), &im2rec_record(1, &[0.0], &b)]);
    let mut told = Vec::new();
    let images = read_stream(
        &*bytes,
        Path::new("train_0"),
        &folder.path().join("spool"),
        RecordWrapper::None,
        &mut |progress| told.push((progress.images, progress.bytes)),
    )
    .unwrap();
    assert_eq!(told, [(1, a.len() as u64), (2, (a.len() + b.len()) as u64)]);
    assert_eq!(images.root, folder.path());
    let folder = images.into_folder(&["x".into(), "y".into()]).unwrap();
    let reds = |s: &Sample| s.decode(&DecodeLimits::default()).unwrap().get_pixel(0, 0)[0];
    let reds: Vec<u8> = folder.samples.iter().map(reds).collect();
    assert_eq!(reds, [2, 1]);
}

#[test]
fn numbers_as_text_are_indices() {
    let bytes = records(&[&png(1), b"3", &png(2), b"\"0\"\n", &png(3), b"1.0"]);
    let mut labels: Vec<Label> = summary(&read(&bytes, RecordWrapper::RecordIo).unwrap())
        .into_iter()
        .map(|(_, label)| label)
        .collect();
    labels.sort();
    assert_eq!(labels, [Label::Index(0), Label::Index(1), Label::Index(3)]);
}

#[test]
fn records_in_the_wrong_order() {
    let image = png(1);
    assert_eq!(
        message(&records(&[b"dog", &image])),
        "record 0 (at byte 0) of train_0 is text (\"dog\") where an image must be; list exactly two attributes in \
         AttributeNames, the image's first: [\"source-ref\", \"class\"]"
    );
    // A third attribute comes out at the third record.
    assert!(
        message(&records(&[&image, b"0", b"{\"class-name\": \"dog\"}"]))
            .starts_with("record 2 (at byte ")
    );
    let plain = " of train_0 is an image without a label: file names, and with them the classes, do not come along in a \
                 stream of records; use an augmented manifest with the image's and the label's attribute in \
                 AttributeNames, or .rec files made by im2rec, or give class folders in File or FastFile mode";
    assert_eq!(
        message(&records(&[&image, &image])),
        format!("record 0 (at byte 0){plain}")
    );
    assert_eq!(
        message(&record(&image)),
        format!("record 0 (at byte 0){plain}")
    );
    let third = format!(
        "record 2 (at byte {})",
        2 * 8 + image.len().next_multiple_of(4) + 4
    );
    assert_eq!(
        message(&records(&[&image, b"dog", &image])),
        format!(
            "{third} of train_0 is an image, and the data ends before its label: an odd number of records; check the \
             manifest's last line"
        )
    );
    assert_eq!(
        message(&records(&[&image, b"dog", &image, &image])),
        format!(
            "{third} of train_0 is an image whose label does not follow it, though those of earlier images do; check that \
             every line of the manifest has the label's attribute"
        )
    );
}

#[test]
fn labels_that_say_nothing() {
    let image = png(1);
    let at = format!("record 1 (at byte {}) of train_0", record(&image).len());
    assert_eq!(
        message(&records(&[&image, b"\"\""])),
        format!("{at} is an empty label; give every image of the manifest a label")
    );
    assert_eq!(
        message(&records(&[&image, b"[0, 1]"])),
        format!(
            "{at} has the label \"[0, 1]\", a JSON list or object; name an attribute in AttributeNames that holds one class \
             name or number"
        )
    );
}

#[test]
fn streams_that_are_something_else() {
    assert_eq!(
        message(b""),
        "train_0 has no records; check the channel's S3 address or its manifest"
    );
    assert!(message(&png(1)).starts_with(
        "record 0 (at byte 0) of train_0 does not begin with the RecordIO magic number"
    ));
    assert_eq!(
        read(&png(1), RecordWrapper::None).unwrap_err().to_string(),
        "train_0 is not RecordIO; set the channel's RecordWrapperType to RecordIO (augmented manifest), or give .rec files \
         of im2rec"
    );
    assert_eq!(
        message(&record(b"\x0a\x23\xd7\xce\x04\0\0\0abcd")),
        "record 0 (at byte 0) of train_0 is a RecordIO file within a record; set the channel's RecordWrapperType to None, \
         for .rec files need no wrapping"
    );
}

proptest! {
    #[test]
    fn no_payloads_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6)) {
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let _ = read(&records(&slices), RecordWrapper::None);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, RecordWrapper::RecordIo);
    }
}
