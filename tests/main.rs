//! The one integration binary: every further one would link all of Burn again.

mod debugger;
mod devices;
mod docker;
mod golden_images;
mod golden_recordio;
mod journey;
mod main_job;
mod model_golden;
mod model_hostile;
mod model_onnx;
mod model_training;
mod profiler;
mod report;
mod requests;
#[cfg(feature = "s3")]
mod s3;
mod sagemaker;
mod serve;
mod sinks;
mod tune;
