//! Writes a network as an ONNX file.
//!
//! Input: a [`ResNet`] and [`ExportOptions`]. Output: a file of opset 17 with a dynamic batch dimension
//! and torchvision's names, which [`load`](super::load) reads back bit for bit.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;
use onnx_ir::{AttributeProto, Message, ModelProto, NodeProto, TensorProto};

use super::{
    FROZEN_STATISTICS,
    proto::{self, Dim, float, int, ints, value},
};

use crate::files;
use crate::model::{
    layout::{BlockSpec, ConvSpec},
    resnet::ResNet,
    state_dict::state_dict,
};

/// The newest IR version that every runtime for opset 17 reads.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// How to write a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOptions {
    /// Name of the images.
    pub input: String,
    /// Name of the logits.
    pub output: String,
    /// Height and width of the images; `None` leaves them open.
    pub image_size: Option<[usize; 2]>,
    /// Multiplies the batch norms into the convolutions: faster, but not fit for training.
    pub fold_batch_norm: bool,
    /// Texts that travel with the file, such as the classes and the preprocessing as JSON.
    pub metadata: BTreeMap<String, String>,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            input: "input".to_owned(),
            output: "logits".to_owned(),
            image_size: Some([224, 224]),
            fold_batch_norm: false,
            metadata: BTreeMap::new(),
        }
    }
}

/// An ONNX file that can't be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: the network can't be encoded: {why}", path.display())]
    Encode { path: PathBuf, why: String },
}

/// Writes the network to `path`: first under a temporary name, then renamed.
///
/// # Errors
/// Those of the file system, and weights that aren't float32.
pub fn export(model: &ResNet, path: &Path, options: &ExportOptions) -> Result<(), ExportError> {
    let encode = |why: String| ExportError::Encode {
        path: path.to_owned(),
        why,
    };
    let proto = Writer::new(model, options).model().map_err(encode)?;
    let bytes = proto.write_to_bytes().map_err(|e| encode(e.to_string()))?;
    files::write(path, |writer| writer.write_all(&bytes)).map_err(|source| ExportError::Io {
        path: path.to_owned(),
        source,
    })
}

struct Writer<'a> {
    model: &'a ResNet,
    options: &'a ExportOptions,
    weights: HashMap<String, TensorData>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl<'a> Writer<'a> {
    fn new(model: &'a ResNet, options: &'a ExportOptions) -> Self {
        Self {
            model,
            options,
            weights: state_dict(model).into_iter().collect(),
            nodes: Vec::new(),
            initializers: Vec::new(),
        }
    }

    fn model(mut self) -> Result<ModelProto, String> {
        let layout = self.model.config().layout();
        let mut x = self.conv_norm(&self.options.input, &layout.stem)?;
        x = self.relu(&x, "relu");
        let window = [
            ("kernel_shape", vec![3; 2]),
            ("strides", vec![2; 2]),
            ("pads", vec![1; 4]),
        ];
        x = self.node("MaxPool", &[&x], "maxpool", window.map(ints).into());
        for (stage, blocks) in layout.stages.iter().enumerate() {
            for (index, block) in blocks.iter().enumerate() {
                x = self.block(&x, block, &format!("layer{}.{index}", stage + 1))?;
            }
        }
        x = self.node("GlobalAveragePool", &[&x], "avgpool", vec![]);
        x = self.node("Flatten", &[&x], "flatten", vec![int("axis", 1)]);
        self.classifier(&x)?;
        Ok(self.into_proto())
    }

    fn block(&mut self, source: &str, spec: &BlockSpec, name: &str) -> Result<String, String> {
        let mut x = source.to_owned();
        for (i, conv) in (1..).zip(&spec.convs) {
            if i > 1 {
                x = self.relu(&x, &format!("{name}.relu{}", i - 1));
            }
            x = self.conv_norm(&x, conv)?;
        }
        let shortcut = match &spec.downsample {
            Some(conv) => self.conv_norm(source, conv)?,
            None => source.to_owned(),
        };
        let sum = self.node("Add", &[&x, &shortcut], &format!("{name}.add"), vec![]);
        Ok(self.relu(&sum, &format!("{name}.relu")))
    }

    fn relu(&mut self, source: &str, name: &str) -> String {
        self.node("Relu", &[source], name, vec![])
    }

    fn conv_norm(&mut self, source: &str, spec: &ConvSpec) -> Result<String, String> {
        let attributes = vec![
            ints(("kernel_shape", vec![spec.kernel; 2])),
            ints(("strides", vec![spec.stride; 2])),
            ints(("pads", vec![spec.padding(); 4])),
            ints(("dilations", vec![1; 2])),
            int("group", 1),
        ];
        let [weight, norm @ ..] = spec.tensors().map(|t| t.name);
        let shape = spec.weight_shape();
        let values = self.take(&weight)?;
        if self.options.fold_batch_norm {
            let bias = format!("{}.bias", spec.conv);
            let (values, bias_values) = self.fold(values, &norm)?;
            self.initializer(&weight, &shape, &values);
            self.initializer(&bias, &[spec.out_channels], &bias_values);
            return Ok(self.node("Conv", &[source, &weight, &bias], &spec.conv, attributes));
        }
        self.initializer(&weight, &shape, &values);
        let x = self.node("Conv", &[source, &weight], &spec.conv, attributes);
        for name in &norm {
            let values = self.take(name)?;
            self.initializer(name, &[spec.out_channels], &values);
        }
        let [gamma, beta, mean, var] = &norm;
        let epsilon = float("epsilon", self.model.config().bn_epsilon as f32);
        let inputs = [&x, gamma, beta, mean, var].map(String::as_str);
        Ok(self.node("BatchNormalization", &inputs, &spec.norm, vec![epsilon]))
    }

    /// The weight and bias of a convolution that also does what its batch norm did.
    fn fold(
        &mut self,
        mut weight: Vec<f32>,
        norm: &[String; 4],
    ) -> Result<(Vec<f32>, Vec<f32>), String> {
        let [gamma, beta, mean, var] = norm;
        let (gamma, beta) = (self.take(gamma)?, self.take(beta)?);
        let (mean, var) = (self.take(mean)?, self.take(var)?);
        let epsilon = self.model.config().bn_epsilon;
        let per_channel = weight.len() / gamma.len();
        let mut bias = Vec::with_capacity(gamma.len());
        for (c, filter) in weight.chunks_exact_mut(per_channel).enumerate() {
            let scale = f64::from(gamma[c]) / (f64::from(var[c]) + epsilon).sqrt();
            filter
                .iter_mut()
                .for_each(|w| *w = (f64::from(*w) * scale) as f32);
            bias.push((f64::from(beta[c]) - f64::from(mean[c]) * scale) as f32);
        }
        Ok((weight, bias))
    }

    fn classifier(&mut self, features: &str) -> Result<(), String> {
        let [weight, bias] = self.model.config().fc_tensors();
        for spec in [&weight, &bias] {
            let values = self.take(&spec.name)?;
            self.initializer(&spec.name, &spec.shape, &values);
        }
        let inputs = [features, &weight.name, &bias.name];
        self.node("Gemm", &inputs, "fc", vec![int("transB", 1)]);
        if let Some(node) = self.nodes.last_mut() {
            node.output = vec![self.options.output.clone()];
        }
        Ok(())
    }

    fn take(&mut self, name: &str) -> Result<Vec<f32>, String> {
        let data = self
            .weights
            .remove(name)
            .ok_or(format!("`{name}` is missing"))?;
        data.try_into_vec::<f32>()
            .map_err(|e| format!("`{name}`: {e:?}"))
    }

    fn initializer(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.initializers.push(proto::tensor(name, shape, values));
    }

    /// Adds a node and returns the name of its output.
    fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        name: &str,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let output = format!("{name}.out");
        self.nodes.push(NodeProto {
            op_type: op.to_owned(),
            name: name.to_owned(),
            input: inputs.iter().map(|s| (*s).to_owned()).collect(),
            output: vec![output.clone()],
            attribute,
            ..Default::default()
        });
        output
    }

    fn into_proto(self) -> ModelProto {
        let options = self.options;
        let mut proto = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "sagemaker-burn".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        // The parser's crate doesn't name the types of these entries, so they are made in place.
        proto.opset_import.resize_with(1, Default::default);
        proto.opset_import[0].version = OPSET;
        let mut texts = options.metadata.clone();
        if self.model.config().batch_norm_frozen {
            texts.insert(FROZEN_STATISTICS.to_owned(), "true".to_owned());
        }
        proto
            .metadata_props
            .resize_with(texts.len(), Default::default);
        for (entry, (key, value)) in proto.metadata_props.iter_mut().zip(&texts) {
            entry.key.clone_from(key);
            entry.value.clone_from(value);
        }
        let [height, width] = match options.image_size {
            Some([h, w]) => [Dim::Fixed(h), Dim::Fixed(w)],
            None => [Dim::Open("height"), Dim::Open("width")],
        };
        let batch = Dim::Open("batch");
        let classes = Dim::Fixed(self.model.config().num_classes);
        let graph = proto.graph.mut_or_insert_default();
        graph.name = self.model.config().architecture.name().to_owned();
        graph.input = vec![value(
            &options.input,
            &[batch, Dim::Fixed(3), height, width],
        )];
        graph.output = vec![value(&options.output, &[batch, classes])];
        graph.node = self.nodes;
        graph.initializer = self.initializers;
        proto
    }
}
