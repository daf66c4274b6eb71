//! What can be typed after `request`: clap types only.
//!
//! Input: `argv`. Output: one struct a request. What is allowed is [`crate::sagemaker::request`]'s business, apart from the form of
//! single values.

mod hosting;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::values;

pub use hosting::*;

#[derive(Debug, Subcommand)]
pub enum RequestCommand {
    /// A training job: aws sagemaker create-training-job
    TrainingJob(Box<TrainingJobArgs>),
    /// A hyperparameter tuning job: aws sagemaker create-hyper-parameter-tuning-job
    TuningJob(Box<TuningJobArgs>),
    /// A model for endpoints and transform jobs: aws sagemaker create-model
    Model(ModelArgs),
    /// The configuration of an endpoint, real-time or serverless: aws sagemaker create-endpoint-config
    EndpointConfig(EndpointConfigArgs),
    /// An endpoint: aws sagemaker create-endpoint
    Endpoint(EndpointArgs),
    /// A batch transform job: aws sagemaker create-transform-job
    TransformJob(TransformJobArgs),
}

#[derive(Args, Clone, Debug)]
pub struct TagArgs {
    /// A tag; may be given again and again
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = values::pair)]
    pub tags: Vec<(String, String)>,
}

#[derive(Args, Clone, Debug)]
pub struct NetworkArgs {
    /// Run without any network; the weights have to be in the image or in a channel
    #[arg(long)]
    pub network_isolation: bool,
    /// Subnet of your VPC; may be given again and again
    #[arg(long = "subnet", value_name = "ID")]
    pub subnets: Vec<String>,
    /// Security group of your VPC; may be given again and again
    #[arg(long = "security-group", value_name = "ID")]
    pub security_groups: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputModeName {
    /// Everything is copied before the job starts
    File,
    /// Read from S3 while the job runs
    Fastfile,
    /// Through a pipe
    Pipe,
}

/// What training and tuning jobs share.
#[derive(Args, Clone, Debug)]
pub struct JobArgs {
    /// Image in Amazon ECR
    #[arg(long, value_name = "URI")]
    pub image: String,
    /// Execution role that the job takes on
    #[arg(long, value_name = "ARN")]
    pub role: String,
    /// A channel, such as train=s3://bucket/dogs/train; may be given again and again
    #[arg(long = "channel", value_name = "NAME=S3", required = true, value_parser = values::pair)]
    pub channels: Vec<(String, String)>,
    /// Where model.tar.gz and output.tar.gz go
    #[arg(long, value_name = "S3")]
    pub output: String,
    /// A hyperparameter, named as the training flag is; may be given again and again
    #[arg(long = "hyperparameter", short = 'p', value_name = "NAME=VALUE", value_parser = values::pair)]
    pub hyperparameters: Vec<(String, String)>,
    /// JSON file of hyperparameters, such as the best ones of a tuning job; -p takes precedence
    #[arg(long = "hyperparameters", value_name = "FILE")]
    pub hyperparameters_file: Option<std::path::PathBuf>,
    /// How channels are read (default: file)
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "file",
        hide_default_value = true,
        hide_possible_values = false
    )]
    pub input_mode: InputModeName,
    /// Spread the files of every channel over the instances instead of giving each all of them
    #[arg(long)]
    pub sharded: bool,
    /// Type of instance (default: ml.m5.xlarge)
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "ml.m5.xlarge",
        hide_default_value = true
    )]
    pub instance_type: String,
    /// Instances; training uses one (default: 1)
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true)]
    pub instance_count: u64,
    /// Size of the volume in gigabytes (default: 30)
    #[arg(
        long,
        value_name = "GB",
        default_value_t = 30,
        hide_default_value = true
    )]
    pub volume_gb: u64,
    /// Longest run of a job, in seconds or as 90m or 2h; the model of the best epoch is kept then (default: 2h)
    #[arg(long, value_name = "TIME", default_value = "2h", hide_default_value = true, value_parser = values::seconds)]
    pub max_runtime: u64,
    /// Use spot instances: cheaper, and taken back at any time
    #[arg(long)]
    pub spot: bool,
    /// With --spot: longest run and wait for an instance together (default: --max-runtime and an hour)
    #[arg(long, value_name = "TIME", requires = "spot", value_parser = values::seconds)]
    pub max_wait: Option<u64>,
    /// Where checkpoints are kept, from which a restarted job goes on (default: below --output with --spot, else nowhere)
    #[arg(long, value_name = "S3")]
    pub checkpoint: Option<String>,
    /// Start a job again this often if SageMaker itself fails, 1 to 30
    #[arg(long, value_name = "N")]
    pub retries: Option<u64>,
    /// KMS key for what is written to S3
    #[arg(long, value_name = "KEY")]
    pub kms_key: Option<String>,
    /// KMS key for the volumes
    #[arg(long, value_name = "KEY")]
    pub volume_kms_key: Option<String>,
    /// An environment variable of the container; may be given again and again
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = values::pair)]
    pub environment: Vec<(String, String)>,
    #[command(flatten)]
    pub network: NetworkArgs,
    #[command(flatten)]
    pub tags: TagArgs,
}

#[derive(Args, Clone, Debug)]
pub struct TrainingJobArgs {
    /// Name of the job, at most 63 characters (default: sagemaker-burn and the time)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub job: JobArgs,
    /// Save tensors for SageMaker Debugger, of these collections (default without a list: losses,weights,gradients)
    #[arg(long, value_name = "COLLECTIONS", num_args = 0..=1, value_delimiter = ',', default_missing_value = "losses,weights,gradients", require_equals = true)]
    pub debugger: Vec<String>,
    /// With --debugger: steps between two saves (default: 100)
    #[arg(
        long,
        value_name = "STEPS",
        default_value_t = 100,
        hide_default_value = true
    )]
    pub debugger_interval: u64,
    /// Let SageMaker monitor processors, memory and network, this many milliseconds apart (default without a value: 500)
    #[arg(long, value_name = "MS", num_args = 0..=1, default_missing_value = "500", require_equals = true)]
    pub profiler: Option<u64>,
    /// Keep the instances for the next job for this long after the end (a warm pool, which costs as running does)
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub keep_alive: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StrategyName {
    Bayesian,
    Random,
    Hyperband,
    Grid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EarlyStoppingName {
    /// SageMaker gives up on jobs that are worse than the median
    Auto,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WarmStartName {
    /// The same data and image; ranges may differ
    Identical,
    /// Other data or another version of the image
    Transfer,
}

#[derive(Args, Clone, Debug)]
pub struct TuningJobArgs {
    /// Name of the tuning job, at most 32 characters (default: sagemaker-burn and the time)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub job: JobArgs,
    /// What is tried: 'batch-size=8,32;learning-rate=0.0001..0.1:log', or @FILE with JSON in the form of SageMaker's ParameterRanges
    #[arg(long, value_name = "SPACE|@FILE")]
    pub space: String,
    /// How values are chosen (default: bayesian)
    #[arg(
        long,
        value_enum,
        value_name = "NAME",
        default_value = "bayesian",
        hide_default_value = true
    )]
    pub strategy: StrategyName,
    /// Training jobs in all; left out with grid, which tries every combination
    #[arg(long, value_name = "N")]
    pub max_jobs: Option<u64>,
    /// Training jobs at the same time (default: 1)
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true)]
    pub parallel: u64,
    /// Metric that is optimised (default: validation:accuracy)
    #[arg(
        long,
        value_name = "METRIC",
        default_value = "validation:accuracy",
        hide_default_value = true
    )]
    pub objective: String,
    /// Whether jobs that look bad are stopped early (default: off)
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "off",
        hide_default_value = true
    )]
    pub early_stopping: EarlyStoppingName,
    /// Seed of the choices, so that another tuning job makes the same ones
    #[arg(long, value_name = "N")]
    pub random_seed: Option<u64>,
    /// With hyperband: fewest epochs of a job (default: SageMaker's)
    #[arg(long, value_name = "EPOCHS")]
    pub min_epochs: Option<u64>,
    /// With hyperband: most epochs of a job (default: the hyperparameter epochs)
    #[arg(long, value_name = "EPOCHS")]
    pub max_epochs: Option<u64>,
    /// End the tuning job when the objective is this good
    #[arg(long, value_name = "VALUE")]
    pub target: Option<f64>,
    /// End the tuning job after this many jobs without a better one, at least 3
    #[arg(long, value_name = "N")]
    pub patience: Option<u64>,
    /// End the tuning job when SageMaker expects nothing better
    #[arg(long)]
    pub until_converged: bool,
    /// Longest run of the whole tuning job
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub max_total_runtime: Option<u64>,
    /// An earlier tuning job to learn from; up to five
    #[arg(long = "warm-start", value_name = "NAME")]
    pub parents: Vec<String>,
    /// How those were related to this one (default: identical)
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        default_value = "identical",
        hide_default_value = true
    )]
    pub warm_start_type: WarmStartName,
}
