//! What can be typed after the commands other than `train`: clap types only.
//!
//! Input: `argv`. Output: one struct a command. None of these values has another source, so defaults may stand here.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::values;
use crate::debugger::rules::RuleList;
use crate::device::DeviceRequest;

#[derive(Args, Debug)]
pub struct EvalArgs {
    /// Model directory, or a run folder that holds one
    pub model: PathBuf,
    /// Folder of labelled photos: class folders, or split folders of which test (else valid) is taken
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Which split of --data to take (default: test, else valid, else all)
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    /// Write metrics, per-class table and confusion matrix here (default: print only)
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// Images per forward pass (default: 32)
    #[arg(long, default_value_t = 32, value_parser = values::count, hide_default_value = true)]
    pub batch_size: usize,
    /// Threads that decode images (default: the number of cores)
    #[arg(long, value_parser = values::count)]
    pub workers: Option<usize>,
    /// Also report accuracy among the K most probable classes (default: 5)
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = values::count, hide_default_value = true)]
    pub top_k: usize,
    /// Where to compute: auto, cpu, cuda or cuda:N (default: auto)
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "auto",
        hide_default_value = true
    )]
    pub device: DeviceRequest,
    /// Stop at the first broken image instead of skipping it
    #[arg(long)]
    pub strict: bool,
}

#[derive(Args, Debug)]
pub struct PredictArgs {
    /// Photos, or folders of photos
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// Model directory, or a run folder that holds one (default: the newest run under runs/)
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Ask a running server instead, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL", conflicts_with_all = ["model", "device"])]
    pub endpoint: Option<String>,
    /// How many classes to show per photo (default: 5)
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = values::count, hide_default_value = true)]
    pub top_k: usize,
    /// Print JSON lines, one object per photo
    #[arg(long)]
    pub json: bool,
    /// Also write a page about each photo: bars, the whole distribution, where the network looked, photos of the classes
    #[arg(long, value_name = "FILE.html", conflicts_with = "endpoint")]
    pub report: Option<PathBuf>,
    /// Where to compute: auto, cpu, cuda or cuda:N (default: auto)
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "auto",
        hide_default_value = true
    )]
    pub device: DeviceRequest,
}

#[derive(Args, Debug)]
pub struct RulesArgs {
    /// Run folder, or a folder of Debugger output: one with index/ and events/, also as copied from S3
    pub run: PathBuf,
    /// Which rules: all, usual, or a list such as 'VanishingGradient;Overfit:patience=3' (default: all)
    #[arg(
        long,
        value_name = "LIST",
        default_value = "all",
        hide_default_value = true
    )]
    pub rules: RuleList,
    /// Print JSON instead of lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct ProfileArgs {
    /// Run folder, or a folder with framework/ and system/ in it, such as the profiler-output of a SageMaker job
    pub run: PathBuf,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Model directory, a run folder that holds one, or model.tar.gz (default: /opt/ml/model in a container, else the newest run under runs/)
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Address to listen on (default: 127.0.0.1, in a container 0.0.0.0)
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<IpAddr>,
    /// Port; 0 for any free one (default: SAGEMAKER_BIND_TO_PORT, else 8080)
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// Serve the page for people in a container, too
    #[arg(long)]
    pub page: bool,
    /// Most images that go through the network at once (default: 32)
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = values::count, hide_default_value = true)]
    pub max_batch: usize,
    /// Longest wait for another request that is being prepared, in milliseconds (default: 2)
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 2,
        hide_default_value = true
    )]
    pub batch_delay_ms: u64,
    /// Requests under way at once; more are turned away with status 429 (default: 64)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = values::count, hide_default_value = true)]
    pub max_in_flight: usize,
    /// Classes named in a verbose answer (default: 5)
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = values::count, hide_default_value = true)]
    pub top_k: usize,
    /// Where to compute: auto, cpu, cuda or cuda:N (default: auto)
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "auto",
        hide_default_value = true
    )]
    pub device: DeviceRequest,
}

#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Folder of photos, as for --local-data
    pub dir: PathBuf,
    /// Write the findings as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// Threads (default: the number of cores)
    #[arg(long, value_parser = values::count)]
    pub workers: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// ONNX, opset 17, input `input` [batch,3,H,W], output `logits`
    Onnx,
    /// safetensors with torchvision's tensor names
    Safetensors,
}

#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Model directory, or a run folder that holds one
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Format (default: by the ending of --output, .onnx or .safetensors)
    #[arg(long, value_enum)]
    pub format: Option<ExportFormat>,
    /// Fold BatchNorm into the convolutions: smaller and faster to run, not meant for further training (ONNX only)
    #[arg(long)]
    pub fold_batch_norm: bool,
}

#[derive(Debug, Subcommand)]
pub enum ZooCommand {
    /// Show the pretrained weights that can be fetched by name
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download weights into the cache, verified by size and sha256
    Fetch {
        /// Name as in `zoo list` (default: the one that training takes)
        name: Option<String>,
    },
    /// Check the cached weights against the manifest
    Verify {
        /// Name as in `zoo list` (default: everything cached)
        name: Option<String>,
    },
}

#[derive(Args, Debug)]
pub struct MetricDefinitionsArgs {
    /// The job's top-k, which names a metric; 1 for none (default: 5)
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = values::count, hide_default_value = true)]
    pub top_k: usize,
}

#[derive(Debug, Subcommand)]
pub enum SagemakerCommand {
    /// Lay out what SageMaker would mount at /opt/ml, from a folder of photos on this machine
    Init {
        /// Folder to make
        dir: PathBuf,
        /// Folder of photos, as for --local-data
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// ONNX file of pretrained weights, which becomes the channel `weights`
        #[arg(long, value_name = "FILE")]
        weights: Option<PathBuf>,
        /// A hyperparameter of the job; may be given again and again
        #[arg(long = "hyperparameter", short = 'p', value_name = "NAME=VALUE", value_parser = values::pair)]
        hyperparameters: Vec<(String, String)>,
    },
    /// Print the SM_* variables that Amazon's Python toolkit would derive from a job's files
    Env,
}

#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
