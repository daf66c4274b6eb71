//! Features on disk, so that an interrupted run does not compute them twice.
//!
//! Input: a [`FeatureTable`], whole or as far as it got, and a key that tells what it was computed from. Output: a safetensors
//! file: `features`, `[rows, width]`, and `samples`, the position of each row's image in its folder as 64-bit little-endian
//! numbers.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use sha2::{Digest, Sha256};

use super::features::FeatureTable;
use crate::data::{ImageFolder, Preprocess, Skipped, fingerprint};
use crate::model::{ResNet, WeightsFileError, read_safetensors, state_dict, write_safetensors};

const FORMAT: &str = "sagemaker-burn features 2";

/// Tells one backbone from another, and what it computes in. The last layer is no part of it, and the only one that changes in a
/// frozen run.
pub fn backbone_fingerprint(model: &ResNet) -> String {
    let mut hasher = Sha256::new();
    if model.image_dtype() != DType::F32 {
        hasher.update(format!("{:?}", model.image_dtype()));
    }
    let state = state_dict(model);
    for (name, tensor) in state.iter().filter(|(name, _)| !name.starts_with("fc.")) {
        hasher.update(name.as_bytes());
        hasher.update(tensor.as_bytes());
    }
    crate::files::hex(&hasher.finalize())
}

/// Tells features from all others: by the network, the images, and how they are prepared.
pub fn features_key(backbone: &str, folder: &ImageFolder, preprocess: &Preprocess) -> String {
    let mut hasher = Sha256::new();
    hasher.update(backbone);
    hasher.update(serde_json::json!(preprocess).to_string());
    hasher.update(fingerprint(folder));
    crate::files::hex(&hasher.finalize()[..16])
}

/// Tells whether files of the same names still hold the same images, by size and time of change: features that are kept for good
/// may meet a folder that was edited.
pub fn contents_stamp(folder: &ImageFolder) -> String {
    let mut hasher = Sha256::new();
    let mut last = None;
    for sample in &folder.samples {
        let file = sample.container();
        if last == Some(file) {
            continue;
        }
        last = Some(file);
        let metadata = std::fs::metadata(file).ok();
        let modified = metadata.as_ref().and_then(|m| m.modified().ok());
        let since = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        hasher.update(metadata.map_or(0, |m| m.len()).to_le_bytes());
        hasher.update(since.map_or(0, |since| since.as_nanos()).to_le_bytes());
    }
    crate::files::hex(&hasher.finalize()[..8])
}

/// Writes the table, atomically.
///
/// # Errors
/// The file cannot be written.
pub fn write_features(
    path: &Path,
    table: &FeatureTable,
    key: &str,
) -> Result<(), WeightsFileError> {
    let samples = table.samples();
    let bytes: Vec<u8> = samples
        .iter()
        .flat_map(|sample| (*sample as u64).to_le_bytes())
        .collect();
    let length = bytes.len();
    let shape = [samples.len(), table.width];
    let tensors = [
        (
            "features".to_string(),
            TensorData::new(table.values.clone(), shape),
        ),
        ("samples".to_string(), TensorData::new(bytes, [length])),
    ];
    let metadata = HashMap::from([
        ("format".to_string(), FORMAT.to_string()),
        ("key".to_string(), key.to_string()),
        ("batches".to_string(), table.batches.to_string()),
        (
            "skipped".to_string(),
            serde_json::json!(table.skipped).to_string(),
        ),
    ]);
    write_safetensors(path, &tensors, &metadata)
}

/// Reads a table of `folder`; an empty one where there is none, where it is damaged or was computed from something else: it is
/// only ever a saving.
pub fn read_features(path: &Path, folder: &ImageFolder, key: &str) -> FeatureTable {
    let table = read(path, folder, key);
    table.unwrap_or_else(|| FeatureTable::empty(folder.len()))
}

fn read(path: &Path, folder: &ImageFolder, key: &str) -> Option<FeatureTable> {
    if !path.is_file() {
        return None;
    }
    let (tensors, metadata) = read_safetensors(path)
        .map_err(|error| tracing::warn!("{error}; the features are computed again"))
        .ok()?;
    let text = |name: &str| metadata.get(name).map(String::as_str);
    if text("format") != Some(FORMAT) || text("key") != Some(key) {
        return None;
    }
    let tensor = |name: &str| {
        tensors
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, data)| data)
    };
    let (features, samples) = (tensor("features")?, tensor("samples")?);
    let samples = samples.as_bytes().chunks_exact(8);
    let samples = samples.map(|bytes| bytes.try_into().map(u64::from_le_bytes));
    let samples: Vec<usize> = samples
        .map(|s| s.map(|s| s as usize))
        .collect::<Result<_, _>>()
        .ok()?;
    let [rows, width] = features.shape().to_vec().try_into().ok()?;
    let mut table = FeatureTable::empty(folder.len());
    for (row, sample) in samples.iter().enumerate() {
        *table.row_of.get_mut(*sample)? = Some(row);
        table.targets.push(folder.samples[*sample].class);
    }
    table.values = features.clone().try_to_vec::<f32>().ok()?;
    table.width = width;
    table.batches = text("batches")?.parse().ok()?;
    table.skipped = serde_json::from_str::<Vec<Skipped>>(text("skipped")?).ok()?;
    (rows == samples.len() && table.values.len() == rows * width).then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Sample;

    fn folder() -> ImageFolder {
        ImageFolder {
            root: "/data".into(),
            classes: vec!["a".into(), "b".into()],
            samples: (0..4)
                .map(|n| Sample::of_file(format!("/data/{n}").into(), n / 2))
                .collect(),
        }
    }

    fn table() -> FeatureTable {
        FeatureTable {
            values: vec![0.0, 0.5, f32::MIN_POSITIVE, 1.5, -3.0, 3.5],
            width: 2,
            targets: vec![0, 1, 1],
            row_of: vec![None, Some(0), Some(1), Some(2)],
            batches: 2,
            skipped: vec![Skipped {
                path: "/data/0".into(),
                reason: "the file is empty".into(),
            }],
        }
    }

    #[test]
    fn the_round_trip_is_exact() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("features");
        write_features(&path, &table(), "key").unwrap();
        assert_eq!(read_features(&path, &folder(), "key"), table());
    }

    #[test]
    fn what_does_not_fit_is_computed_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("features");
        let empty = FeatureTable::empty(4);
        assert_eq!(read_features(&path, &folder(), "key"), empty);
        write_features(&path, &table(), "key").unwrap();
        assert_eq!(read_features(&path, &folder(), "other"), empty);
        let mut fewer = folder();
        fewer.samples.truncate(2);
        assert_eq!(read_features(&path, &fewer, "key"), FeatureTable::empty(2));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(read_features(&path, &folder(), "key"), empty);
    }

    #[test]
    fn the_key_follows_the_backbone_and_its_number_format_but_not_the_head() {
        use crate::model::{Architecture, ResNetConfig};
        let device = burn::tensor::Device::flex();
        let model = |seed| {
            ResNet::new(&ResNetConfig::new(Architecture::Resnet18, 2), seed, &device).unwrap()
        };
        let preprocess = Preprocess::imagenet(64);
        let key =
            |model: &ResNet| features_key(&backbone_fingerprint(model), &folder(), &preprocess);
        let first = model(1);
        let other_head = first.clone().with_new_head(2, 9).unwrap();
        assert_eq!(key(&first), key(&other_head));
        assert_ne!(key(&first), key(&model(2)));
        assert_ne!(key(&first), key(&first.clone().in_bfloat16()));
    }

    #[test]
    fn an_edited_photo_changes_the_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("photo.jpg");
        std::fs::write(&path, "one").unwrap();
        let folder = ImageFolder {
            root: dir.path().into(),
            classes: vec!["a".into()],
            samples: vec![Sample::of_file(path.clone(), 0)],
        };
        let before = contents_stamp(&folder);
        assert_eq!(before, contents_stamp(&folder));
        std::fs::write(&path, "another").unwrap();
        assert_ne!(before, contents_stamp(&folder));
    }
}
