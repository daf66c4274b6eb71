//! A model that answers.
//!
//! Input: a model directory. Output: [`Served`]: the running network, its classes and its preprocessing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::engine::{Batching, Engine, EngineError, Network};
use super::metrics::Metrics;
use crate::artifact::{Artifact, ArtifactError, WEIGHTS};
use crate::data::Preprocess;
use crate::device::Selected;

/// A model in memory.
pub struct Served {
    pub engine: Engine,
    pub classes: Vec<String>,
    pub preprocess: Preprocess,
    /// The first digits of the weights' sha256.
    pub version: String,
    pub architecture: String,
    pub created: String,
    /// Where it came from.
    pub path: PathBuf,
    metrics: Value,
}

/// Why a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Served {
    /// Reads the model directory `path`, checks its weights against the manifest and warms the network up.
    ///
    /// # Errors
    /// A directory that is missing or damaged, a network that does not run.
    pub fn load(
        path: &Path,
        device: &Selected,
        batching: Batching,
        metrics: Arc<Metrics>,
    ) -> Result<Self, LoadError> {
        let artifact = Artifact::load_weights(path, &device.device)?;
        let manifest = artifact.manifest;
        let network = Network {
            network: artifact.model.fused(),
            device: device.device.clone(),
            side: manifest.preprocess.crop as usize,
        };
        let sha256 = manifest
            .files
            .get(WEIGHTS)
            .map(|entry| entry.sha256.as_str());
        Ok(Served {
            engine: Engine::start(network, batching, metrics)?,
            version: sha256.unwrap_or_default().chars().take(12).collect(),
            architecture: manifest.network.architecture.to_string(),
            created: manifest.created,
            metrics: json!(manifest.metrics),
            classes: manifest.classes,
            preprocess: manifest.preprocess,
            path: artifact.path,
        })
    }

    /// What the page for people wants to know of it.
    pub fn describe(&self) -> Value {
        json!({
            "classes": self.classes,
            "architecture": self.architecture,
            "version": self.version,
            "created": self.created,
            "metrics": self.metrics,
            "examples": self.examples(),
        })
    }

    /// Example photos by class index, as addresses.
    fn examples(&self) -> Value {
        let mut by_class = serde_json::Map::new();
        let entries = std::fs::read_dir(self.path.join("examples"));
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_example(name))
            .collect();
        names.sort();
        for name in names {
            let index = name[..4].trim_start_matches('0');
            let index = if index.is_empty() { "0" } else { index };
            let list = by_class.entry(index).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(json!(format!("/examples/{name}")));
            }
        }
        Value::Object(by_class)
    }

    /// The bytes of an example photo; `None` for anything that is not one.
    pub fn example(&self, name: &str) -> Option<Vec<u8>> {
        match is_example(name) {
            true => std::fs::read(self.path.join("examples").join(name)).ok(),
            false => None,
        }
    }
}

/// `<class index, 4 digits>-<number>.jpg`, and nothing that could leave the folder.
fn is_example(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts = name
        .strip_suffix(".jpg")
        .and_then(|stem| stem.split_once('-'));
    parts.is_some_and(|(class, number)| class.len() == 4 && digits(class) && digits(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_examples_are_examples() {
        assert!(is_example("0003-1.jpg") && is_example("0120-12.jpg"));
        for other in [
            "../0003-1.jpg",
            "0003-1.png",
            "3-1.jpg",
            "0003-.jpg",
            "0003-1.jpg/..",
            "manifest.json",
        ] {
            assert!(!is_example(other), "{other}");
        }
    }
}
