//! What can be typed after `request` for models, endpoints and transform jobs: clap types only.
//!
//! Input: `argv`. Output: one struct a request.

use clap::{Args, ValueEnum};

use super::{NetworkArgs, TagArgs};
use crate::config::values;

#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// Name of the model, at most 63 characters (default: sagemaker-burn and the time)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Image in Amazon ECR
    #[arg(long, value_name = "URI")]
    pub image: String,
    /// Execution role that the endpoint takes on
    #[arg(long, value_name = "ARN")]
    pub role: String,
    /// model.tar.gz of a training job; with --multi-model the prefix below which such files are
    #[arg(long, value_name = "S3")]
    pub model_data: String,
    /// Serve many models, loaded when they are asked for
    #[arg(long)]
    pub multi_model: bool,
    /// An environment variable of the container; may be given again and again
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = values::pair)]
    pub environment: Vec<(String, String)>,
    #[command(flatten)]
    pub network: NetworkArgs,
    #[command(flatten)]
    pub tags: TagArgs,
}

#[derive(Args, Clone, Debug)]
pub struct EndpointConfigArgs {
    /// Name of the configuration, at most 63 characters (default: sagemaker-burn and the time)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Model to serve
    #[arg(long, value_name = "NAME")]
    pub model: String,
    /// Type of instance (default: ml.m5.large)
    #[arg(long, value_name = "TYPE", conflicts_with = "serverless")]
    pub instance_type: Option<String>,
    /// Instances (default: 1)
    #[arg(long, value_name = "N", conflicts_with = "serverless")]
    pub instance_count: Option<u64>,
    /// No instances: pay for requests only
    #[arg(long)]
    pub serverless: bool,
    /// With --serverless: memory in megabytes, 1024 to 6144 in steps of 1024 (default: 2048)
    #[arg(long, value_name = "MB", requires = "serverless")]
    pub memory_mb: Option<u64>,
    /// With --serverless: requests at the same time, 1 to 200 (default: 5)
    #[arg(long, value_name = "N", requires = "serverless")]
    pub max_concurrency: Option<u64>,
    /// Longest wait for the first ping, 60 to 3600 seconds (default: SageMaker's)
    #[arg(long, value_name = "TIME", conflicts_with = "serverless", value_parser = values::seconds)]
    pub startup_timeout: Option<u64>,
    /// Keep requests and answers here
    #[arg(long, value_name = "S3", conflicts_with = "serverless")]
    pub capture: Option<String>,
    /// With --capture: how many of a hundred (default: 100)
    #[arg(
        long,
        value_name = "PERCENT",
        requires = "capture",
        default_value_t = 100,
        hide_default_value = true
    )]
    pub capture_percent: u64,
    /// KMS key for the volume of the instances
    #[arg(long, value_name = "KEY", conflicts_with = "serverless")]
    pub kms_key: Option<String>,
    #[command(flatten)]
    pub tags: TagArgs,
}

#[derive(Args, Clone, Debug)]
pub struct EndpointArgs {
    /// Name of the endpoint, at most 63 characters (default: sagemaker-burn and the time)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Endpoint configuration
    #[arg(long, value_name = "NAME")]
    pub config: String,
    #[command(flatten)]
    pub tags: TagArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// A file is one request
    None,
    /// A line is one record, as in CSV and JSON lines
    Line,
}

#[derive(Args, Clone, Debug)]
pub struct TransformJobArgs {
    /// Name of the job, at most 63 characters (default: sagemaker-burn and the time)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Model to use
    #[arg(long, value_name = "NAME")]
    pub model: String,
    /// Files to classify: every one below this prefix
    #[arg(long, value_name = "S3")]
    pub input: String,
    /// Where the answers go, a file with the ending .out for each
    #[arg(long, value_name = "S3")]
    pub output: String,
    /// What the files are (default: application/x-image)
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "application/x-image",
        hide_default_value = true
    )]
    pub content_type: String,
    /// Form of the answers (default: application/json)
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "application/json",
        hide_default_value = true
    )]
    pub accept: String,
    /// How files are split into records (default: none)
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "none",
        hide_default_value = true
    )]
    pub split: SplitName,
    /// Type of instance (default: ml.m5.xlarge)
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "ml.m5.xlarge",
        hide_default_value = true
    )]
    pub instance_type: String,
    /// Instances (default: 1)
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true)]
    pub instance_count: u64,
    /// Requests at the same time to an instance (default: what the endpoint says)
    #[arg(long, value_name = "N")]
    pub max_concurrent: Option<u64>,
    /// Largest file in megabytes, 1 to 100 (default: what the endpoint says)
    #[arg(long, value_name = "MB")]
    pub max_payload_mb: Option<u64>,
    /// KMS key for the answers
    #[arg(long, value_name = "KEY")]
    pub kms_key: Option<String>,
    /// An environment variable of the container; may be given again and again
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = values::pair)]
    pub environment: Vec<(String, String)>,
    #[command(flatten)]
    pub tags: TagArgs,
}
