//! ResNet18/34/50: built from a seed, a state dict or an ONNX file, and exported to ONNX again.
//!
//! Input: a [`ResNetConfig`] with weights from one of those three sources.
//! Output: a [`ResNet`] that turns `[N, 3, H, W]` images into `[N, num_classes]` logits.
//!
//! ```text
//! seed -> init ---------------------+
//! weights.safetensors -> state_dict -+-> build -> ResNet -> features -> logits
//! model.onnx -> onnx::load ----------+            |-> fused (evaluation)
//!                                                 |-> state_dict -> weights.safetensors
//!                                                 +-> onnx::export -> model.onnx
//! ```
//!
//! [`layout`] is the one description of the network (names, shapes, strides). Construction, the state
//! dict, the ONNX check and the ONNX export all read it.

pub mod activation_map;
pub mod batch_norm;
pub mod block;
mod build;
pub mod config;
pub mod frozen;
pub mod fused;
pub mod init;
pub mod layout;
pub mod observe;
pub mod onnx;
pub mod resnet;
pub mod state_dict;
pub mod weights_file;

pub use activation_map::ActivationMap;
pub use batch_norm::{BatchNorm2d, Mode};
pub use config::{Architecture, ConfigError as NetworkError, ResNetConfig};
pub use fused::FusedResNet;
pub use observe::Observer;
pub use resnet::ResNet;
pub use state_dict::{ParameterVisitor, StateDict, StateDictError, state_dict, visit_parameters};
pub use weights_file::{WeightsFileError, read_safetensors, write_safetensors};
