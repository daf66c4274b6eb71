//! Configuration: layers of what was said, folded into one checked [`TrainConfig`].
//!
//! Input: [`Layer`]s in order of precedence (command line, then `hyperparameters.json`, then environment; a resumed
//! run's own settings sit below the command line). Output: [`TrainConfig`] and, for every setting, where its value came
//! from.

mod defaults;
mod hyperparameters;
mod layer;
mod resolve;
mod resume;
pub mod values;

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use defaults::DEFAULT_WEIGHTS;
pub use hyperparameters::{from_environment, plain_text, read_file, read_pairs};
pub use layer::{Layer, Source, canonical_name, plain_message};
pub use resolve::{Resolved, Setting, TrainConfig, resolve};
pub use resume::{resumed_layer, settle_resumed};

use values::Toggle;

/// What is wrong with the configuration. Every text names the flag or key, the value, and what would be accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{source_name}: {message}")]
    Value {
        source_name: String,
        message: String,
    },
    #[error("{path}: {message}")]
    File { path: String, message: String },
    #[error("{0}")]
    Conflict(String),
}

/// Optimizers, with PyTorch's semantics and defaults where not stated otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    Sgd,
    Adam,
    Adamw,
    Rmsprop,
}

/// How the learning rate develops after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LrSchedulerKind {
    /// Stays at the peak
    Constant,
    /// Multiplied by --lr-scheduler-factor every --lr-scheduler-step epochs
    Step,
    /// Half a cosine from the peak to zero
    Cosine,
}

/// Weights of the classes in the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// Every image counts the same
    None,
    /// Every class counts the same: images / (classes * images of the class)
    Balanced,
}

/// What a rule does that has found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RulesAction {
    /// Says so in the log and the report
    Warn,
    /// Also ends the training in good order, with the best model so far
    Stop,
}

/// Whether tensors are saved, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DebuggerChoice {
    Off,
    Usual,
    /// As a file like `debughookconfig.json` says.
    File(String),
}

impl FromStr for DebuggerChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (values::toggle(text), text.trim()) {
            (Ok(Toggle(true)), _) => Ok(DebuggerChoice::Usual),
            (Ok(Toggle(false)), _) => Ok(DebuggerChoice::Off),
            (Err(_), "") => Err("expected true, false or a JSON file".into()),
            (Err(_), file) => Ok(DebuggerChoice::File(file.to_string())),
        }
    }
}

impl fmt::Display for DebuggerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DebuggerChoice::Off => "false",
            DebuggerChoice::Usual => "true",
            DebuggerChoice::File(file) => file,
        })
    }
}

/// Number format of the computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bfloat16 on a GPU that computes in it, else float32.
    Auto,
    Float32,
    Bfloat16,
}

macro_rules! display_as_typed {
    ($($kind:ty),*) => {$(
        impl fmt::Display for $kind {
            /// The name as it is typed on the command line.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let value = self.to_possible_value();
                f.write_str(value.as_ref().map_or("", |v| v.get_name()))
            }
        }
    )*};
}
display_as_typed!(OptimizerKind, LrSchedulerKind, ClassWeights, Precision);
