//! Turns a tensor of the file into float32 values.
//!
//! Input: a [`TensorProto`], typed, raw or in a file beside the model. Output: exactly as many values
//! as its shape says. Memory is taken only for bytes that are there.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Component, Path},
};

use burn::tensor::{bf16, f16};
use onnx_ir::TensorProto;

use super::error::{OnnxErrorKind, quote};

/// Decodes float32, float64, float16 and bfloat16 weights.
///
/// `folder` is where files of external data may lie.
///
/// # Errors
/// `BadWeights` or `ExternalData` with the name of the tensor.
pub(super) fn floats(tensor: &TensorProto, folder: &Path) -> Result<Vec<f32>, OnnxErrorKind> {
    let bad = |why: String| OnnxErrorKind::BadWeights {
        name: quote(&tensor.name),
        why,
    };
    let encoding = Encoding::of(tensor).ok_or_else(|| {
        bad(format!(
            "data type {} is not a float type; quantized files can't be used",
            tensor.data_type
        ))
    })?;
    let count = tensor
        .dims
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(usize::try_from(*d).ok()?))
        .ok_or_else(|| bad("its shape is impossible".to_owned()))?;
    let is_external = tensor.data_location.value() == 1;
    let values = if is_external {
        let bytes = external(tensor, folder, count, encoding.bytes()).map_err(|why| {
            OnnxErrorKind::ExternalData {
                name: quote(&tensor.name),
                why,
            }
        })?;
        encoding.decode(&bytes)
    } else if tensor.raw_data.is_empty() {
        encoding.typed(tensor)
    } else {
        encoding.decode(&tensor.raw_data)
    };
    match values.len() == count {
        true => Ok(values),
        false => Err(bad(format!(
            "its shape needs {count} values, but {} are there",
            values.len()
        ))),
    }
}

#[derive(Clone, Copy)]
enum Encoding {
    Float32,
    Float64,
    Float16,
    Bfloat16,
}

impl Encoding {
    fn of(tensor: &TensorProto) -> Option<Self> {
        // The numbers are those of TensorProto.DataType.
        match tensor.data_type {
            1 => Some(Self::Float32),
            10 => Some(Self::Float16),
            11 => Some(Self::Float64),
            16 => Some(Self::Bfloat16),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Float64 => 8,
            Self::Float32 => 4,
            Self::Float16 | Self::Bfloat16 => 2,
        }
    }

    /// Little-endian bytes; a rest that is no whole value counts as a further value, so that the
    /// caller's count fails.
    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let rest = usize::from(bytes.len() % self.bytes() != 0);
        let values: Vec<f32> = match self {
            Self::Float32 => convert(bytes, f32::from_le_bytes),
            Self::Float64 => convert(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::Float16 => convert(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bfloat16 => convert(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        };
        values.into_iter().chain(vec![0.0; rest]).collect()
    }

    /// The typed fields; half precision lies in the low bits of int32.
    fn typed(self, tensor: &TensorProto) -> Vec<f32> {
        let bits = tensor.int32_data.iter().map(|v| *v as u16);
        match self {
            Self::Float32 => tensor.float_data.clone(),
            Self::Float64 => tensor.double_data.iter().map(|v| *v as f32).collect(),
            Self::Float16 => bits.map(|b| f16::from_bits(b).to_f32()).collect(),
            Self::Bfloat16 => bits.map(|b| bf16::from_bits(b).to_f32()).collect(),
        }
    }
}

fn convert<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|c| value(*c)).collect()
}

/// Reads the bytes of a tensor from a file that must lie in the folder of the model.
fn external(
    tensor: &TensorProto,
    folder: &Path,
    count: usize,
    value_bytes: usize,
) -> Result<Vec<u8>, String> {
    let entry = |key: &str| {
        let mut entries = tensor.external_data.iter();
        entries.find(|e| e.key == key).map(|e| e.value.as_str())
    };
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(n) => Ok(Some(n)),
            Err(_) => Err(format!("its {key} `{}` is not a number", quote(text))),
        },
    };
    let location = entry("location").ok_or("it has no location")?;
    let path = inside(folder, location)?;
    let needed = count
        .checked_mul(value_bytes)
        .and_then(|n| u64::try_from(n).ok())
        .ok_or("its shape is impossible")?;
    let offset = number("offset")?.unwrap_or(0);
    if let Some(length) = number("length")?.filter(|l| *l != needed) {
        return Err(format!(
            "it has {length} bytes, but its shape needs {needed}"
        ));
    }
    let describe = |e: std::io::Error| format!("`{}`: {e}", quote(location));
    let mut file = File::open(path).map_err(describe)?;
    let size = file.metadata().map_err(describe)?.len();
    if offset.checked_add(needed).is_none_or(|end| end > size) {
        return Err(format!(
            "`{}` ends before its last byte; was it cut off?",
            quote(location)
        ));
    }
    file.seek(SeekFrom::Start(offset)).map_err(describe)?;
    let mut bytes = Vec::new();
    file.take(needed)
        .read_to_end(&mut bytes)
        .map_err(describe)?;
    Ok(bytes)
}

/// The path of an external file, if it is a regular file in the folder or below it.
fn inside(folder: &Path, location: &str) -> Result<std::path::PathBuf, String> {
    let location_path = Path::new(location);
    let is_plain = |c: Component| matches!(c, Component::Normal(_) | Component::CurDir);
    let outside = || format!("`{}` lies outside the folder of the model", quote(location));
    if location.is_empty() || !location_path.components().all(is_plain) {
        return Err(outside());
    }
    let describe = |e: std::io::Error| format!("`{}`: {e}", quote(location));
    // Resolved, so that a symbolic link can't lead out of the folder.
    let folder = folder.canonicalize().map_err(describe)?;
    let path = folder
        .join(location_path)
        .canonicalize()
        .map_err(describe)?;
    if !path.starts_with(&folder) {
        return Err(outside());
    }
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("`{}` is not a regular file", quote(location))),
    }
}
