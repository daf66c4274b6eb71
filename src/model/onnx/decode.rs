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
    let external;
    let raw = if is_external {
        external = external_bytes(tensor, folder, count, encoding.bytes()).map_err(|why| {
            OnnxErrorKind::ExternalData {
                name: quote(&tensor.name),
                why,
            }
        })?;
        &external[..]
    } else {
        &tensor.raw_data[..]
    };
    let (values, spare_bytes) = match raw.is_empty() {
        true => (encoding.typed(tensor), 0),
        false => (encoding.decode(raw), raw.len() % encoding.bytes()),
    };
    match (values.len(), spare_bytes) {
        (found, 0) if found == count => Ok(values),
        (found, 0) => Err(bad(format!(
            "its shape needs {count} values, but {found} are there"
        ))),
        _ => Err(bad("it ends in the middle of a value".to_owned())),
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

    /// The whole values among little-endian bytes.
    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::Float32 => convert(bytes, f32::from_le_bytes),
            Self::Float64 => convert(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::Float16 => convert(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bfloat16 => convert(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        }
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
fn external_bytes(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(data_type: i32, raw: Vec<u8>) -> TensorProto {
        TensorProto {
            name: "w".to_owned(),
            dims: vec![2],
            data_type,
            raw_data: raw.into(),
            ..Default::default()
        }
    }

    fn decoded(tensor: &TensorProto) -> Vec<f32> {
        floats(tensor, Path::new(".")).unwrap()
    }

    #[test]
    fn decodes_every_float_type_raw_and_typed() {
        let bytes = |v: [f32; 2]| v.map(f32::to_le_bytes).concat();
        assert_eq!(decoded(&tensor(1, bytes([1.5, -2.0]))), [1.5, -2.0]);
        let double = [1.5f64, -2.0].map(f64::to_le_bytes).concat();
        assert_eq!(decoded(&tensor(11, double)), [1.5, -2.0]);
        // 1.5 and -2 in float16 and in bfloat16.
        let (half, brain) = ([0x3e00u16, 0xc000], [0x3fc0u16, 0xc000]);
        for (data_type, bits) in [(10, half), (16, brain)] {
            assert_eq!(
                decoded(&tensor(data_type, bits.map(u16::to_le_bytes).concat())),
                [1.5, -2.0]
            );
            let mut typed = tensor(data_type, vec![]);
            typed.int32_data = bits.map(i32::from).to_vec();
            assert_eq!(decoded(&typed), [1.5, -2.0]);
        }
    }

    #[test]
    fn counts_must_match_the_shape() {
        for raw in [vec![0; 7], vec![0; 9], vec![0; 12], vec![]] {
            assert!(floats(&tensor(1, raw), Path::new(".")).is_err());
        }
        let mut negative = tensor(1, vec![0; 8]);
        for dims in [vec![-2], vec![i64::MAX, i64::MAX], vec![3]] {
            negative.dims = dims;
            assert!(floats(&negative, Path::new(".")).is_err());
        }
    }
}
