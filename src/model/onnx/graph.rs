//! An ONNX graph as data flow: which node makes which value, and which values are constants.
//!
//! Input: a parsed [`ModelProto`]. Output: a [`Graph`] to ask for the producer of a value.

use std::collections::{HashMap, HashSet};

use onnx_ir::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::error::{OnnxErrorKind, quote};

/// From here on batch norm and Gemm mean what they mean today.
const MIN_OPSET: i64 = 7;

/// The nodes of a graph by the values they produce.
pub(super) struct Graph<'a> {
    producers: HashMap<&'a str, &'a NodeProto>,
    constants: HashMap<&'a str, &'a TensorProto>,
    /// Name of the images.
    pub input: &'a str,
    /// Name of the logits or probabilities.
    pub output: &'a str,
    /// Height and width of the images, where the file fixes them.
    pub image_size: Option<[usize; 2]>,
}

impl<'a> Graph<'a> {
    /// Looks over the nodes once.
    ///
    /// # Errors
    /// More than one image input or no output, and values with two producers.
    pub fn new(model: &'a ModelProto) -> Result<Self, OnnxErrorKind> {
        check_opset(model)?;
        let graph: &GraphProto = model
            .graph
            .as_ref()
            .ok_or_else(|| OnnxErrorKind::Parse("it has no graph".to_owned()))?;
        let mut constants: HashMap<&str, &TensorProto> = HashMap::new();
        for tensor in &graph.initializer {
            constants.insert(&tensor.name, tensor);
        }
        let mut producers: HashMap<&str, &NodeProto> = HashMap::new();
        for node in &graph.node {
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                if producers.insert(output, node).is_some() {
                    let name = quote(output);
                    return Err(OnnxErrorKind::Parse(format!(
                        "two nodes produce the value `{name}`"
                    )));
                }
            }
            if let ("Constant", [output]) = (node.op_type.as_str(), &node.output[..])
                && let Some(tensor) = attribute(node, "value").and_then(|a| a.t.as_ref())
            {
                constants.insert(output, tensor);
            }
        }
        // Files of IR version 3 list the weights among the inputs.
        let weights: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let mut images = graph.input.iter();
        let mut images = images
            .by_ref()
            .filter(|i| !weights.contains(i.name.as_str()));
        let (Some(input), None) = (images.next(), images.next()) else {
            return Err(OnnxErrorKind::NotAResNet(
                "it must have exactly one input, the images".to_owned(),
            ));
        };
        let [output] = &graph.output[..] else {
            let n = graph.output.len();
            let why = format!("it has {n} outputs instead of one");
            return Err(OnnxErrorKind::NotAResNet(why));
        };
        let dims = &input.type_.tensor_type().shape.dim;
        let image_size = match &dims[..] {
            [_, _, h, w] => usize::try_from(h.dim_value())
                .and_then(|h| Ok([h, usize::try_from(w.dim_value())?]))
                .ok()
                .filter(|size| size.iter().all(|s| *s > 0)),
            _ => None,
        };
        Ok(Self {
            producers,
            constants,
            input: &input.name,
            output: &output.name,
            image_size,
        })
    }

    /// Follows a value back through nodes that don't change it in evaluation.
    ///
    /// # Errors
    /// A cycle.
    pub fn resolve(&self, mut value: &'a str) -> Result<&'a str, OnnxErrorKind> {
        for _ in 0..=self.producers.len() {
            match self.producers.get(value) {
                Some(node) if matches!(node.op_type.as_str(), "Identity" | "Dropout") => {
                    // Only the first output is the value; the second is a mask.
                    if node.output.first().map(String::as_str) != Some(value) {
                        return Ok(value);
                    }
                    value = input(node, 0);
                }
                _ => return Ok(value),
            }
        }
        let why = "its nodes form a cycle".to_owned();
        Err(OnnxErrorKind::NotAResNet(why))
    }

    /// The node that makes a value, past Identity and Dropout. `None` for inputs and constants.
    pub fn producer(&self, value: &'a str) -> Result<Option<&'a NodeProto>, OnnxErrorKind> {
        let value = self.resolve(value)?;
        let node = self.producers.get(value).copied();
        match node {
            Some(n) if n.output.first().map(String::as_str) != Some(value) => {
                Err(unsupported(n, "only its first output can be used"))
            }
            Some(n) if !is_standard(&n.domain) => {
                let why = format!("it belongs to the domain `{}`", quote(&n.domain));
                Err(unsupported(n, why))
            }
            _ => Ok(node),
        }
    }

    /// The node that makes a value, which must have one.
    ///
    /// # Errors
    /// Says what was needed at that `place`.
    pub fn produced(&self, value: &'a str, place: &str) -> Result<&'a NodeProto, OnnxErrorKind> {
        self.producer(value)?
            .ok_or_else(|| self.not_a_resnet(value, place))
    }

    /// The node that makes a value, which must be an `op`.
    pub fn expect(
        &self,
        value: &'a str,
        op: &str,
        place: &str,
    ) -> Result<&'a NodeProto, OnnxErrorKind> {
        let node = self.produced(value, place)?;
        match node.op_type == op {
            true => Ok(node),
            false => Err(self.not_a_resnet(value, place)),
        }
    }

    /// Says what was found in place of a part of a ResNet.
    pub fn not_a_resnet(&self, value: &'a str, place: &str) -> OnnxErrorKind {
        let found = match self.producer(value) {
            Ok(Some(node)) => format!("{} (`{}`)", quote(&node.op_type), label(node)),
            Ok(None) if value == self.input => "the images".to_owned(),
            Ok(None) => format!("the value `{}`, which no node makes", quote(value)),
            Err(error) => return error,
        };
        OnnxErrorKind::NotAResNet(format!("found {found} where {place} is needed"))
    }

    /// The weights `value` that `node` uses.
    ///
    /// # Errors
    /// The value is neither an initializer nor a constant.
    pub fn weights(
        &self,
        node: &NodeProto,
        value: &'a str,
    ) -> Result<&'a TensorProto, OnnxErrorKind> {
        let value = self.resolve(value)?;
        match (self.constants.get(value), self.producers.get(value)) {
            (Some(tensor), _) => Ok(tensor),
            (None, Some(maker)) => {
                let why = format!("it computes the weights of `{}`", label(node));
                let fix = "export the network with constant folding and optimization";
                Err(unsupported(maker, format!("{why}; {fix}")))
            }
            (None, None) => Err(OnnxErrorKind::MissingInitializer {
                node: label(node),
                name: quote(value),
            }),
        }
    }

    /// The constant of that name, if it is one.
    pub fn constant(&self, value: &'a str) -> Result<Option<&'a TensorProto>, OnnxErrorKind> {
        Ok(self.constants.get(self.resolve(value)?).copied())
    }

    /// A short list of whole numbers: an attribute `name` or, in newer opsets, input `index`.
    pub fn ints_from(
        &self,
        node: &'a NodeProto,
        name: &str,
        index: usize,
    ) -> Result<Option<Vec<i64>>, OnnxErrorKind> {
        if let Some(ints) = ints(node, name) {
            return Ok(Some(ints.to_vec()));
        }
        let value = input(node, index);
        if value.is_empty() {
            return Ok(None);
        }
        if let Some(constant) = self.constant(value)? {
            return Ok(Some(int64_values(constant)));
        }
        let producer = self.producer(value)?;
        Ok(producer
            .and_then(|n| ints(n, "value_ints"))
            .map(<[i64]>::to_vec))
    }
}

/// Whether operators of that domain are ONNX's own.
fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Refuses files whose operators meant something else.
fn check_opset(model: &ModelProto) -> Result<(), OnnxErrorKind> {
    let mut opsets = model.opset_import.iter();
    match opsets.find(|o| is_standard(&o.domain)).map(|o| o.version) {
        Some(version) if version >= MIN_OPSET => Ok(()),
        found => Err(OnnxErrorKind::OldOpset(found.unwrap_or(1))),
    }
}

/// The values of an int64 tensor, typed or raw.
fn int64_values(tensor: &TensorProto) -> Vec<i64> {
    if !tensor.int64_data.is_empty() {
        return tensor.int64_data.clone();
    }
    let (chunks, _) = tensor.raw_data.as_chunks::<8>();
    chunks.iter().map(|c| i64::from_le_bytes(*c)).collect()
}

/// Name of the input `index` of a node; empty where there is none.
pub(super) fn input(node: &NodeProto, index: usize) -> &str {
    node.input.get(index).map_or("", String::as_str)
}

/// How a node is called in an error: by its name, else by its output.
pub(super) fn label(node: &NodeProto) -> String {
    match (node.name.as_str(), node.output.first()) {
        ("", Some(output)) => quote(output),
        (name, _) => quote(name),
    }
}

pub(super) fn unsupported(node: &NodeProto, why: impl Into<String>) -> OnnxErrorKind {
    OnnxErrorKind::Unsupported {
        node: label(node),
        op: quote(&node.op_type),
        why: why.into(),
    }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a onnx_ir::AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

pub(super) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |a| a.i)
}

pub(super) fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |a| a.f)
}

pub(super) fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    attribute(node, name).map(|a| &a.ints[..])
}

pub(super) fn text<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [u8]> {
    attribute(node, name).map(|a| &a.s[..])
}
