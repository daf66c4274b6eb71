//! Image-classification training and serving for Amazon SageMaker, in pure Rust on Burn.

mod atomic_write;
pub mod demo;
pub mod report;
pub mod sinks;
pub mod zoo;
