//! Hyperparameters of a job, checked as training will check them.
//!
//! Input: names and texts from the command line and a file. Output: a map under the names of the training flags. An unknown name is
//! an error here, where a running job only warns: now it can still be put right.

use std::collections::BTreeMap;

use super::{RequestError, beyond};
use crate::cli::JobArgs;
use crate::config::{Layer, Source, canonical_name, read_pairs, resolve};

/// Most hyperparameters of a job, tuned ones included.
pub const MOST: usize = 100;
/// Most characters of a value.
const LONGEST: usize = 2500;

/// The hyperparameters of a job by the name of their training flag.
pub type Hyperparameters = BTreeMap<String, String>;

/// Those of the file, then those of `-p`.
///
/// # Errors
/// An unknown name, with the nearest known one; a value that training would refuse; values that contradict each other; more or longer
/// ones than SageMaker takes.
pub fn of_job(args: &JobArgs) -> Result<Hyperparameters, RequestError> {
    let mut all = Hyperparameters::new();
    let file = args.hyperparameters_file.as_deref();
    let pairs = file.map(read_pairs).transpose()?.unwrap_or_default();
    let flag = file
        .map(|file| file.display().to_string())
        .unwrap_or_default();
    for (name, value) in &pairs {
        all.insert(known(&flag, name)?, value.trim().into());
    }
    for (name, value) in &args.hyperparameters {
        all.insert(known("--hyperparameter", name)?, value.trim().into());
    }
    if all.len() > MOST {
        let limit = format!("SageMaker takes {MOST} hyperparameters");
        return Err(beyond(
            "--hyperparameter",
            all.len(),
            limit,
            "leave some out",
        ));
    }
    for (name, value) in &all {
        let length = value.chars().count();
        if length > LONGEST {
            let limit = format!("it has {length} characters, and SageMaker takes {LONGEST}");
            let fix = "put long lists into a file in a channel, such as the channel classes";
            return Err(beyond("--hyperparameter", name, limit, fix));
        }
    }
    check(&all, args)?;
    Ok(all)
}

/// The training flag that `name` means.
///
/// # Errors
/// A name that training does not know.
pub fn known(flag: &str, name: &str) -> Result<String, RequestError> {
    canonical_name(name).map_err(|message| {
        RequestError::Rule(format!(
            "{flag}: {message}; sagemaker-burn train --help lists them"
        ))
    })
}

/// Whether training takes these values together, in the job that `args` describe.
///
/// # Errors
/// As those of training.
pub fn check(values: &Hyperparameters, args: &JobArgs) -> Result<(), RequestError> {
    let typed = Layer::from_pairs(Source::CommandLine, values.clone())?;
    // Weights that come through a channel are pretrained ones.
    let is_weights =
        |(name, _): &&(String, String)| ["weights", "pretrained", "model"].contains(&name.as_str());
    let channel = args.channels.iter().find(is_weights);
    let weights = channel.map(|(name, uri)| {
        let pair = ("weights".to_string(), uri.clone());
        Layer::from_pairs(Source::Channel(name.clone()), [pair])
    });
    let layers: Vec<Layer> = [Ok(typed)]
        .into_iter()
        .chain(weights)
        .collect::<Result<_, _>>()?;
    resolve(&layers)?;
    Ok(())
}

/// The `k` of top-k accuracy, which names a metric; `None` for 1.
pub fn top_k(values: &Hyperparameters) -> Option<usize> {
    let typed = values
        .get("top-k")
        .and_then(|text| crate::config::values::count(text).ok());
    typed.or(Some(5)).filter(|k| *k > 1)
}
