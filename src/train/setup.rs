//! What a run starts from: its images and its network.
//!
//! Input: the configuration and the data set's folder. Output: [`Splits`] and their identity, and a [`ResNet`].

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::run::TrainError;
use crate::config::{DEFAULT_WEIGHTS, TrainConfig};
use crate::data::{SplitOptions, Splits};
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

/// Tells one set of images from another: a hash over the classes and the relative paths of training and validation
/// images. Contents are left out, as reading them all would cost more than an epoch of a frozen run.
pub fn data_identity(splits: &Splits) -> String {
    let mut hasher = Sha256::new();
    for folder in [&splits.train, &splits.valid] {
        for class in &folder.classes {
            hasher.update(class.as_bytes());
            hasher.update([0]);
        }
        for sample in &folder.samples {
            let path = sample
                .path
                .strip_prefix(&folder.root)
                .unwrap_or(&sample.path);
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update([0]);
        }
    }
    let hash = crate::files::hex(&hasher.finalize());
    format!(
        "{} training and {} validation images, {}",
        splits.train.samples.len(),
        splits.valid.samples.len(),
        &hash[..16]
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
