//! A model that answers.
//!
//! Input: a model directory. Output: [`Served`]: the running network, its classes and its preprocessing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::engine::{Batching, Engine, EngineError, Network};
use super::metrics::Metrics;
use crate::artifact::{Artifact, ArtifactError, Examples, WEIGHTS};
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
    examples: Examples,
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
        let manifest = artifact.manifest.clone();
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
            version: sha256.unwrap_or_default().chars().take(12).collect(),
            architecture: manifest.network.architecture.to_string(),
            created: manifest.created,
            metrics: json!(manifest.metrics),
            classes: manifest.classes,
            preprocess: manifest.preprocess,
            path: artifact.path.clone(),
            // The network that can be trained goes; the one that answers is another.
            examples: artifact.into_examples(),
            engine: Engine::start(network, batching, metrics)?,
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
            "examples": self.examples_by_class(),
        })
    }

    /// Example photos by class index, as addresses.
    fn examples_by_class(&self) -> Value {
        let mut by_class = serde_json::Map::new();
        for (class, name) in self.examples.names() {
            let list = by_class
                .entry(class.to_string())
                .or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(json!(format!("/examples/{name}")));
            }
        }
        Value::Object(by_class)
    }

    /// The bytes of an example photo; `None` for anything that is not one.
    pub fn example(&self, name: &str) -> Option<Vec<u8>> {
        self.examples.read(name).ok()
    }
}
