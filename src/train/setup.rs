//! What a run starts from: its images and its network.
//!
//! Input: the configuration and the data set's folder. Output: [`Splits`] and their identity, and a [`ResNet`].

use std::path::{Path, PathBuf};

use super::run::TrainError;
use crate::artifact::Artifact;
use crate::config::{DEFAULT_WEIGHTS, TrainConfig};
use crate::data::{DataSource, Opening, SplitOptions, Splits, class_list, fingerprint};
use crate::device::{NumberFormat, Selected};
use crate::logging::terminal;
use crate::model::onnx::{BatchNormOrigin, load};
use crate::model::{Architecture, ResNet, ResNetConfig};
use crate::{s3, zoo};

/// The images of a run; `None` where a signal came while they were waited for.
pub fn open_data(
    source: &DataSource,
    config: &TrainConfig,
    opening: Opening,
) -> Result<Option<Splits>, TrainError> {
    let options = SplitOptions {
        seed: config.seed,
        ..Default::default()
    };
    let mut source = source.clone();
    if let Some(classes) = &config.classes {
        source.classes = Some(class_list(classes)?);
    }
    let Some(mut splits) = source.open(&options, opening)? else {
        return Ok(None);
    };
    if let Some(samples) = config.max_train_samples {
        splits.max_train_samples(samples, config.seed)?;
    }
    Ok(Some(splits))
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

/// The network that `config` asks for: pretrained with a new head, an earlier model that goes on, or random. Says in one line
/// what it took. `None` where a signal came while the weights were fetched.
pub fn build_network(
    config: &TrainConfig,
    classes: &[String],
    device: &Selected,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<ResNet>, TrainError> {
    match weights_file(config, stopped)? {
        Some(weights) => {
            let model = network_of(&weights, config, classes, device)?;
            Ok(Some(match device.format(config.precision)? {
                NumberFormat::Float32 => model,
                NumberFormat::Bfloat16 => model.in_bfloat16(),
            }))
        }
        None => Ok(None),
    }
}

/// What `--weights` says, with what lies in S3 brought here; `None` where a signal came meanwhile.
fn weights_file(
    config: &TrainConfig,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<String>, TrainError> {
    match s3::address(Path::new(&config.weights))? {
        None => Ok(Some(config.weights.clone())),
        Some(address) => {
            let file = s3::fetch_file(&address, stopped)?;
            Ok(file.map(|file| file.display().to_string()))
        }
    }
}

fn network_of(
    weights: &str,
    config: &TrainConfig,
    classes: &[String],
    device: &Selected,
) -> Result<ResNet, TrainError> {
    let architecture = config.model.unwrap_or(Architecture::Resnet18);
    let weights = match weights {
        DEFAULT_WEIGHTS => zoo::default_for(architecture)?,
        other => zoo::resolve(other)?,
    };
    let file: PathBuf = match weights {
        zoo::Weights::None => {
            tracing::info!("network: {architecture} from random weights");
            return Ok(ResNet::new(
                &ResNetConfig::new(architecture, classes.len()),
                config.seed,
                &device.device,
            )?);
        }
        zoo::Weights::Model(path) => return earlier_model(&path, config, classes, device),
        zoo::Weights::File(path) => path,
        zoo::Weights::Zoo(entry) => {
            zoo::Cache::from_env()?.fetch(entry, &mut zoo::progress_bar(&terminal(), entry))?
        }
    };
    let imported = load(&file, &device.device)?;
    let found = imported.model.config().architecture;
    check_architecture(config, &file, found)?;
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
    Ok(imported.model.with_new_head(classes.len(), config.seed)?)
}

/// Goes on from a model directory: with its last layer if it knows the very same classes, else with a new one.
fn earlier_model(
    path: &Path,
    config: &TrainConfig,
    classes: &[String],
    device: &Selected,
) -> Result<ResNet, TrainError> {
    let artifact = Artifact::load(path, &device.device)?;
    let found = artifact.model.config().architecture;
    check_architecture(config, path, found)?;
    let same = artifact.manifest.classes == classes;
    tracing::info!(
        "network: {found} from the earlier model {}, {}",
        path.display(),
        match same {
            true => "with its last layer",
            false => "with a new last layer, as its classes are others",
        }
    );
    match same {
        true => Ok(artifact.model),
        false => Ok(artifact.model.with_new_head(classes.len(), config.seed)?),
    }
}

fn check_architecture(
    config: &TrainConfig,
    file: &Path,
    found: Architecture,
) -> Result<(), TrainError> {
    match config.model.filter(|asked| *asked != found) {
        Some(asked) => Err(TrainError::OtherNetwork {
            file: file.to_owned(),
            found,
            asked,
        }),
        None => Ok(()),
    }
}
