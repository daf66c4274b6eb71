//! The end of a network: classifier, flattening and global average pooling.
//!
//! Input: a [`Graph`]. Output: the [`Classifier`] and the name of the feature map that is pooled.

use onnx_ir::{NodeProto, TensorProto};

use super::{
    error::{OnnxErrorKind, quote},
    graph::{Graph, float, input, int, ints, label, unsupported},
};

/// `logits = alpha * features * weight + beta * bias`
pub(super) struct Classifier<'a> {
    pub node: &'a NodeProto,
    pub weight: &'a TensorProto,
    /// Whether the weight is `[classes, features]`, else `[features, classes]`.
    pub is_class_major: bool,
    pub bias: Option<&'a TensorProto>,
    pub alpha: f32,
    pub beta: f32,
}

/// The classifier, and the name of the pooled features in front of it.
pub(super) fn classifier<'a>(
    graph: &Graph<'a>,
) -> Result<(Classifier<'a>, &'a str), OnnxErrorKind> {
    let mut node = graph.produced(graph.output, "the classifier")?;
    if matches!(node.op_type.as_str(), "Softmax" | "LogSoftmax") {
        node = graph.produced(input(node, 0), "the classifier")?;
    }
    match node.op_type.as_str() {
        "Gemm" => gemm(graph, node),
        "MatMul" => matmul(graph, node, None),
        "Add" => {
            let (a, b) = (input(node, 0), input(node, 1));
            let (product, bias) = match (graph.constant(a)?, graph.constant(b)?) {
                (None, Some(bias)) => (a, bias),
                (Some(bias), None) => (b, bias),
                _ => return Err(unsupported(node, "a classifier adds one constant bias")),
            };
            let product = graph.expect(product, "MatMul", "the classifier")?;
            matmul(graph, product, Some(bias))
        }
        _ => Err(graph.not_a_resnet(graph.output, "the classifier (Gemm or MatMul)")),
    }
}

fn gemm<'a>(
    graph: &Graph<'a>,
    node: &'a NodeProto,
) -> Result<(Classifier<'a>, &'a str), OnnxErrorKind> {
    if int(node, "transA", 0) != 0 {
        return Err(unsupported(node, "transA must be 0"));
    }
    let bias = match input(node, 2) {
        "" => None,
        name => Some(graph.weights(node, name)?),
    };
    let classifier = Classifier {
        node,
        weight: graph.weights(node, input(node, 1))?,
        is_class_major: int(node, "transB", 0) != 0,
        bias,
        alpha: float(node, "alpha", 1.0),
        beta: float(node, "beta", 1.0),
    };
    Ok((classifier, input(node, 0)))
}

fn matmul<'a>(
    graph: &Graph<'a>,
    node: &'a NodeProto,
    bias: Option<&'a TensorProto>,
) -> Result<(Classifier<'a>, &'a str), OnnxErrorKind> {
    let classifier = Classifier {
        node,
        weight: graph.weights(node, input(node, 1))?,
        is_class_major: false,
        bias,
        alpha: 1.0,
        beta: 1.0,
    };
    Ok((classifier, input(node, 0)))
}

/// From the input of the classifier to the feature map: past the flattening and the pooling.
pub(super) fn feature_map<'a>(
    graph: &Graph<'a>,
    pooled: &'a str,
) -> Result<&'a str, OnnxErrorKind> {
    let mut node = graph.produced(pooled, "the global average pooling")?;
    let is_flat = match node.op_type.as_str() {
        // `[N, C, 1, 1]` has only one flattening that the classifier can multiply, so the shape
        // itself, often computed at run time, needs no look.
        "Flatten" if int(node, "axis", 1) != 1 => {
            return Err(unsupported(node, "axis must be 1"));
        }
        "Flatten" | "Reshape" | "Squeeze" => {
            node = graph.produced(input(node, 0), "the global average pooling")?;
            true
        }
        _ => false,
    };
    match node.op_type.as_str() {
        "GlobalAveragePool" => {}
        "ReduceMean" => check_mean(graph, node, is_flat)?,
        "AveragePool" => check_average_pool(graph, node)?,
        op => {
            let why = format!(
                "the classifier's input comes from {} (`{}`), not from global average pooling",
                quote(op),
                label(node)
            );
            return Err(OnnxErrorKind::NotAResNet(why));
        }
    }
    Ok(input(node, 0))
}

fn check_mean<'a>(
    graph: &Graph<'a>,
    node: &'a NodeProto,
    is_flat: bool,
) -> Result<(), OnnxErrorKind> {
    let mut axes = graph.ints_from(node, "axes", 1)?.unwrap_or_default();
    for axis in axes.iter_mut().filter(|a| **a < 0) {
        *axis = axis.saturating_add(4);
    }
    axes.sort_unstable();
    if axes != [2, 3] {
        return Err(unsupported(node, "it must average over height and width"));
    }
    if !is_flat && int(node, "keepdims", 1) != 0 {
        return Err(unsupported(node, "its output must be flat (keepdims 0)"));
    }
    Ok(())
}

/// A pooling window is global only at the image size that the file was made for.
fn check_average_pool(graph: &Graph, node: &NodeProto) -> Result<(), OnnxErrorKind> {
    let [height, width] = graph.image_size.unwrap_or([224, 224]);
    let window = [height.div_ceil(32) as i64, width.div_ceil(32) as i64];
    let is_padded = ints(node, "pads").is_some_and(|p| p.iter().any(|p| *p != 0));
    if ints(node, "kernel_shape") != Some(&window[..]) || is_padded {
        let why = format!("a ResNet averages over the whole {window:?} feature map");
        return Err(unsupported(node, why));
    }
    Ok(())
}
