//! The container image as SageMaker uses it: T14 of the platform's contract, and what else an image promises.
//!
//! Input: a Docker engine and an image, `SAGEMAKER_BURN_IMAGE` or else `sagemaker-burn:cpu`, that scripts/build-image made of these
//! sources. Where either is missing the tests say that they were skipped.

mod content;
mod engine;
mod local_mode;
mod orphans;
mod scripts;
mod serving;
mod training;
