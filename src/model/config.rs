//! What a ResNet is made of: its architecture, width and number of classes.
//!
//! Input: JSON, the command line or an ONNX file. Output: a [`ResNetConfig`] with values in range.

use serde::{Deserialize, Serialize};

/// Largest stem width that is accepted; far above any published ResNet, low enough that sizes can't overflow.
pub const MAX_WIDTH: usize = 1024;
/// Largest number of classes that is accepted.
pub const MAX_CLASSES: usize = 1 << 20;

/// The residual networks that this crate trains.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Architecture {
    // What training takes when nothing is said. No doc comment: it would show in the help text.
    #[default]
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
    pub fn expansion(self) -> usize {
        if self.has_bottlenecks() { 4 } else { 1 }
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything about a [`ResNet`](super::ResNet) that its weights don't say.
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
    /// Whether training must leave the statistics of the batch norms alone, as where they were folded away. It travels
    /// with the weights: a network that is read back and trained on would otherwise compute something else.
    #[serde(default)]
    pub batch_norm_frozen: bool,
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
            batch_norm_frozen: false,
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
