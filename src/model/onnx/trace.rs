//! Finds the parts of a ResNet in a graph by following the data flow.
//!
//! Input: a [`Graph`]. Output: a [`Traced`] network: stem, blocks and classifier with their weights.
//! The walk goes from the output to the input, because a value has many users but one producer.
//! Neither names nor the order of nodes matter.

use onnx_ir::{NodeProto, TensorProto};

use super::{
    error::{OnnxErrorKind, quote},
    graph::{Graph, input, int, label, unsupported},
    head::{Classifier, classifier, feature_map},
};

/// More blocks than any supported network has.
const MAX_BLOCKS: usize = 16;
/// Convolutions on the main branch of a bottleneck.
const MAX_BRANCH: usize = 3;

/// The parts of a network, in the order of the data.
pub(super) struct Traced<'a> {
    pub stem: ConvUnit<'a>,
    pub max_pool: &'a NodeProto,
    pub blocks: Vec<TracedBlock<'a>>,
    pub classifier: Classifier<'a>,
}

/// A residual block.
pub(super) struct TracedBlock<'a> {
    pub convs: Vec<ConvUnit<'a>>,
    pub downsample: Option<ConvUnit<'a>>,
}

/// A convolution and the batch norm behind it, if it is still there.
pub(super) struct ConvUnit<'a> {
    pub node: &'a NodeProto,
    pub weight: &'a TensorProto,
    pub bias: Option<&'a TensorProto>,
    pub norm: Option<Norm<'a>>,
    source: &'a str,
}

/// A batch norm with its four vectors.
pub(super) struct Norm<'a> {
    pub node: &'a NodeProto,
    pub gamma: &'a TensorProto,
    pub beta: &'a TensorProto,
    pub mean: &'a TensorProto,
    pub var: &'a TensorProto,
}

/// Takes a graph apart.
///
/// # Errors
/// The first place where the graph isn't a ResNet of version 1.
pub(super) fn trace<'a>(graph: &Graph<'a>) -> Result<Traced<'a>, OnnxErrorKind> {
    let (classifier, pooled) = classifier(graph)?;
    let mut value = feature_map(graph, pooled)?;
    let mut blocks = Vec::new();
    let max_pool = loop {
        let node = graph.produced(value, "a residual block or the max pooling")?;
        if node.op_type == "MaxPool" {
            break node;
        }
        if blocks.len() == MAX_BLOCKS {
            let why = format!("it has more than {MAX_BLOCKS} residual blocks");
            return Err(OnnxErrorKind::NotAResNet(why));
        }
        let (block, source) = block(graph, node)?;
        blocks.push(block);
        value = source;
    };
    blocks.reverse();
    let relu = graph.expect(input(max_pool, 0), "Relu", "the first activation")?;
    let stem = unit(graph, input(relu, 0))?
        .ok_or_else(|| graph.not_a_resnet(input(relu, 0), "the first convolution"))?;
    let source = graph.resolve(stem.source)?;
    if source != graph.input {
        return Err(before_the_stem(graph, source));
    }
    Ok(Traced {
        stem,
        max_pool,
        blocks,
        classifier,
    })
}

fn before_the_stem(graph: &Graph, source: &str) -> OnnxErrorKind {
    match graph.producer(source) {
        Ok(Some(node)) if node.op_type == "BatchNormalization" => {
            OnnxErrorKind::PreActivation { node: label(node) }
        }
        Ok(Some(node)) => OnnxErrorKind::Preprocessing {
            node: label(node),
            op: quote(&node.op_type),
        },
        Ok(None) => {
            OnnxErrorKind::NotAResNet("its first convolution doesn't see the images".into())
        }
        Err(error) => error,
    }
}

/// The block that ends in `relu`, and the name of the value it starts from.
fn block<'a>(
    graph: &Graph<'a>,
    relu: &'a NodeProto,
) -> Result<(TracedBlock<'a>, &'a str), OnnxErrorKind> {
    if relu.op_type != "Relu" {
        let (op, name) = (quote(&relu.op_type), label(relu));
        let why = format!("found {op} (`{name}`) where a residual block ends in Relu");
        return Err(OnnxErrorKind::NotAResNet(why));
    }
    let sum = graph.produced(input(relu, 0), "the addition of a residual block")?;
    if sum.op_type == "BatchNormalization"
        && let Some(before) = graph.producer(input(sum, 0))?
        && before.op_type == "Add"
    {
        return Err(OnnxErrorKind::PreActivation { node: label(sum) });
    }
    if sum.op_type != "Add" {
        let (op, name) = (quote(&sum.op_type), label(sum));
        let why = format!("found {op} (`{name}`) where a residual block adds its shortcut");
        return Err(OnnxErrorKind::NotAResNet(why));
    }
    let (a, a_source) = branch(graph, input(sum, 0))?;
    let (b, b_source) = branch(graph, input(sum, 1))?;
    if a_source != b_source {
        let why = format!(
            "the two branches into `{}` start from different values",
            label(sum)
        );
        return Err(OnnxErrorKind::NotAResNet(why));
    }
    let (main, mut shortcut) = if a.len() > b.len() { (a, b) } else { (b, a) };
    if main.len() < 2 || shortcut.len() > 1 {
        let why = format!(
            "the branches into `{}` have {} and {} convolutions",
            label(sum),
            main.len(),
            shortcut.len()
        );
        return Err(OnnxErrorKind::NotAResNet(why));
    }
    let downsample = shortcut.pop();
    Ok((
        TracedBlock {
            convs: main,
            downsample,
        },
        a_source,
    ))
}

/// The convolutions on one way into an addition, in the order of the data, and where it starts.
fn branch<'a>(
    graph: &Graph<'a>,
    value: &'a str,
) -> Result<(Vec<ConvUnit<'a>>, &'a str), OnnxErrorKind> {
    let mut units = Vec::new();
    let mut value = graph.resolve(value)?;
    while let Some(found) = unit(graph, value)? {
        value = graph.resolve(found.source)?;
        units.push(found);
        if units.len() > MAX_BRANCH {
            let why = format!("a branch has more than {MAX_BRANCH} convolutions");
            return Err(OnnxErrorKind::NotAResNet(why));
        }
        // A Relu behind another convolution is inside the branch; one behind an addition is its start.
        let Some(relu) = graph.producer(value)?.filter(|n| n.op_type == "Relu") else {
            break;
        };
        match graph.producer(input(relu, 0))? {
            Some(n) if is_unit_end(n) => value = graph.resolve(input(relu, 0))?,
            _ => break,
        }
    }
    units.reverse();
    Ok((units, value))
}

fn is_unit_end(node: &NodeProto) -> bool {
    matches!(node.op_type.as_str(), "Conv" | "BatchNormalization")
}

/// The convolution, with or without batch norm, that makes `value`.
fn unit<'a>(graph: &Graph<'a>, value: &'a str) -> Result<Option<ConvUnit<'a>>, OnnxErrorKind> {
    let Some(last) = graph.producer(value)?.filter(|n| is_unit_end(n)) else {
        return Ok(None);
    };
    let (norm, node) = match last.op_type.as_str() {
        "BatchNormalization" => {
            let before = graph.expect(input(last, 0), "Conv", "the convolution of a batch norm");
            let is_activation = matches!(
                graph.producer(input(last, 0))?.map(|n| n.op_type.as_str()),
                Some("Add" | "MaxPool")
            );
            if is_activation {
                return Err(OnnxErrorKind::PreActivation { node: label(last) });
            }
            (Some(batch_norm(graph, last)?), before?)
        }
        _ => (None, last),
    };
    let bias = match input(node, 2) {
        "" => None,
        name => Some(graph.weights(node, name)?),
    };
    Ok(Some(ConvUnit {
        node,
        weight: graph.weights(node, input(node, 1))?,
        bias,
        norm,
        source: input(node, 0),
    }))
}

fn batch_norm<'a>(graph: &Graph<'a>, node: &'a NodeProto) -> Result<Norm<'a>, OnnxErrorKind> {
    // Opset 14 says it by an attribute, older ones by additional outputs.
    let outputs = node.output.iter().filter(|o| !o.is_empty()).count();
    if int(node, "training_mode", 0) != 0 || outputs > 1 {
        return Err(OnnxErrorKind::TrainingMode { node: label(node) });
    }
    if int(node, "spatial", 1) != 1 {
        return Err(unsupported(node, "spatial must be 1"));
    }
    Ok(Norm {
        node,
        gamma: graph.weights(node, input(node, 1))?,
        beta: graph.weights(node, input(node, 2))?,
        mean: graph.weights(node, input(node, 3))?,
        var: graph.weights(node, input(node, 4))?,
    })
}
