//! Fast convolutions on the CPU.
#![allow(unsafe_code)]

pub mod conv;
mod direct;
mod gemm;
pub mod inference;
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
pub use shape::{Algorithm, ConvShape, Epilogue};
pub use simd::{Choice, Isa};

#[cfg(test)]
mod reference;
