//! Golden vectors of `scripts/make_golden_onnx.py`, shared by the tests of the network.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

/// A file of `tests/golden/onnx`.
pub fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.join("tests/golden/onnx").join(name)
}

/// What PyTorch and onnxruntime computed.
pub fn golden() -> Value {
    let text = std::fs::read_to_string(path("golden.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The input that both sides compute from its shape.
pub fn images(shape: [usize; 4], device: &Device) -> Tensor<4> {
    let count: usize = shape.iter().product();
    let value = |i: u64| ((i * 2_654_435_761 % (1 << 32)) >> 24) as f32 / 127.5 - 1.0;
    let values: Vec<f32> = (0..count as u64).map(value).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

pub fn shape(value: &Value) -> [usize; 4] {
    serde_json::from_value(value.clone()).unwrap()
}

/// The largest difference from a golden `[N, classes]`.
pub fn difference(logits: Tensor<2>, golden: &Value) -> f32 {
    let golden: Vec<Vec<f32>> = serde_json::from_value(golden.clone()).unwrap();
    assert_eq!(logits.dims(), [golden.len(), golden[0].len()]);
    let logits = logits.into_data().try_into_vec::<f32>().unwrap();
    largest_difference(&logits, &golden.concat())
}

/// The largest of all differences; what is no number is larger than all numbers.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.max_by(f32::total_cmp).unwrap_or(0.0)
}
