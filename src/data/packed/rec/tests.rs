//! Folders of RecordIO files.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::data::packed::label::Label;
use crate::data::packed::recordio::MAGIC;
use crate::data::packed::test_records::{im2rec_record, png, records};
use crate::data::{DecodeLimits, Sample};

fn read(files: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, Result<LabelledImages, PackedError>) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    for (name, bytes) in files {
        fs::write(data.join(name), bytes).unwrap();
    }
    let images = read_rec(&data, &folder.path().join("spool"), &|| false);
    (folder, images.map(|found| found.unwrap()))
}

/// The message with the folder's name left out.
fn message(files: &[(&str, Vec<u8>)]) -> String {
    let (folder, result) = read(files);
    let data = folder.path().join("data").display().to_string();
    result.unwrap_err().to_string().replace(&data, "DATA")
}

fn red(image: &Labelled) -> u8 {
    let sample = Sample {
        path: image.path.clone(),
        class: 0,
        part: image.part.clone(),
    };
    sample
        .decode(&DecodeLimits::default())
        .unwrap()
        .get_pixel(0, 0)[0]
}

#[test]
fn records_of_all_files_in_natural_order() {
    let one = |label: f32, shade| im2rec_record(0, &[label], &png(shade));
    let (folder, images) = read(&[
        ("10.rec", records(&[&one(2.0, 30)])),
        (
            "9.REC",
            records(&[&one(0.0, 10), &im2rec_record(1, &[1.0], &png(20))]),
        ),
        ("9.idx", b"0\t0\n".to_vec()),
        (".hidden.rec", b"no records".to_vec()),
    ]);
    let images = images.unwrap();
    assert_eq!(images.root, folder.path().join("data"));
    let found: Vec<_> = images
        .images
        .iter()
        .map(|i| {
            (
                i.path.strip_prefix(&images.root).unwrap().to_str().unwrap(),
                i.label.clone(),
                red(i),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("9.REC/00000000", Label::Index(0), 10),
            ("9.REC/00000001", Label::Index(1), 20),
            ("10.rec/00000000", Label::Index(2), 30),
        ]
    );
    assert!(!folder.path().join("spool").exists());
}

#[test]
fn an_image_that_was_cut_is_joined_in_the_spool() {
    let mut image = png(40);
    image.resize(image.len().next_multiple_of(4), 0);
    image.extend(MAGIC.to_le_bytes());
    let (folder, images) = read(&[("a.rec", records(&[&im2rec_record(0, &[1.0], &image)]))]);
    let images = images.unwrap();
    let part = images.images[0].part.clone().unwrap();
    assert_eq!(&*part.file, folder.path().join("spool"));
    assert_eq!(fs::read(&part.file).unwrap(), image);
    assert_eq!(red(&images.images[0]), 40);
}

#[test]
fn images_and_labels_in_turn_work_in_files_too() {
    let bytes = records(&[&png(1), b"dog", &png(2), b"\"cat\""]);
    let images = read(&[("a.rec", bytes)]).1.unwrap();
    let labels: Vec<_> = images.images.iter().map(|i| i.label.clone()).collect();
    assert_eq!(
        labels,
        [Label::Name("dog".into()), Label::Name("cat".into())]
    );
    assert!(images.images[1].path.ends_with("a.rec/00000002"));
}

#[test]
fn what_is_not_an_image_with_one_label_is_refused() {
    let image = png(1);
    let of = |payload: &[u8]| message(&[("a.rec", records(&[payload]))]);
    assert_eq!(
        of(&im2rec_record(0, &[2.5], &image)),
        "record 0 (at byte 0) of DATA/a.rec has the label 2.5, and a label must be a whole number from 0 on; number the \
         classes 0, 1, 2 and pack the data again"
    );
    assert!(of(&im2rec_record(0, &[f32::NAN], &image)).contains("the label NaN"));
    assert_eq!(
        of(&im2rec_record(3, &[1.0, 2.0, 3.0], &image)),
        "record 0 (at byte 0) of DATA/a.rec has 3 labels, and an image must have one; pack the data with one label per image"
    );
    assert_eq!(
        of(&im2rec_record(0, &[1.0], b"not an image")),
        "record 0 (at byte 0) of DATA/a.rec is neither an image (JPEG, PNG, WebP, GIF, BMP, TIFF), nor an im2rec record with \
         one, nor a label's text; leave it out or pack the data again"
    );
    assert!(
        of(&image).starts_with("record 0 (at byte 0) of DATA/a.rec is an image without a label")
    );
    assert_eq!(
        message(&[("a.rec", Vec::new())]),
        "DATA has no records; check the channel's S3 address or its manifest"
    );
    assert_eq!(
        message(&[("a.lst", Vec::new())]),
        "no .rec files in DATA; put them into the folder itself, not below it"
    );
}

#[test]
fn a_request_to_stop_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("a.rec"),
        records(&[&im2rec_record(0, &[1.0], &png(1))]),
    )
    .unwrap();
    let images = read_rec(folder.path(), &folder.path().join("spool"), &|| true).unwrap();
    assert_eq!(images, None);
}

proptest! {
    #[test]
    fn no_payload_panics(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4)) {
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let _ = read(&[("a.rec", records(&slices))]);
    }
}
