//! Image-classification training and serving for Amazon SageMaker, in pure Rust on Burn.
//!
//! ```text
//! /opt/ml -> sagemaker (Job: channels, hosts, folders, failure file)
//! argv, hyperparameters.json, environment -> config -> TrainConfig
//! folder or channels of photos -> data (Splits, Loader) -> feed (images or features on the device)
//! ONNX file (zoo or path) -> model (ResNet, new head)
//!                     '-> kernels (what the network computes with on a CPU), gpu (in bfloat16 on a GPU)
//!                     train (fit) -> Event -> sinks (metric lines, progress, csv, TensorBoard)
//!                       |    '-> weights/last, weights/best
//!                       '-> artifact (manifest, safetensors, ONNX) -> eval, predict, export, serve (HTTP)
//!                       |-> debugger (tensors in SageMaker's format, rules), profiler (phases, the machine, one sentence)
//!                       '-> report (one HTML page)
//! space -> tune (a study: trials, each a process that trains) -> table, best hyperparameters, best model
//! ```
//!
//! s3://bucket/key stands for a path in training: [`s3`] brings it here and takes results there.
//!
//! The binary is thin: [`cli`] says what can be typed, [`commands`] what it does.

pub mod artifact;
pub mod cli;
pub mod commands;
pub mod config;
pub mod data;
pub mod debugger;
pub mod demo;
pub mod device;
pub mod eval;
pub mod feed;
pub mod files;
#[cfg(feature = "cuda")]
pub mod gpu;
pub mod kernels;
pub mod logging;
pub mod memory;
pub mod model;
pub mod orphan;
pub mod profiler;
pub mod report;
pub mod run_folder;
pub mod s3;
pub mod sagemaker;
pub mod serve;
pub mod sinks;
pub mod train;
pub mod tune;
pub mod zoo;

/// The Burn release that this program is built on, for manifests and reports.
pub const BURN_VERSION: &str = "0.22.1";
