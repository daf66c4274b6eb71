//! Pretrained weights: which files exist, where they are kept and how they get there.
//!
//! Input: what the user says after `--weights`, and `model-zoo/manifest.json`. Output: the path of a file whose size and
//! sha256 are the manifest's. A file is only ever trusted by its sha256, so its address may be a mirror's.

mod cache;
mod download;
mod error;
mod manifest;

pub use cache::{Cache, Progress, progress_bar};
pub use download::DownloadError;
pub use error::ZooError;
pub use manifest::{BatchNormKind, Entry, Zoo};

use std::path::{Path, PathBuf};

use crate::artifact;
use crate::model::Architecture;

/// What training starts from.
#[derive(Debug, Clone, PartialEq)]
pub enum Weights {
    /// A file of the user's.
    File(PathBuf),
    /// A model directory that this program wrote, or one in an archive.
    Model(PathBuf),
    /// A file of the model zoo, perhaps not yet downloaded.
    Zoo(&'static Entry),
    /// Random initialisation.
    None,
}

/// Understands the value of `--weights`: `none`, a file, a model directory or `model.tar.gz`, or a name of the model zoo.
///
/// A file goes before a name; write `./none` for a file called `none`.
///
/// # Errors
/// [`ZooError::Folder`] for a folder, [`ZooError::UnknownWeights`] with the known names for anything else.
pub fn resolve(weights: &str) -> Result<Weights, ZooError> {
    if weights.eq_ignore_ascii_case("none") {
        return Ok(Weights::None);
    }
    let path = Path::new(weights);
    if artifact::is_model(path) {
        return Ok(Weights::Model(path.into()));
    }
    if path.is_dir() {
        return Err(ZooError::Folder { path: path.into() });
    }
    if path.exists() {
        return Ok(Weights::File(path.into()));
    }
    Zoo::builtin().find(weights).map(Weights::Zoo)
}

/// The file to start from for `architecture` when nothing is said: `<architecture>.onnx` in the cache, which is how a container
/// image brings weights of one's own, else the zoo's.
///
/// # Errors
/// [`ZooError::UnknownWeights`] where the zoo holds none; a test makes sure that it holds one for each.
pub fn default_for(architecture: Architecture) -> Result<Weights, ZooError> {
    default_in(Cache::from_env().ok().as_ref(), architecture)
}

fn default_in(cache: Option<&Cache>, architecture: Architecture) -> Result<Weights, ZooError> {
    let own = cache.and_then(|cache| cache.own_default(architecture.name()));
    match (own, Zoo::builtin().default_for(architecture.name())) {
        (Some(file), _) => Ok(Weights::File(file)),
        (None, Some(entry)) => Ok(Weights::Zoo(entry)),
        (None, None) => resolve(architecture.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_none_a_file_or_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("my weights.onnx");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(resolve("None").unwrap(), Weights::None);
        assert_eq!(
            resolve(file.to_str().unwrap()).unwrap(),
            Weights::File(file)
        );
        let Weights::Zoo(entry) = resolve("resnet34-v1-7").unwrap() else {
            panic!("not from the zoo")
        };
        assert_eq!(entry.architecture, "resnet34");
    }

    #[test]
    fn every_architecture_has_a_default() {
        for architecture in Architecture::ALL {
            assert!(
                matches!(default_in(None, architecture), Ok(Weights::Zoo(_))),
                "{architecture}"
            );
        }
    }

    #[test]
    fn a_file_of_ones_own_in_the_cache_goes_before_the_zoo() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let own = folder.path().join("resnet34.onnx");
        std::fs::write(&own, "x").unwrap();
        let default = |architecture| default_in(Some(&cache), architecture).unwrap();
        assert_eq!(default(Architecture::Resnet34), Weights::File(own));
        assert!(matches!(default(Architecture::Resnet18), Weights::Zoo(_)));
    }

    #[test]
    fn a_folder_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = resolve(folder.path().to_str().unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("is a folder") && error.contains("--weights"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_is_an_error_that_lists_the_names() {
        let error = resolve("no/such/file.onnx").unwrap_err().to_string();
        assert!(
            error.contains("no/such/file.onnx") && error.contains("resnet18-v1-7"),
            "{error}"
        );
        assert!(error.contains("none"), "{error}");
    }
}
