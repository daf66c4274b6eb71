//! The list of known pretrained files, built into the program from `model-zoo/manifest.json`.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::ZooError;

/// The known files.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Zoo {
    models: Vec<Entry>,
}

/// One pretrained file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name for `--weights`.
    pub name: String,
    /// `resnet18`, `resnet34` or `resnet50`, as in `--model`.
    pub architecture: String,
    /// File name in the cache and on a mirror.
    pub file: String,
    /// Size of the file.
    pub bytes: u64,
    /// sha256 of the file, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Published ImageNet top-1 accuracy in percent.
    pub top1_percent: f64,
    /// What became of batch normalisation when the file was exported.
    pub batch_norm: BatchNormKind,
    /// SPDX identifier of the weights' licence.
    pub licence: String,
    /// Who published the file.
    pub source: String,
    /// Addresses, the best first.
    pub urls: Vec<String>,
}

/// How a file carries batch normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchNormKind {
    /// As layers of their own, with running statistics.
    Kept,
    /// Folded into the convolutions.
    Folded,
}

static BUILTIN: LazyLock<Zoo> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../model-zoo/manifest.json"))
        .expect("the manifest is compiled in, and the test `the_manifest_is_sound` parses it")
});

impl Zoo {
    /// The files this version knows.
    #[must_use]
    pub fn builtin() -> &'static Self {
        &BUILTIN
    }

    /// All files, the default first.
    #[must_use]
    pub fn list(&self) -> &[Entry] {
        &self.models
    }

    /// The file to start from for `architecture`, such as `resnet18`.
    #[must_use]
    pub fn default_for(&self, architecture: &str) -> Option<&Entry> {
        self.models
            .iter()
            .find(|entry| entry.architecture == architecture)
    }

    /// The file called `name`; upper and lower case are the same.
    ///
    /// # Errors
    /// [`ZooError::UnknownWeights`] with the nearest name and all names.
    pub fn find(&self, name: &str) -> Result<&Entry, ZooError> {
        let wanted = name.to_ascii_lowercase();
        self.models
            .iter()
            .find(|entry| entry.name == wanted)
            .ok_or_else(|| ZooError::UnknownWeights {
                given: name.into(),
                suggestion: self.nearest(&wanted),
                names: self.models.iter().map(|entry| entry.name.clone()).collect(),
            })
    }

    /// The name that `wanted` may have been meant to be.
    fn nearest(&self, wanted: &str) -> Option<String> {
        // Jaro-Winkler favours a common beginning, which is where `resnet18` and `resnet18-v1-7` agree.
        const ALIKE: f64 = 0.85;
        self.models
            .iter()
            .map(|entry| (strsim::jaro_winkler(&entry.name, wanted), entry))
            .filter(|(likeness, _)| *likeness >= ALIKE)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, entry)| entry.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_sound() {
        let zoo = Zoo::builtin();
        assert_eq!(zoo.list()[0].name, "resnet18-v1-7");
        for entry in zoo.list() {
            assert_eq!(entry.sha256.len(), 64, "{}", entry.name);
            assert!(
                entry
                    .sha256
                    .chars()
                    .all(|c| matches!(c, '0'..='9' | 'a'..='f')),
                "{}",
                entry.name
            );
            assert!(
                entry.bytes > 40_000_000 && entry.top1_percent > 65.0,
                "{}",
                entry.name
            );
            assert_eq!(entry.name, entry.name.to_ascii_lowercase());
            assert!(!entry.file.contains(['/', '\\']), "{}", entry.file);
            for url in &entry.urls {
                assert!(
                    url.starts_with("https://") && url.ends_with(&entry.file),
                    "{url}"
                );
            }
            assert!(!entry.urls.is_empty(), "{}", entry.name);
            assert_eq!(
                zoo.list()
                    .iter()
                    .filter(|other| other.name == entry.name)
                    .count(),
                1
            );
            assert_eq!(
                zoo.list()
                    .iter()
                    .filter(|other| other.file == entry.file)
                    .count(),
                1
            );
        }
    }

    #[test]
    fn each_architecture_has_a_default() {
        for architecture in ["resnet18", "resnet34", "resnet50"] {
            assert_eq!(
                Zoo::builtin()
                    .default_for(architecture)
                    .unwrap()
                    .architecture,
                architecture
            );
        }
        assert_eq!(Zoo::builtin().default_for("vgg16"), None);
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_right_one() {
        let error = Zoo::builtin()
            .find("resnet-34-v1-7")
            .unwrap_err()
            .to_string();
        assert!(error.contains("did you mean `resnet34-v1-7`"), "{error}");
        let error = Zoo::builtin().find("resnet18").unwrap_err().to_string();
        assert!(error.contains("did you mean `resnet18-v1-7`"), "{error}");
        let error = Zoo::builtin().find("vgg").unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
        assert_eq!(
            Zoo::builtin().find("ResNet18-v1-7").unwrap().name,
            "resnet18-v1-7"
        );
    }
}
