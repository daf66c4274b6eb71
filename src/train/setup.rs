//! What a run starts from: its images and its network.
//!
//! Input: the configuration and the data set's folder. Output: [`Splits`] and their identity, and a [`ResNet`].

use std::path::{Path, PathBuf};

use super::run::TrainError;
use crate::config::{DEFAULT_WEIGHTS, TrainConfig};
use crate::data::{SplitOptions, Splits, fingerprint};
use crate::device::Selected;
use crate::logging::terminal;
use crate::model::onnx::{BatchNormOrigin, load};
use crate::model::{Architecture, ResNet, ResNetConfig};
use crate::zoo;

/// The images of a run.
pub fn open_data(root: &Path, config: &TrainConfig) -> Result<Splits, TrainError> {
    let options = SplitOptions {
        seed: config.seed,
        ..Default::default()
    };
    let mut splits = Splits::open(root, &options)?;
    if let Some(samples) = config.max_train_samples {
        splits.max_train_samples(samples, config.seed)?;
    }
    Ok(splits)
}

/// Tells one set of images from another by classes and relative paths of training and validation images. Contents are left
/// out, as reading them all would cost more than an epoch of a frozen run.
pub fn data_identity(splits: &Splits) -> String {
    let (train, valid) = (&splits.train, &splits.valid);
    format!(
        "{} training and {} validation images, {}-{}",
        train.len(),
        valid.len(),
        fingerprint(train),
        fingerprint(valid)
    )
}

/// The network that `config` asks for: pretrained with a new head, or random. Says in one line what it took.
pub fn build_network(
    config: &TrainConfig,
    num_classes: usize,
    device: &Selected,
) -> Result<ResNet, TrainError> {
    let architecture = config.model.unwrap_or(Architecture::Resnet18);
    let weights = match config.weights.as_str() {
        DEFAULT_WEIGHTS => zoo::default_for(architecture)?,
        other => zoo::resolve(other)?,
    };
    let file: PathBuf = match weights {
        zoo::Weights::None => {
            tracing::info!("network: {architecture} from random weights");
            return Ok(ResNet::new(
                &ResNetConfig::new(architecture, num_classes),
                config.seed,
                &device.device,
            )?);
        }
        zoo::Weights::File(path) => path,
        zoo::Weights::Zoo(entry) => {
            zoo::Cache::from_env()?.fetch(entry, &mut zoo::progress_bar(&terminal(), entry))?
        }
    };
    let imported = load(&file, &device.device)?;
    let found = imported.model.config().architecture;
    if let Some(asked) = config.model.filter(|asked| *asked != found) {
        return Err(TrainError::OtherNetwork { file, found, asked });
    }
    let folded = imported.batch_norm == BatchNormOrigin::Folded;
    tracing::info!(
        "network: {found} from {}{}",
        file.display(),
        if folded {
            " (BatchNorm folded into the convolutions: its statistics stay frozen)"
        } else {
            ""
        }
    );
    Ok(imported.model.with_new_head(num_classes, config.seed)?)
}
