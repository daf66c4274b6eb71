//! The shape of a ResNet as data: which convolutions it has, their names, sizes and strides.
//!
//! Input: a [`ResNetConfig`]. Output: a [`Layout`] of [`ConvSpec`]s, and the list of [`TensorSpec`]s in
//! the order in which the network is traversed. Names and tensor layouts are torchvision's.

use serde::{Deserialize, Serialize};

/// Largest stem width that is accepted; far above any published ResNet, low enough that sizes can't overflow.
pub const MAX_WIDTH: usize = 1024;
/// Largest number of classes that is accepted.
pub const MAX_CLASSES: usize = 1 << 20;

/// The residual networks that this crate trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Architecture {
    Resnet18,
    Resnet34,
    Resnet50,
}

impl Architecture {
    /// Every architecture, smallest first.
    pub const ALL: [Self; 3] = [Self::Resnet18, Self::Resnet34, Self::Resnet50];

    /// Number of residual blocks in each of the four stages.
    pub fn stage_depths(self) -> [usize; 4] {
        match self {
            Self::Resnet18 => [2, 2, 2, 2],
            Self::Resnet34 | Self::Resnet50 => [3, 4, 6, 3],
        }
    }

    /// Whether the blocks are 1x1, 3x3, 1x1 bottlenecks; otherwise they are two 3x3 convolutions.
    pub fn has_bottlenecks(self) -> bool {
        matches!(self, Self::Resnet50)
    }

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resnet18 => "resnet18",
            Self::Resnet34 => "resnet34",
            Self::Resnet50 => "resnet50",
        }
    }

    /// Output channels of a block over its inner width.
    fn expansion(self) -> usize {
        if self.has_bottlenecks() { 4 } else { 1 }
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything that fixes the shape of a [`ResNet`](super::ResNet).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResNetConfig {
    /// Which residual network.
    pub architecture: Architecture,
    /// Channels of the stem; 64 in every published network.
    #[serde(default = "default_width")]
    pub width: usize,
    /// Number of logits.
    pub num_classes: usize,
    /// Where a bottleneck halves the resolution: in its first 1x1 convolution (MXNet and Caffe,
    /// "v1") or in its 3x3 convolution (torchvision, "v1.5"). Without meaning for basic blocks.
    #[serde(default)]
    pub stride_in_1x1: bool,
    /// Added to the variance in every batch norm.
    #[serde(default = "default_bn_epsilon")]
    pub bn_epsilon: f64,
}

fn default_width() -> usize {
    64
}

fn default_bn_epsilon() -> f64 {
    1e-5
}

/// A configuration that no network can be built from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("network configuration: {field} is {value}, but it must be {allowed}")]
pub struct ConfigError {
    pub field: &'static str,
    pub value: String,
    pub allowed: String,
}

impl ResNetConfig {
    /// The published network of that architecture with `num_classes` logits.
    pub fn new(architecture: Architecture, num_classes: usize) -> Self {
        Self {
            architecture,
            width: default_width(),
            num_classes,
            stride_in_1x1: false,
            bn_epsilon: default_bn_epsilon(),
        }
    }

    /// Checks the ranges of all fields.
    ///
    /// # Errors
    /// Names the field, its value and the allowed range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |field, value: String, allowed: String| {
            Err(ConfigError {
                field,
                value,
                allowed,
            })
        };
        if !(1..=MAX_WIDTH).contains(&self.width) {
            return refuse("width", self.width.to_string(), format!("1 to {MAX_WIDTH}"));
        }
        if !(1..=MAX_CLASSES).contains(&self.num_classes) {
            let allowed = format!("1 to {MAX_CLASSES}");
            return refuse("num_classes", self.num_classes.to_string(), allowed);
        }
        if !(self.bn_epsilon > 0.0 && self.bn_epsilon < 1.0) {
            let allowed = "above 0 and below 1".to_owned();
            return refuse("bn_epsilon", self.bn_epsilon.to_string(), allowed);
        }
        Ok(())
    }

    /// Length of the feature vector in front of the classifier: 512 or 2048 at width 64.
    pub fn num_features(&self) -> usize {
        self.width * 8 * self.architecture.expansion()
    }

    /// The convolutions of the network.
    pub fn layout(&self) -> Layout {
        let stem = ConvSpec {
            conv: "conv1".to_owned(),
            norm: "bn1".to_owned(),
            in_channels: 3,
            out_channels: self.width,
            kernel: 7,
            stride: 2,
        };
        let mut in_channels = self.width;
        let depths = self.architecture.stage_depths();
        let stages = std::array::from_fn(|stage| {
            (0..depths[stage])
                .map(|index| {
                    let block = self.block(stage, index, in_channels);
                    in_channels = (self.width << stage) * self.architecture.expansion();
                    block
                })
                .collect()
        });
        Layout { stem, stages }
    }

    fn block(&self, stage: usize, index: usize, in_channels: usize) -> BlockSpec {
        let prefix = format!("layer{}.{index}", stage + 1);
        let inner = self.width << stage;
        let out_channels = inner * self.architecture.expansion();
        let stride = if stage > 0 && index == 0 { 2 } else { 1 };
        let (first, second) = match self.stride_in_1x1 {
            true => (stride, 1),
            false => (1, stride),
        };
        // (input channels, output channels, kernel, stride) of each convolution on the main branch.
        let branch = if self.architecture.has_bottlenecks() {
            vec![
                (in_channels, inner, 1, first),
                (inner, inner, 3, second),
                (inner, out_channels, 1, 1),
            ]
        } else {
            vec![(in_channels, inner, 3, stride), (inner, inner, 3, 1)]
        };
        let convs = (1..)
            .zip(branch)
            .map(
                |(i, (in_channels, out_channels, kernel, stride))| ConvSpec {
                    conv: format!("{prefix}.conv{i}"),
                    norm: format!("{prefix}.bn{i}"),
                    in_channels,
                    out_channels,
                    kernel,
                    stride,
                },
            )
            .collect();
        let downsample = (stride != 1 || in_channels != out_channels).then(|| ConvSpec {
            conv: format!("{prefix}.downsample.0"),
            norm: format!("{prefix}.downsample.1"),
            in_channels,
            out_channels,
            kernel: 1,
            stride,
        });
        BlockSpec { convs, downsample }
    }
}

/// One convolution without bias, followed by batch norm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvSpec {
    /// Name of the convolution, such as `layer2.0.conv1`.
    pub conv: String,
    /// Name of its batch norm, such as `layer2.0.bn1`.
    pub norm: String,
    pub in_channels: usize,
    pub out_channels: usize,
    /// Kernel height and width.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
}

impl ConvSpec {
    /// Padding on every side: an odd kernel at stride 1 keeps the resolution.
    pub fn padding(&self) -> usize {
        self.kernel / 2
    }

    /// `[out, in, kernel, kernel]`
    pub fn weight_shape(&self) -> [usize; 4] {
        [
            self.out_channels,
            self.in_channels,
            self.kernel,
            self.kernel,
        ]
    }

    /// The five tensors of the convolution and its batch norm.
    pub fn tensors(&self) -> [TensorSpec; 5] {
        let fan_out = self.out_channels * self.kernel * self.kernel;
        let norm = |field: &str, role| TensorSpec {
            name: format!("{}.{field}", self.norm),
            shape: vec![self.out_channels],
            role,
        };
        [
            TensorSpec {
                name: format!("{}.weight", self.conv),
                shape: self.weight_shape().to_vec(),
                role: Role::ConvWeight { fan_out },
            },
            norm("weight", Role::NormWeight),
            norm("bias", Role::NormBias),
            norm("running_mean", Role::RunningMean),
            norm("running_var", Role::RunningVar),
        ]
    }
}

/// A residual block: two or three convolutions, and one on the shortcut where the shape changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSpec {
    pub convs: Vec<ConvSpec>,
    pub downsample: Option<ConvSpec>,
}

/// All convolutions of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub stem: ConvSpec,
    pub stages: [Vec<BlockSpec>; 4],
}

impl Layout {
    /// All blocks in the order of the data.
    pub fn blocks(&self) -> impl Iterator<Item = &BlockSpec> {
        self.stages.iter().flatten()
    }

    /// All convolutions in traversal order: stem, then per block its branch and its shortcut.
    pub fn convs(&self) -> impl Iterator<Item = &ConvSpec> {
        let blocks = self
            .blocks()
            .flat_map(|b| b.convs.iter().chain(&b.downsample));
        std::iter::once(&self.stem).chain(blocks)
    }
}

/// What a tensor is for; decides how it is initialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    ConvWeight { fan_out: usize },
    NormWeight,
    NormBias,
    RunningMean,
    RunningVar,
    FcWeight { fan_in: usize },
    FcBias { fan_in: usize },
}

/// Name, shape and purpose of one tensor of the state dict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<usize>,
    pub role: Role,
}

impl TensorSpec {
    /// Number of elements.
    pub fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl ResNetConfig {
    /// Every tensor of the network, in traversal order, the classifier last.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let layout = self.layout();
        layout
            .convs()
            .flat_map(ConvSpec::tensors)
            .chain(self.fc_tensors())
            .collect()
    }

    /// `fc.weight` as `[num_classes, num_features]` and `fc.bias` as `[num_classes]`.
    pub fn fc_tensors(&self) -> [TensorSpec; 2] {
        let fan_in = self.num_features();
        [
            TensorSpec {
                name: "fc.weight".to_owned(),
                shape: vec![self.num_classes, fan_in],
                role: Role::FcWeight { fan_in },
            },
            TensorSpec {
                name: "fc.bias".to_owned(),
                shape: vec![self.num_classes],
                role: Role::FcBias { fan_in },
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(architecture: Architecture) -> usize {
        let tensors = ResNetConfig::new(architecture, 1000).tensors();
        let is_buffer = |role| matches!(role, Role::RunningMean | Role::RunningVar);
        let weights = tensors.iter().filter(|t| !is_buffer(t.role));
        weights.map(TensorSpec::num_elements).sum()
    }

    /// The figures that torchvision documents for its weights.
    #[test]
    fn has_the_published_number_of_parameters() {
        assert_eq!(parameters(Architecture::Resnet18), 11_689_512);
        assert_eq!(parameters(Architecture::Resnet34), 21_797_672);
        assert_eq!(parameters(Architecture::Resnet50), 25_557_032);
    }

    #[test]
    fn stride_moves_into_the_first_1x1() {
        let mut config = ResNetConfig::new(Architecture::Resnet50, 10);
        let strides = |config: &ResNetConfig| {
            let block = &config.layout().stages[1][0];
            block.convs.iter().map(|c| c.stride).collect::<Vec<_>>()
        };
        assert_eq!(strides(&config), [1, 2, 1]);
        config.stride_in_1x1 = true;
        assert_eq!(strides(&config), [2, 1, 1]);
    }

    #[test]
    fn refuses_sizes_out_of_range() {
        let mut config = ResNetConfig::new(Architecture::Resnet18, 0);
        assert_eq!(config.validate().unwrap_err().field, "num_classes");
        config.num_classes = 2;
        config.width = usize::MAX;
        assert_eq!(config.validate().unwrap_err().field, "width");
        config.width = 64;
        config.bn_epsilon = f64::NAN;
        assert_eq!(config.validate().unwrap_err().field, "bn_epsilon");
    }
}
