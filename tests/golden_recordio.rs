//! RecordIO files and an image list of MXNet's im2rec and the SageMaker Python SDK.
//! `scripts/make_golden_recordio.py` writes them and notes what is in them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sagemaker_burn::data::packed::{
    Label, LabelledImages, PIPE_WAIT, PackedError, PipeSource, RecordReader, RecordWrapper,
    read_lst, read_pipe, read_rec,
};
use sagemaker_burn::data::{DecodeLimits, ImageFolder};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

fn golden(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recordio");
    root.join(path)
}

fn expected<T: DeserializeOwned>(key: &str) -> T {
    let json = std::fs::read(golden("expected.json")).unwrap();
    let mut all: HashMap<String, serde_json::Value> = serde_json::from_slice(&json).unwrap();
    serde_json::from_value(all.remove(key).unwrap()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The label and the sha256 of each image.
fn found(images: &LabelledImages) -> Vec<(Label, String)> {
    let mut found = Vec::new();
    for image in &images.images {
        let part = image.part.as_ref().unwrap();
        let file = std::fs::read(&part.file).unwrap();
        let bytes = &file[part.offset as usize..][..part.bytes as usize];
        found.push((image.label.clone(), hex(&Sha256::digest(bytes))));
    }
    found
}

fn read_folder(name: &str, spool: &Path) -> Result<LabelledImages, PackedError> {
    read_rec(&golden(name), spool, &|| false).map(Option::unwrap)
}

fn read_stream(path: &Path, spool: &Path) -> Result<LabelledImages, PackedError> {
    let source = PipeSource {
        fifo: path,
        spool,
        wrapper: RecordWrapper::RecordIo,
        wait: PIPE_WAIT,
    };
    read_pipe(&source, &|| false, &mut |_| {}).map(Option::unwrap)
}

fn all_decode(folder: &ImageFolder) {
    for sample in &folder.samples {
        let picture = sample.decode(&DecodeLimits::default()).unwrap();
        assert_eq!(picture.dimensions(), (8, 6), "{}", sample.path.display());
    }
}

#[test]
fn payloads_of_the_mxnet_writer() {
    let mut reader = RecordReader::open(&golden("parts/parts.rec")).unwrap();
    let mut payloads = Vec::new();
    let mut payload = Vec::new();
    while reader.read_record(&mut payload).unwrap().is_some() {
        payloads.push(hex(&payload));
    }
    assert_eq!(payloads, expected::<Vec<String>>("parts"));
}

#[test]
fn record_files_of_im2rec() {
    let temporary = tempfile::tempdir().unwrap();
    let spool = temporary.path().join("spool");
    for key in ["im2rec", "label_list", "cut_image"] {
        let images = read_folder(key, &spool).unwrap();
        let expected: Vec<(usize, String)> = expected(key);
        let expected: Vec<(Label, String)> = expected
            .into_iter()
            .map(|(label, sha256)| (Label::Index(label), sha256))
            .collect();
        assert_eq!(found(&images), expected, "{key}");
        assert_eq!(spool.exists(), key == "cut_image");
        let classes = images.classes(None).unwrap();
        all_decode(&images.into_folder(&classes).unwrap());
    }
    let error = read_folder("two_labels", &spool).unwrap_err();
    assert!(
        matches!(error, PackedError::MultiLabel { labels: 2, .. }),
        "{error}"
    );
}

#[test]
fn streams_of_the_sagemaker_sdk() {
    let temporary = tempfile::tempdir().unwrap();
    let spool = temporary.path().join("spool");
    let images = read_stream(&golden("augmented.recordio"), &spool).unwrap();
    let mut expected: Vec<(Label, String)> = expected::<Vec<(String, String)>>("augmented")
        .into_iter()
        .map(|(label, sha256)| (Label::Name(label), sha256))
        .collect();
    expected.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(found(&images), expected);
    for (image, (_, sha256)) in images.images.iter().zip(&expected) {
        assert_eq!(image.path, temporary.path().join(&sha256[..16]));
    }
    let classes = images.classes(None).unwrap();
    assert_eq!(classes, ["bird", "cat", "dog"]);
    let folder = images.into_folder(&classes).unwrap();
    assert_eq!(folder.class_counts(), [2, 2, 2]);
    all_decode(&folder);

    let error = read_stream(&golden("protobuf.recordio"), &spool).unwrap_err();
    assert!(
        matches!(error, PackedError::UnknownPayload { .. }),
        "{error}"
    );
}

/// A `.rec` file that the platform sends as it is gives the images that its folder gives.
#[test]
fn a_record_file_through_a_pipe() {
    let temporary = tempfile::tempdir().unwrap();
    let spool = temporary.path().join("spool");
    let streamed = read_stream(&golden("im2rec/animals.rec"), &spool).unwrap();
    let listed = read_folder("im2rec", &temporary.path().join("unused")).unwrap();
    let sorted = |images| {
        let mut found = found(images);
        found.sort();
        found
    };
    assert_eq!(sorted(&streamed), sorted(&listed));
}

#[test]
fn an_image_list_of_im2rec() {
    let images = read_lst(&golden("im2rec/animals.lst"), &golden("images")).unwrap();
    let classes = images.classes(None).unwrap();
    assert_eq!(classes, ["bird", "cat", "dog"]);
    let listed = images.into_folder(&classes).unwrap();
    assert_eq!(listed, ImageFolder::open(golden("images")).unwrap());
    all_decode(&listed);
}
