//! The model directory: what training leaves and every later step starts from.
//!
//! ```text
//! model/
//!   manifest.json       classes, preprocessing, network, metrics, settings, sha256 of the other files
//!   model.safetensors   weights under torchvision's names
//!   model.onnx          the same network for other runtimes: input `input` [batch,3,H,W], output `logits`
//!   examples/           small photos of each class, to show beside predictions; may be missing
//! ```
//!
//! Input: a trained network and what is known about it. Output: the directory, and back again as an [`Artifact`].
//! Preprocessing is data that travels with the weights, so training and prediction cannot drift apart.

mod archive;
mod examples;
mod manifest;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use tempfile::TempDir;

pub use examples::{EXAMPLES, SavedExamples, example_name, is_example_name, save_examples};
pub use manifest::{FileEntry, Manifest};

use crate::files::sha256_of;
use crate::model::onnx::{ExportError, ExportOptions, export};
use crate::model::{
    ResNet, StateDictError, WeightsFileError, read_safetensors, state_dict, write_safetensors,
};

/// Name of the description of a model directory.
pub const MANIFEST: &str = "manifest.json";
/// Name of its weights.
pub const WEIGHTS: &str = "model.safetensors";
/// Name of its ONNX file.
pub const ONNX: &str = "model.onnx";

/// A model directory that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path}: no model here; expected a directory with {MANIFEST}, such as runs/train-1/model"
    )]
    NotAModel { path: PathBuf },
    #[error(
        "{path}: not a readable manifest ({message}); copy the model directory again or train again"
    )]
    Manifest { path: PathBuf, message: String },
    #[error(
        "{path}: the file is damaged (sha256 {found}, the manifest says {expected}); copy the model directory again"
    )]
    Damaged {
        path: PathBuf,
        expected: String,
        found: String,
    },
    #[error("{path}: the file that {MANIFEST} lists is missing; copy the model directory again")]
    Missing { path: PathBuf },
    #[error("{path}: not usable as model.tar.gz: {message}")]
    Archive { path: PathBuf, message: String },
    #[error(transparent)]
    WeightsFile(#[from] WeightsFileError),
    #[error("{path}: {source}")]
    Weights {
        path: PathBuf,
        source: StateDictError,
    },
    #[error(transparent)]
    Onnx(#[from] ExportError),
}

/// A model that was read back.
#[derive(Debug)]
pub struct Artifact {
    pub manifest: Manifest,
    /// On the device that was asked for, without gradients.
    pub model: ResNet,
    pub path: PathBuf,
    /// Where an archive was unpacked, as long as somebody may ask for its examples.
    unpacked: Option<TempDir>,
}

/// Writes a model directory. The manifest comes last: a directory without one is not a model, so a crash half-way can
/// never leave something that looks whole. `manifest.files` is filled in here.
///
/// # Errors
/// The directory cannot be written.
pub fn save(
    folder: &Path,
    model: &ResNet,
    mut manifest: Manifest,
) -> Result<Manifest, ArtifactError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| ArtifactError::Io { path, source }
    };
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let manifest_path = folder.join(MANIFEST);
    match std::fs::remove_file(&manifest_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(at(&manifest_path)(error));
        }
        _ => {}
    }
    let metadata = HashMap::from([("classes".to_string(), manifest.classes_json())]);
    write_safetensors(&folder.join(WEIGHTS), &state_dict(model), &metadata)?;
    write_onnx(&folder.join(ONNX), model, &manifest, false)?;
    manifest.files = BTreeMap::new();
    for name in [WEIGHTS, ONNX] {
        let path = folder.join(name);
        let bytes = std::fs::metadata(&path).map_err(at(&path))?.len();
        let sha256 = sha256_of(&path).map_err(at(&path))?;
        manifest
            .files
            .insert(name.to_string(), FileEntry { bytes, sha256 });
    }
    let text = serde_json::to_string_pretty(&manifest).map_err(|e| ArtifactError::Manifest {
        path: manifest_path.clone(),
        message: e.to_string(),
    })?;
    crate::files::write_atomically(&manifest_path, text.as_bytes()).map_err(at(&manifest_path))?;
    Ok(manifest)
}

/// Writes the network as ONNX, with class names and preprocessing in its metadata.
///
/// # Errors
/// The file cannot be written.
pub fn write_onnx(
    path: &Path,
    model: &ResNet,
    manifest: &Manifest,
    fold_batch_norm: bool,
) -> Result<(), ArtifactError> {
    let options = ExportOptions {
        image_size: Some([manifest.preprocess.crop as usize; 2]),
        metadata: BTreeMap::from([
            ("classes".into(), manifest.classes_json()),
            ("preprocess".into(), manifest.preprocess_json()),
        ]),
        fold_batch_norm,
        ..Default::default()
    };
    Ok(export(model, path, &options)?)
}

impl Artifact {
    /// Reads a model directory, the `model/` inside a run folder or a `model.tar.gz` of SageMaker, and checks every file against the manifest.
    ///
    /// # Errors
    /// Anything missing, damaged or not a model directory, named with its path.
    pub fn load(path: &Path, device: &Device) -> Result<Self, ArtifactError> {
        Self::read(path, device, |_| true)
    }

    /// The same, but looks at no file except the weights, which is all that an endpoint waits for.
    ///
    /// # Errors
    /// The same.
    pub fn load_weights(path: &Path, device: &Device) -> Result<Self, ArtifactError> {
        Self::read(path, device, |name| name == WEIGHTS)
    }

    /// Reads a model after checking those of its files that `checked` says.
    fn read(
        path: &Path,
        device: &Device,
        checked: fn(&str) -> bool,
    ) -> Result<Self, ArtifactError> {
        if archive::is_archive(path) {
            let unpacked = archive::unpack(path)?;
            let model = Self::read(unpacked.path(), device, checked)?;
            // They were read, and a server may live for weeks.
            for name in [WEIGHTS, ONNX] {
                let _ = std::fs::remove_file(unpacked.path().join(name));
            }
            return Ok(Artifact {
                path: path.to_owned(),
                unpacked: Some(unpacked),
                ..model
            });
        }
        let folder = locate(path)?;
        let manifest = Manifest::read(&folder.join(MANIFEST))?;
        for (name, entry) in manifest.files.iter().filter(|(name, _)| checked(name)) {
            let file = folder.join(name);
            check_file(&file, entry)?;
        }
        let weights = folder.join(WEIGHTS);
        if !manifest.files.contains_key(WEIGHTS) {
            let message = format!("it lists no {WEIGHTS}");
            return Err(ArtifactError::Manifest {
                path: folder.join(MANIFEST),
                message,
            });
        }
        let (tensors, _) = read_safetensors(&weights)?;
        let model =
            ResNet::from_state_dict(&manifest.network, tensors, device).map_err(|source| {
                ArtifactError::Weights {
                    path: weights,
                    source,
                }
            })?;
        Ok(Artifact {
            manifest,
            model,
            path: folder,
            unpacked: None,
        })
    }

    /// The bytes of the `n`th example photo of a class, counted from 1. Nothing checked them.
    ///
    /// # Errors
    /// No such file, or none that an example can be.
    pub fn example(&self, class: usize, n: usize) -> io::Result<Vec<u8>> {
        examples::read_example(self.folder(), &example_name(class, n))
    }

    /// Where its files lie: an archive's where it was unpacked.
    fn folder(&self) -> &Path {
        self.unpacked
            .as_ref()
            .map_or(&self.path, |folder| folder.path())
    }

    /// Gives up the network and keeps what a server shows beside its answers.
    pub fn into_examples(self) -> Examples {
        Examples {
            folder: self.folder().to_owned(),
            counts: self.manifest.examples,
            _unpacked: self.unpacked,
        }
    }
}

/// The example photos of a model directory.
#[derive(Debug)]
pub struct Examples {
    counts: Vec<usize>,
    folder: PathBuf,
    /// Where an archive was unpacked, as long as somebody may ask.
    _unpacked: Option<TempDir>,
}

impl Examples {
    /// Class index and file name of each photo that the manifest counts.
    pub fn names(&self) -> impl Iterator<Item = (usize, String)> {
        let counts = self.counts.iter().enumerate();
        counts.flat_map(|(class, count)| (1..=*count).map(move |n| (class, example_name(class, n))))
    }

    /// The bytes of the photo with this file name. Nothing checked them: they are whatever lies there.
    ///
    /// # Errors
    /// No name of an example, no such file, or none that an example can be.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        examples::read_example(&self.folder, name)
    }
}

/// Whether `path` is something that [`Artifact::load`] would try to read.
pub fn is_model(path: &Path) -> bool {
    archive::is_archive(path) || locate(path).is_ok()
}

/// The model directory that `path` means: itself or its `model/`.
fn locate(path: &Path) -> Result<PathBuf, ArtifactError> {
    let candidates = [path.to_owned(), path.join("model")];
    let found = candidates
        .into_iter()
        .find(|folder| folder.join(MANIFEST).is_file());
    found.ok_or_else(|| ArtifactError::NotAModel {
        path: path.to_owned(),
    })
}

fn check_file(path: &Path, entry: &FileEntry) -> Result<(), ArtifactError> {
    let found = sha256_of(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ArtifactError::Missing {
            path: path.to_owned(),
        },
        _ => ArtifactError::Io {
            path: path.to_owned(),
            source,
        },
    })?;
    match found == entry.sha256 {
        true => Ok(()),
        false => Err(ArtifactError::Damaged {
            path: path.to_owned(),
            expected: entry.sha256.clone(),
            found,
        }),
    }
}
