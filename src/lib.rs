//! Image-classification training and serving for Amazon SageMaker, in pure Rust on Burn.

pub mod demo;
pub mod sinks;
pub mod zoo;
