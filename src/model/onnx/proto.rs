//! Small pieces of an ONNX file: attributes, tensors, and descriptions of inputs and outputs.
//!
//! Input: plain numbers and names. Output: messages of the ONNX format.

use onnx_ir::{AttributeProto, AttributeType, TensorProto, ValueInfoProto};

/// `TensorProto.DataType.FLOAT`
const FLOAT: i32 = 1;

/// Weights, stored as little-endian bytes.
pub(super) fn tensor(name: &str, shape: &[usize], values: &[f32]) -> TensorProto {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto {
        name: name.to_owned(),
        dims: shape.iter().map(|d| *d as i64).collect(),
        data_type: FLOAT,
        raw_data: bytes.into(),
        ..Default::default()
    }
}

/// One dimension of an input or output.
#[derive(Clone, Copy)]
pub(super) enum Dim {
    Fixed(usize),
    Open(&'static str),
}

/// A float input or output.
pub(super) fn value(name: &str, dims: &[Dim]) -> ValueInfoProto {
    let mut info = ValueInfoProto {
        name: name.to_owned(),
        ..Default::default()
    };
    let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
    tensor.elem_type = FLOAT;
    let shape = tensor.shape.mut_or_insert_default();
    shape.dim.resize_with(dims.len(), Default::default);
    for (entry, dim) in shape.dim.iter_mut().zip(dims) {
        match dim {
            Dim::Fixed(n) => entry.set_dim_value(*n as i64),
            Dim::Open(name) => entry.set_dim_param((*name).to_owned()),
        }
    }
    info
}

/// A whole number as an attribute.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        type_: AttributeType::INT.into(),
        i: value,
        ..Default::default()
    }
}

/// A list of whole numbers as an attribute.
pub(super) fn ints((name, values): (&str, Vec<usize>)) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        type_: AttributeType::INTS.into(),
        ints: values.into_iter().map(|v| v as i64).collect(),
        ..Default::default()
    }
}

/// A number as an attribute.
pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        type_: AttributeType::FLOAT.into(),
        f: value,
        ..Default::default()
    }
}
