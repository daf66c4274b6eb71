//! ONNX files: the weights of a ResNet in, the fine-tuned network out.
//!
//! Input of [`load`]: any classification ResNet18/34/50 in ONNX. Output: an [`Imported`] network.
//! [`export`] goes the other way.
//!
//! ```text
//! file -> wire (size limits) -> ModelProto -> graph (who makes which value)
//!      -> trace (stem, blocks, classifier, by data flow) -> verify (against the layout) -> decode -> ResNet
//! ```
//!
//! A file is untrusted: every size is checked before it is used, no step recurses, and the work is
//! bounded by the size of the file.
//!
//! # Folded batch norms
//!
//! Many exports have the batch norms folded into the convolutions. Such a network is loaded with
//! batch norms that only add the bias, which is exact in evaluation. Statistics of a batch would
//! change what it computes, so it comes with
//! [frozen batch norms](super::ResNet::freeze_batch_norm): training then moves the weights and the
//! batch norms' scale and shift, never the statistics. An [`export`] of it says so.

mod decode;
mod error;
mod export;
mod graph;
mod head;
mod import;
mod proto;
mod trace;
mod verify;
mod wire;

/// Key among a file's texts: its batch norms were once folded. Our own exports write them as nodes of their own again, for
/// their scale and shift may have been trained, and without this key a reader would take their statistics for real ones.
const FROZEN_STATISTICS: &str = "batch_norm_frozen";

pub use error::{OnnxError, OnnxErrorKind};
pub use export::{ExportError, ExportOptions, export};
pub use import::{BatchNormOrigin, Imported, load};
