//! Command line: clap types only.
//!
//! Input: `argv`. Output: [`Cli`], what was typed. What it *means* (defaults, precedence, checks across flags) is
//! [`crate::config`]'s business, which is why every hyperparameter here is an `Option`: a clap default would hide
//! whether the user said something, and `hyperparameters.json` could no longer take precedence over a default.

mod in_job;
mod other_commands;
mod request;
mod tune;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::values::{self, Interval, Toggle};
use crate::config::{
    ClassWeights, DebuggerChoice, LrSchedulerKind, OptimizerKind, Precision, RulesAction,
};
use crate::data::Augmentation;
use crate::debugger::rules::RuleList;
use crate::device::DeviceRequest;
use crate::model::Architecture;

pub use crate::config::plain_message;
pub use in_job::{may_be_a_job, parse_in_job, with_dashes};
pub use other_commands::*;
pub use request::*;
pub use tune::{EarlyStopping, TUNE_EXAMPLES, TuneArgs};

const EXAMPLES: &str = "\
Examples:
  sagemaker-burn --demo                                  draw a small picture set and train on it
  sagemaker-burn --local-data ./dogImages                fine-tune an ImageNet ResNet18 on your photos
  sagemaker-burn --local-data ./dogImages --freeze false --augmentation crop --epochs 10
  sagemaker-burn predict --model runs/train-1/model photo.jpg
  sagemaker-burn eval runs/train-1/model --data ./dogImages";

/// Fine-tune, evaluate and serve image classifiers; one binary for a laptop and for Amazon SageMaker.
#[derive(Debug, Parser)]
#[command(
    name = "sagemaker-burn",
    version,
    about,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true,
    allow_negative_numbers = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// No subcommand means `train`.
    #[command(flatten)]
    pub train: TrainArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fine-tune a classifier on a folder of photos (the default command)
    #[command(allow_negative_numbers = true)]
    Train(Box<TrainArgs>),
    /// Search for hyperparameters: many trainings, of which the best is kept
    #[command(after_help = TUNE_EXAMPLES, allow_negative_numbers = true)]
    Tune(Box<TuneArgs>),
    /// Measure a trained model on a folder of labelled photos
    Eval(EvalArgs),
    /// Classify photos with a trained model
    Predict(PredictArgs),
    /// Answer requests over HTTP, on a laptop or as a SageMaker endpoint
    Serve(ServeArgs),
    /// Look for trouble in the tensors of a run: vanishing gradients, overfitting, dead layers and more
    Rules(RulesArgs),
    /// Say where the time of a run went, and what would make it faster
    Profile(ProfileArgs),
    /// Look a data set over before training: counts, sizes, broken files, duplicates, leaks
    Inspect(InspectArgs),
    /// Write a trained model in another format
    Export(ExportArgs),
    /// List, fetch and verify pretrained weights
    #[command(subcommand)]
    Zoo(ZooCommand),
    /// Print the MetricDefinitions with which SageMaker finds this program's metrics in its log
    MetricDefinitions(MetricDefinitionsArgs),
    /// Rehearse a SageMaker training job on this machine
    #[command(subcommand)]
    Sagemaker(SagemakerCommand),
    /// Print a request for `aws sagemaker … --cli-input-json`, checked against SageMaker's limits
    #[command(subcommand)]
    Request(RequestCommand),
    /// Say what this machine offers: devices, kernels, memory, caches
    Doctor(DoctorArgs),
    /// Print a shell completion script
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: Shell,
    },
}

/// Where data comes from and results go: command line only, never a hyperparameter.
#[derive(Args, Clone, Debug, Default)]
pub struct TrainArgs {
    /// Folder of photos, here or at s3://bucket/prefix: train/, valid/ and optionally test/ with a folder per class, or just class folders
    #[arg(long, value_name = "DIR|S3", conflicts_with = "demo")]
    pub local_data: Option<PathBuf>,

    /// Draw a small picture set and train on it: no files and no network needed
    #[arg(long)]
    pub demo: bool,

    /// Folder for everything the run leaves behind (default: runs/train-N, the next free N); with s3://bucket/prefix it is copied there at the end
    #[arg(long, value_name = "DIR|S3")]
    pub output: Option<PathBuf>,

    /// Continue an interrupted run from its last checkpoint (default: the newest run under runs/)
    #[arg(long, value_name = "RUN_DIR", num_args = 0..=1)]
    pub resume: Option<Option<PathBuf>>,

    /// JSON file of hyperparameters, as SageMaker writes it; flags take precedence
    #[arg(long, value_name = "FILE")]
    pub hyperparameters: Option<PathBuf>,

    /// Keep the features of a frozen backbone in this folder and take them from there, so that several runs compute them once
    #[arg(long, value_name = "DIR")]
    pub feature_cache: Option<PathBuf>,

    /// Print the resolved configuration and where each value came from, then stop
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub flags: TrainFlags,
}

/// The hyperparameters: each a flag here and, under the same name, a key of `hyperparameters.json` or an environment
/// variable `SM_HP_<NAME>`. `-` and `_` are equal.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Hyperparameters")]
pub struct TrainFlags {
    /// Passes over the training set (default: 20 with --freeze true, else 10)
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub epochs: Option<usize>,

    /// Images per batch (default: 32)
    #[arg(long, visible_alias = "mini-batch-size", value_name = "N", value_parser = values::count)]
    pub batch_size: Option<usize>,

    /// Peak learning rate (default: adam/adamw 0.001, 0.0001 for a whole pretrained network; sgd 0.01, 0.05 from random weights; rmsprop 0.0001)
    #[arg(long, visible_alias = "lr", value_name = "RATE", value_parser = values::positive)]
    pub learning_rate: Option<f64>,

    /// Optimizer (default: adamw)
    #[arg(long, value_enum, value_name = "NAME")]
    pub optimizer: Option<OptimizerKind>,

    /// Momentum of sgd and rmsprop (default: 0.9)
    #[arg(long, value_name = "FACTOR", value_parser = values::fraction_below_one)]
    pub momentum: Option<f64>,

    /// Weight decay; decoupled with adamw, an L2 penalty otherwise (default: 0.0001)
    #[arg(long, value_name = "FACTOR", value_parser = values::non_negative)]
    pub weight_decay: Option<f64>,

    /// Learning rate over time (default: cosine)
    #[arg(long, value_enum, value_name = "NAME")]
    pub lr_scheduler: Option<LrSchedulerKind>,

    /// Epochs of linear warm-up from zero, fractions allowed (default: 0 with --freeze true, else 0.5)
    #[arg(long, value_name = "EPOCHS", value_parser = values::non_negative)]
    pub warmup_epochs: Option<f64>,

    /// With --lr-scheduler step: epochs between two reductions (default: a third of --epochs)
    #[arg(long, value_name = "EPOCHS", value_parser = values::count)]
    pub lr_scheduler_step: Option<usize>,

    /// With --lr-scheduler step: what the rate is multiplied by (default: 0.1)
    #[arg(long, value_name = "FACTOR", value_parser = values::positive)]
    pub lr_scheduler_factor: Option<f64>,

    /// Train only the new last layer on the pretrained features (default: true, false with --weights none)
    #[arg(long, visible_alias = "train-only-top-layer", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = false, value_parser = values::toggle)]
    pub freeze: Option<Toggle>,

    /// Probability mass spread over the other classes, 0 to below 1 (default: 0)
    #[arg(long, value_name = "EPSILON", value_parser = values::fraction_below_one)]
    pub label_smoothing: Option<f64>,

    /// Weigh the loss of each class by the inverse of its frequency (default: none)
    #[arg(long, value_enum, value_name = "NAME")]
    pub class_weights: Option<ClassWeights>,

    /// What is done to training images; none lets a frozen run compute features once (default: none with --freeze true, else crop)
    #[arg(long, value_enum, value_name = "NAME")]
    pub augmentation: Option<Augmentation>,

    /// Mixup: alpha of the Beta distribution, 0 for off (default: 0)
    #[arg(long, value_name = "ALPHA", value_parser = values::non_negative)]
    pub mixup: Option<f64>,

    /// Keep an exponential moving average of the weights, evaluate and export it; 0 for off (default: 0)
    #[arg(long, value_name = "DECAY", value_parser = values::fraction_below_one)]
    pub ema_decay: Option<f64>,

    /// Clip the global norm of the gradients to this, 0 for off (default: 0)
    #[arg(long, value_name = "NORM", value_parser = values::non_negative)]
    pub grad_clip: Option<f64>,

    /// Batches whose gradients are averaged before each optimizer step (default: 1)
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub grad_accumulation: Option<usize>,

    /// Stop after this many epochs without a better validation accuracy, 0 for never (default: 0)
    #[arg(long, value_name = "EPOCHS", value_parser = values::count_or_zero)]
    pub early_stopping_patience: Option<usize>,

    /// Never stop early before this epoch (default: 1)
    #[arg(long, value_name = "EPOCHS", value_parser = values::count_or_zero)]
    pub early_stopping_min_epochs: Option<usize>,

    /// Side in pixels of the square that the network sees, 32 to 1024 (default: 224)
    #[arg(long, value_name = "PIXELS", value_parser = values::image_size)]
    pub image_size: Option<u32>,

    /// Network; must match --weights (default: what the weights hold, resnet18 with --weights none)
    #[arg(long, value_enum, value_name = "NAME")]
    pub model: Option<Architecture>,

    /// Pretrained weights: an ONNX file or a model.tar.gz, here or at s3://bucket/key, an earlier model directory, a name of `zoo list`, or none (default: auto, the zoo's file for --model)
    #[arg(long, value_name = "FILE|NAME|none")]
    pub weights: Option<String>,

    /// All class names in the order of the outputs: a file with one a line, a JSON list, or a,b,c (default: those of the training data)
    #[arg(long, value_name = "FILE|LIST")]
    pub classes: Option<String>,

    /// Also report accuracy among the K most probable classes (default: 5)
    #[arg(long, value_name = "K", value_parser = values::count)]
    pub top_k: Option<usize>,

    /// Train on at most this many images, a fair share of each class, 0 for all (default: 0)
    #[arg(long, value_name = "N", value_parser = values::count_or_zero)]
    pub max_train_samples: Option<usize>,

    /// Example photos of each class that are put into the model directory, to show beside predictions; 0 for none (default: 2)
    #[arg(long, value_name = "N", value_parser = values::count_or_zero)]
    pub examples: Option<usize>,

    /// Seed of everything random: same seed, same data, same machine type, same weights (default: 42)
    #[arg(long, value_name = "N", value_parser = values::seed)]
    pub seed: Option<u64>,

    /// Threads that decode and augment images (default: the number of cores)
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub workers: Option<usize>,

    /// Number format of the convolutions; weights stay float32 (default: auto, which is bfloat16 on a GPU that computes in it, else float32)
    #[arg(long, value_enum, value_name = "NAME")]
    pub precision: Option<Precision>,

    /// Time or optimizer steps between two checkpoints, such as 10m, 30s or 500 (default: 30s, 5m in a SageMaker job)
    #[arg(long, value_name = "TIME|STEPS", value_parser = values::interval)]
    pub checkpoint_interval: Option<Interval>,

    /// Print the best epoch's metrics again as the last line, which SageMaker tuning takes as the score (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = values::toggle)]
    pub report_best: Option<Toggle>,

    /// Save tensors in SageMaker Debugger's format: true (losses, weights, biases, gradients, labels, predictions), false, or a JSON file like debughookconfig.json (default: false; in a SageMaker job what its debughookconfig.json says)
    #[arg(long, value_name = "BOOL|FILE", num_args = 0..=1, default_missing_value = "true")]
    pub debugger: Option<DebuggerChoice>,

    /// Steps between two looks inside, with --debugger true and for the rules (default: a tenth of an epoch, at least 50; weights and gradients are saved every 500)
    #[arg(long, value_name = "STEPS", value_parser = values::count_or_zero)]
    pub debugger_save_interval: Option<usize>,

    /// What to look for while training: usual, all, none, or a list such as 'VanishingGradient;Overfit:patience=3' (default: usual)
    #[arg(long, value_name = "LIST")]
    pub rules: Option<RuleList>,

    /// What a rule does that fires: warn, or stop (default: warn)
    #[arg(long, value_enum, value_name = "NAME")]
    pub rules_action: Option<RulesAction>,

    /// Measure what each step spends its time on, and look at the machine; files go to RUN/profiler, in a SageMaker job where its profilerconfig.json says (default: true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = values::toggle)]
    pub profiler: Option<Toggle>,

    /// Where to compute: auto, cpu, cuda or cuda:N (default: auto)
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceRequest>,

    /// Memory for decoded images in megabytes, so that later epochs need not decode (default: a quarter of free memory)
    #[arg(long, value_name = "MB", value_parser = values::count_or_zero)]
    pub cache_mb: Option<usize>,

    /// Stop at the first broken image instead of skipping it (default: false)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = values::toggle)]
    pub strict: Option<Toggle>,
}
