//! Checkpoints: everything needed to go on as if nothing had happened.
//!
//! Input: a [`TrainState`]. Output: `weights/last.safetensors`, one file and therefore one atomic rename: weights
//! (`model.*`), moving average (`ema.*`), optimizer state (`optimizer`, Burn's own record as bytes), and in the header
//! the position in the data, the history and the best epoch. Randomness needs no state: every random choice is derived
//! from the seed, the epoch and the sample. `weights/best.safetensors` holds the best weights alone, under torchvision's
//! names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::tensor::{Bytes, Device, TensorData};
use serde::{Deserialize, Serialize};

use super::early_stop::{Best, BestSoFar};
use super::ema::Ema;
use crate::eval::Scores;
use crate::model::{ResNet, ResNetConfig, StateDict, StateDictError, WeightsFileError};
use crate::model::{read_safetensors, state_dict, write_safetensors};
use crate::sinks::EpochMetrics;

/// File name of the newest checkpoint in a run's `weights/`.
pub const LAST: &str = "last.safetensors";
/// File name of the best weights in a run's `weights/`.
pub const BEST: &str = "best.safetensors";

const FORMAT: &str = "sagemaker-burn checkpoint 1";

/// A checkpoint that cannot be written, read or applied.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error(transparent)]
    File(#[from] WeightsFileError),
    #[error("{path}: {message}; it was written by another version or is damaged: start a new run")]
    Content { path: PathBuf, message: String },
    #[error("{path}: {source}")]
    Weights {
        path: PathBuf,
        source: StateDictError,
    },
    #[error(
        "{path}: the checkpoint belongs to other images ({detail}); restore the data set or start a new run"
    )]
    OtherData { path: PathBuf, detail: String },
}

/// Running sums over the images of the current epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    pub loss_sum: f64,
    pub correct: u64,
    pub images: u64,
}

/// How far a run is. Plain numbers: what the loop needs besides tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Whole epochs done.
    pub epoch: usize,
    /// Batches done in the epoch under way.
    pub batch: usize,
    /// Optimizer steps done.
    pub global_step: usize,
    /// Sums of the epoch under way.
    pub tally: Tally,
    /// Seconds spent in the epoch under way.
    pub seconds: f64,
    pub best: BestSoFar,
    pub history: Vec<EpochMetrics>,
}

/// Everything that changes while training.
pub struct TrainState {
    /// On the autodiff device.
    pub model: ResNet,
    pub optimizer: ModuleOptimizer,
    pub ema: Option<Ema>,
    /// Weights of the best epoch, without gradients.
    pub best_model: Option<ResNet>,
    /// What the best epoch scored on the validation images; unknown where a resumed run found no better one.
    pub best_scores: Option<Scores>,
    pub progress: Progress,
}

impl TrainState {
    /// The model that is evaluated and exported: the moving average where there is one.
    pub fn evaluated(&self) -> ResNet {
        self.ema
            .as_ref()
            .map_or_else(|| self.model.valid(), |ema| ema.model.clone())
    }
}

/// A checkpoint as it is on disk.
pub struct Checkpoint {
    pub network: ResNetConfig,
    pub progress: Progress,
    path: PathBuf,
    model: StateDict,
    ema: StateDict,
    optimizer: Option<TensorData>,
}

impl Checkpoint {
    /// Writes `state` to `path`, atomically. `data` identifies the images, see [`Checkpoint::read`].
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(path: &Path, state: &TrainState, data: &str) -> Result<(), CheckpointError> {
        let content = |message: String| CheckpointError::Content {
            path: path.to_owned(),
            message,
        };
        let mut tensors = prefixed("model.", state_dict(&state.model.valid()));
        if let Some(ema) = &state.ema {
            tensors.extend(prefixed("ema.", state_dict(&ema.model)));
        }
        let record = state
            .optimizer
            .to_record()
            .into_bytes()
            .map_err(|e| content(e.to_string()))?;
        let record = record.to_vec();
        let length = record.len();
        tensors.push(("optimizer".into(), TensorData::new(record, [length])));
        let json = |value: serde_json::Result<String>| value.map_err(|e| content(e.to_string()));
        let metadata = HashMap::from([
            ("format".to_string(), FORMAT.to_string()),
            (
                "network".to_string(),
                json(serde_json::to_string(state.model.config()))?,
            ),
            (
                "progress".to_string(),
                json(serde_json::to_string(&state.progress))?,
            ),
            ("data".to_string(), data.to_string()),
        ]);
        Ok(write_safetensors(path, &tensors, &metadata)?)
    }

    /// Reads a checkpoint and makes sure that it belongs to the images identified by `data`.
    ///
    /// # Errors
    /// A file that is missing, damaged, of another version or of another data set.
    pub fn read(path: &Path, data: &str) -> Result<Self, CheckpointError> {
        let (tensors, metadata) = read_safetensors(path)?;
        let content = |message: String| CheckpointError::Content {
            path: path.to_owned(),
            message,
        };
        let field = |name: &str| {
            metadata
                .get(name)
                .ok_or_else(|| content(format!("no `{name}` in its header")))
        };
        if field("format")? != FORMAT {
            return Err(content(format!(
                "format `{}`, expected `{FORMAT}`",
                field("format")?
            )));
        }
        if field("data")? != data {
            let detail = format!("then {}, now {data}", field("data")?);
            return Err(CheckpointError::OtherData {
                path: path.to_owned(),
                detail,
            });
        }
        let network =
            serde_json::from_str(field("network")?).map_err(|e| content(e.to_string()))?;
        let progress =
            serde_json::from_str(field("progress")?).map_err(|e| content(e.to_string()))?;
        let mut checkpoint = Checkpoint {
            network,
            progress,
            path: path.to_owned(),
            model: Vec::new(),
            ema: Vec::new(),
            optimizer: None,
        };
        for (name, tensor) in tensors {
            if let Some(name) = name.strip_prefix("model.") {
                checkpoint.model.push((name.to_string(), tensor));
            } else if let Some(name) = name.strip_prefix("ema.") {
                checkpoint.ema.push((name.to_string(), tensor));
            } else {
                checkpoint.optimizer = Some(tensor);
            }
        }
        Ok(checkpoint)
    }

    /// The weights on `device`.
    ///
    /// # Errors
    /// Tensors that do not make the network that the header names.
    pub fn model(&mut self, device: &Device) -> Result<ResNet, CheckpointError> {
        let state = std::mem::take(&mut self.model);
        self.network_of(state, device)
    }

    /// The moving average on `device`; `None` where the run kept none.
    ///
    /// # Errors
    /// As [`Checkpoint::model`].
    pub fn ema(&mut self, device: &Device) -> Result<Option<ResNet>, CheckpointError> {
        let state = std::mem::take(&mut self.ema);
        match state.is_empty() {
            true => Ok(None),
            false => self.network_of(state, device).map(Some),
        }
    }

    /// Gives the optimizer its state back.
    ///
    /// # Errors
    /// A record that Burn cannot read.
    pub fn optimizer(
        &mut self,
        fresh: ModuleOptimizer,
    ) -> Result<ModuleOptimizer, CheckpointError> {
        let content = |message: String| CheckpointError::Content {
            path: self.path.clone(),
            message,
        };
        let bytes = self
            .optimizer
            .take()
            .ok_or_else(|| content("no optimizer state".into()))?;
        let bytes = Bytes::from_bytes_vec(bytes.as_bytes().to_vec());
        let record = OptimizerRecord::from_bytes(bytes).map_err(|e| content(e.to_string()))?;
        Ok(fresh.load_record(record))
    }

    fn network_of(&self, state: StateDict, device: &Device) -> Result<ResNet, CheckpointError> {
        ResNet::from_state_dict(&self.network, state, device).map_err(|source| {
            CheckpointError::Weights {
                path: self.path.clone(),
                source,
            }
        })
    }
}

/// Writes the weights of an epoch alone, under torchvision's names, so that any program can read them.
///
/// # Errors
/// The file cannot be written.
pub fn write_best(path: &Path, model: &ResNet, best: &Best) -> Result<(), CheckpointError> {
    let text = |value: serde_json::Result<String>| {
        value.map_err(|e| CheckpointError::Content {
            path: path.to_owned(),
            message: e.to_string(),
        })
    };
    let metadata = HashMap::from([
        (
            "network".to_string(),
            text(serde_json::to_string(model.config()))?,
        ),
        ("best".to_string(), text(serde_json::to_string(best))?),
    ]);
    Ok(write_safetensors(path, &state_dict(model), &metadata)?)
}

/// Reads what [`write_best`] wrote: the network, its epoch and what that scored.
///
/// # Errors
/// A file that is missing or damaged, or holds another network than `network`.
pub fn read_best(
    path: &Path,
    network: &ResNetConfig,
    device: &Device,
) -> Result<(ResNet, Best), CheckpointError> {
    let file = read_safetensors(path)?;
    let best = field(path, &file.1, "best")?;
    Ok((best_model(path, network, file.0, device)?, best))
}

/// The same where nothing else is known of the run.
///
/// # Errors
/// A file that is missing or damaged.
pub fn read_best_alone(path: &Path, device: &Device) -> Result<(ResNet, Best), CheckpointError> {
    let (tensors, metadata) = read_safetensors(path)?;
    let network = field(path, &metadata, "network")?;
    let best = field(path, &metadata, "best")?;
    Ok((best_model(path, &network, tensors, device)?, best))
}

/// A value in the header of a file of weights.
fn field<T: serde::de::DeserializeOwned>(
    path: &Path,
    metadata: &HashMap<String, String>,
    name: &str,
) -> Result<T, CheckpointError> {
    let value = metadata.get(name);
    let value = value.and_then(|value| serde_json::from_str(value).ok());
    value.ok_or_else(|| CheckpointError::Content {
        path: path.to_owned(),
        message: format!("no usable `{name}` in its header"),
    })
}

fn best_model(
    path: &Path,
    network: &ResNetConfig,
    tensors: StateDict,
    device: &Device,
) -> Result<ResNet, CheckpointError> {
    ResNet::from_state_dict(network, tensors, device).map_err(|source| CheckpointError::Weights {
        path: path.to_owned(),
        source,
    })
}

fn prefixed(prefix: &str, state: StateDict) -> StateDict {
    state
        .into_iter()
        .map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
        .collect()
}
