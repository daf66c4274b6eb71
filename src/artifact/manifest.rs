//! `manifest.json`: everything about a model but its weights.
//!
//! Input and output: the file, and [`Manifest`].

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ArtifactError;
use crate::config::Setting;
use crate::data::Preprocess;
use crate::model::ResNetConfig;

const FORMAT: &str = "sagemaker-burn model 1";

/// A file of the model directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub bytes: u64,
    pub sha256: String,
}

/// What a model directory says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Names this format and its version.
    pub format: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// Version of Burn it was built with.
    pub burn: String,
    /// When, in UTC, RFC 3339.
    pub created: String,
    pub network: ResNetConfig,
    /// In the order of the network's outputs.
    pub classes: Vec<String>,
    /// The same as torchvision's `ImageFolder.class_to_idx`.
    pub class_to_idx: BTreeMap<String, usize>,
    pub preprocess: Preprocess,
    /// Figures of the exported weights, such as `validation:accuracy`.
    pub metrics: BTreeMap<String, f64>,
    /// How it was trained, with the origin of each value.
    pub settings: Vec<Setting>,
    pub files: BTreeMap<String, FileEntry>,
}

impl Manifest {
    /// A manifest of this program, without files.
    pub fn new(
        network: ResNetConfig,
        classes: Vec<String>,
        preprocess: Preprocess,
        metrics: BTreeMap<String, f64>,
        settings: Vec<Setting>,
    ) -> Self {
        let class_to_idx = classes
            .iter()
            .enumerate()
            .map(|(i, name)| (name.clone(), i))
            .collect();
        Manifest {
            format: FORMAT.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            burn: crate::BURN_VERSION.into(),
            created: crate::files::now_utc(),
            network,
            classes,
            class_to_idx,
            preprocess,
            metrics,
            settings,
            files: BTreeMap::new(),
        }
    }

    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// A file that cannot be read, is no manifest, or contradicts itself.
    pub fn read(path: &Path) -> Result<Self, ArtifactError> {
        let text = std::fs::read_to_string(path).map_err(|source| ArtifactError::Io {
            path: path.to_owned(),
            source,
        })?;
        let bad = |message: String| ArtifactError::Manifest {
            path: path.to_owned(),
            message,
        };
        let manifest: Manifest = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        if manifest.format != FORMAT {
            return Err(bad(format!(
                "format `{}`, this version reads `{FORMAT}`",
                manifest.format
            )));
        }
        if manifest.classes.len() != manifest.network.num_classes {
            return Err(bad(format!(
                "{} classes for a network with {} outputs",
                manifest.classes.len(),
                manifest.network.num_classes
            )));
        }
        // A manifest names files of its own folder; anything else would make loading read where it must not.
        if let Some(name) = manifest
            .files
            .keys()
            .find(|name| name.contains(['/', '\\']) || name.as_str() == "..")
        {
            return Err(bad(format!(
                "it lists the file `{name}`, which is not in its folder"
            )));
        }
        Ok(manifest)
    }

    /// Class names as a JSON array, the form in which other files carry them.
    pub fn classes_json(&self) -> String {
        serde_json::json!(self.classes).to_string()
    }

    /// Preprocessing as JSON.
    pub fn preprocess_json(&self) -> String {
        serde_json::json!(self.preprocess).to_string()
    }
}
