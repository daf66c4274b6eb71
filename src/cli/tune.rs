//! What can be typed after `tune`: clap types only.
//!
//! Input: `argv`. Output: [`TuneArgs`].

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::TrainFlags;
use crate::config::values;
use crate::tune::{Direction, Metric, StrategyKind};

pub const TUNE_EXAMPLES: &str = "\
The space, parts separated by `;`:
  batch-size=8,32                      one of a list
  epochs=5..30                         a whole number within a range, both ends included
  learning-rate=1e-4..1e-1:log         a number within a range; scaling linear, log, reverse-log, or auto (the default):
                                       log where both ends are above 0 and differ by a factor of 100 or more, else linear
  momentum=0.9..0.999:reverse-log      as fine near 1 as log is near 0
  @ranges.json                         in place of all that: a file with SageMaker's ParameterRanges
Names are those of the hyperparameters below. A setting that is given as a flag is the same in every trial.

Examples:
  sagemaker-burn tune --local-data ./dogImages --max-jobs 4 --space 'batch-size=8,32;learning-rate=0.001,0.003,0.01'
  sagemaker-burn tune --local-data ./dogImages --strategy grid --space 'learning-rate=0.001,0.003;optimizer=adamw,sgd'
  sagemaker-burn tune --local-data ./dogImages --strategy hyperband --max-jobs 30 --space 'learning-rate=1e-5..1e-1'

The same command again goes on with a study that was interrupted.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EarlyStopping {
    /// Stop a trial where an epoch is worse than the median of the others' running averages
    Auto,
    /// Every trial runs to its end
    Off,
}

#[derive(Args, Clone, Debug)]
pub struct TuneArgs {
    /// Folder of photos, as for training
    #[arg(long, value_name = "DIR|S3", conflicts_with = "demo")]
    pub local_data: Option<PathBuf>,

    /// Draw a small picture set and search on it: no files and no network needed
    #[arg(long)]
    pub demo: bool,

    /// What to search: hyperparameters and their values, or @FILE (see below)
    #[arg(long, value_name = "SPACE|@FILE", required = true)]
    pub space: String,

    /// How to search (default: bayesian)
    #[arg(
        long,
        value_enum,
        value_name = "NAME",
        ignore_case = true,
        default_value = "bayesian",
        hide_default_value = true
    )]
    pub strategy: StrategyKind,

    /// Trials in all (default: 10; with --strategy grid every combination)
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub max_jobs: Option<usize>,

    /// Trials at once, fewer where memory does not allow it; same seed, same trials only with 1 (default: 1)
    #[arg(long, visible_alias = "max-parallel-jobs", value_name = "N", default_value_t = 1, hide_default_value = true, value_parser = values::count)]
    pub parallel: usize,

    /// What trials are compared by (default: validation:accuracy)
    #[arg(
        long,
        value_enum,
        value_name = "METRIC",
        default_value = "validation:accuracy",
        hide_default_value = true
    )]
    pub objective: Metric,

    /// Which way is better (default: Maximize for an accuracy, Minimize for a loss)
    #[arg(long, value_enum, value_name = "TYPE", ignore_case = true)]
    pub objective_type: Option<Direction>,

    /// Whether trials that fall behind are stopped; hyperband has its own way (default: off)
    #[arg(
        long,
        value_enum,
        value_name = "TYPE",
        ignore_case = true,
        default_value = "off",
        hide_default_value = true
    )]
    pub early_stopping: EarlyStopping,

    /// Keep the model of every trial, not only the best one's
    #[arg(long)]
    pub keep_models: bool,

    /// Folder of the study (default: the unfinished runs/tune-N of the same command, else the next free N)
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// JSON file of hyperparameters that are the same in every trial; flags take precedence
    #[arg(long, value_name = "FILE")]
    pub hyperparameters: Option<PathBuf>,

    /// Print what every trial would have and how many there would be, then stop
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub flags: TrainFlags,
}
