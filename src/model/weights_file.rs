//! Weights on disk, in the safetensors format.
//!
//! Input and output: a file, a [`StateDict`] and a map of texts that travels in the file's header.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    path::{Path, PathBuf},
};

use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value, json};

use super::state_dict::StateDict;
use crate::files;

/// A weights file that can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsFileError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: not a whole safetensors file ({reason}); copy or train it again", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("{}: tensor `{name}` is of type {found}, but only float types can be read", path.display())]
    Type {
        path: PathBuf,
        name: String,
        found: String,
    },
    #[error("{}: tensor `{name}` is of type {found}, but only F32 and U8 are written", path.display())]
    Unwritable {
        path: PathBuf,
        name: String,
        found: String,
    },
}

/// Writes tensors of float32 (weights) or bytes (other records) under a temporary name, syncs, and renames the file to `path`.
///
/// The same input gives the same bytes: the header is put together here because the safetensors
/// crate writes the metadata in the random order of a hash map.
///
/// # Errors
/// Those of the file system, and a tensor that is neither float32 nor bytes.
pub fn write_safetensors(
    path: &Path,
    state: &[(String, TensorData)],
    metadata: &HashMap<String, String>,
) -> Result<(), WeightsFileError> {
    let mut header = Map::new();
    header.insert(
        "__metadata__".to_owned(),
        json!(BTreeMap::from_iter(metadata)),
    );
    let mut offset = 0;
    for (name, data) in state {
        let dtype = match data.dtype() {
            DType::F32 => "F32",
            DType::U8 => "U8",
            other => {
                return Err(WeightsFileError::Unwritable {
                    path: path.to_owned(),
                    name: name.clone(),
                    found: format!("{other:?}"),
                });
            }
        };
        let end = offset + data.as_bytes().len();
        let shape = data.shape().to_vec();
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]});
        header.insert(name.clone(), entry);
        offset = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // The format wants tensors aligned to eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    files::write(path, |writer| {
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(&header)?;
        for (_, data) in state {
            writer.write_all(data.as_bytes())?;
        }
        Ok(())
    })
    .map_err(|source| WeightsFileError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Reads a file of float tensors: its tensors, ordered by their place in the file, and its metadata.
///
/// # Errors
/// Those of the file system, a file that is cut off or inconsistent, and integer tensors.
pub fn read_safetensors(
    path: &Path,
) -> Result<(StateDict, HashMap<String, String>), WeightsFileError> {
    let io = |source| WeightsFileError::Io {
        path: path.to_owned(),
        source,
    };
    let malformed = |reason: String| WeightsFileError::Malformed {
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(io)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| malformed(e.to_string()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| malformed(e.to_string()))?;
    let state = header
        .offset_keys()
        .into_iter()
        .map(|name| {
            let view = tensors
                .tensor(&name)
                .map_err(|e| malformed(e.to_string()))?;
            match tensor_data(&view) {
                Ok(Some(data)) => Ok((name, data)),
                Ok(None) => Err(WeightsFileError::Type {
                    path: path.to_owned(),
                    name,
                    found: format!("{:?}", view.dtype()),
                }),
                Err(reason) => Err(malformed(format!("tensor `{name}`: {reason}"))),
            }
        })
        .collect::<Result<_, _>>()?;
    Ok((state, header.metadata().clone().unwrap_or_default()))
}

fn tensor_data(view: &TensorView) -> Result<Option<TensorData>, String> {
    let dtype = match view.dtype() {
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        // Bytes that are not weights, such as a checkpoint's optimizer record.
        Dtype::U8 => DType::U8,
        // PyTorch's counter of batches, the one integer in its files; never used.
        Dtype::I64 if view.shape().is_empty() => DType::I64,
        _ => return Ok(None),
    };
    TensorData::try_from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype)
        .map(Some)
        .map_err(|e| format!("{e:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> StateDict {
        vec![
            (
                "b.weight".to_owned(),
                TensorData::new(vec![1.5f32, -2.0], [1, 2]),
            ),
            (
                "a.bias".to_owned(),
                TensorData::new(vec![f32::MIN_POSITIVE], [1]),
            ),
        ]
    }

    fn metadata() -> HashMap<String, String> {
        let texts = [("classes", r#"["ant"]"#), ("b", "2"), ("c", "ä\n")];
        texts.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    fn written() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        write_safetensors(&path, &state(), &metadata()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        (folder, path, bytes)
    }

    #[test]
    fn the_round_trip_is_exact() {
        let (_folder, path, _) = written();
        assert_eq!(read_safetensors(&path).unwrap(), (state(), metadata()));
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let bytes = written().2;
        assert!((0..8).all(|_| written().2 == bytes));
    }

    #[test]
    fn every_truncation_is_a_named_error() {
        let (_folder, path, bytes) = written();
        for end in 0..bytes.len() {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, &bytes[..end]).unwrap();
            let error = read_safetensors(&path).unwrap_err();
            assert!(matches!(error, WeightsFileError::Malformed { .. }), "{end}");
            assert!(error.to_string().contains("weights.safetensors"));
        }
    }

    #[test]
    fn hostile_headers_are_refused() {
        let (_folder, path, _) = written();
        let huge = r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#;
        let outside = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let backwards = r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[8,0]}}"#;
        for header in [huge, outside, backwards, "{", "[]"] {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            std::fs::write(&path, bytes).unwrap();
            let error = read_safetensors(&path).unwrap_err();
            assert!(
                matches!(error, WeightsFileError::Malformed { .. }),
                "{error}"
            );
        }
        std::fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
        let error = read_safetensors(&path).unwrap_err();
        assert!(
            matches!(error, WeightsFileError::Malformed { .. }),
            "{error}"
        );
    }

    #[test]
    fn integers_are_not_weights() {
        let (_folder, path, _) = written();
        let integers = TensorData::new(vec![1i32], [1]);
        let error = write_safetensors(&path, &[("a".to_owned(), integers)], &HashMap::new());
        assert!(matches!(error, Err(WeightsFileError::Unwritable { .. })));
        let header = r#"{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 4]);
        std::fs::write(&path, bytes).unwrap();
        let error = read_safetensors(&path).unwrap_err();
        assert!(matches!(error, WeightsFileError::Type { .. }), "{error}");
    }
}
