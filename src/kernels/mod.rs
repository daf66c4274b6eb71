//! Convolutional networks on the CPU, fast: convolution with its gradients, batch norm, ReLU, residual addition and pooling on
//! images whose channels come last.
//!
//! Input: float32 values `[n, h, w, c]`, weights `[k, c, kh, kw]`. Output: values `[n, oh, ow, k]`, or gradients. Two fronts:
//!
//! ```text
//! layer::forward      Burn tensors, with autodiff: conv + norm + addition + ReLU + pool as one operation    training
//! FrozenConv          slices: conv + bias + addition + ReLU, weights packed once                            inference
//!        \                /
//!   conv (which algorithm) -> winograd (tile) | direct -> gemm        norm, pool
//!                                  \     pack, scratch, memory, simd     /
//! ```
//!
//! Why it is here: Burn's CPU backend took 2.2 to 5 times as long as PyTorch and onnxruntime for a ResNet18. Where the time went, and
//! what is done about it:
//!
//! - 80 % of the multiplications are 3x3 convolutions of stride 1. [Winograd's algorithm](self::Algorithm) needs a quarter of them.
//! - Every sum runs in registers over panels that were [packed](self::Packed) for it; with AVX-512 direct convolutions reach 95 % of
//!   what the processor can do. pulp chooses the instruction set when the program runs: [`Isa`].
//! - Batch norm, ReLU and additions only move memory. Forward they take two passes, backward two.
//! - Fresh memory costs a page fault every 4 KB. Feature maps [keep theirs](self::memory).
//!
//! Results depend on shapes and the instruction set alone: not on the number of threads, not on what runs beside. Winograd's
//! rounding errors are about three times those of the direct sum, which leaves the logits of a trained ResNet18 within 1e-4 of
//! each other (measured: 1e-5).
//!
//! `unsafe` is allowed in this room alone. The inner loops read and write through pointers: over slices the multiplication reaches
//! 65 to 78 % of that speed (measured on AVX-512, sums of 64 to 512 terms), and the tasks of one result write to interleaved
//! parts of it, which slices cannot express. Lengths are checked where a call enters; debug builds check the transforms' single
//! accesses, too; and the tests compare all of it with plain loops in float64 on every instruction set that the machine has.
#![allow(unsafe_code)]

pub mod conv;
mod direct;
mod epilogue;
mod gemm;
mod inference;
pub mod layer;
pub(crate) mod memory;
pub mod norm;
mod pack;
pub mod pool;
pub(crate) mod scratch;
mod shape;
pub mod simd;
mod tile;
mod winograd;

pub use conv::Packed;
pub use epilogue::Epilogue;
pub use inference::{FrozenConv, Size};
pub use shape::{Algorithm, ConvShape};
pub use simd::{Choice, Isa};

#[cfg(test)]
mod reference;
