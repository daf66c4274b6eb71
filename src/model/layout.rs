//! The shape of a ResNet as data: which convolutions it has, their names, sizes and strides.
//!
//! Input: a [`ResNetConfig`]. Output: a [`Layout`] of [`ConvSpec`]s, and the list of [`TensorSpec`]s in
//! the order in which the network is traversed. Names and tensor layouts are torchvision's.

use super::config::ResNetConfig;

impl ResNetConfig {
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
    use crate::model::Architecture;

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
}
