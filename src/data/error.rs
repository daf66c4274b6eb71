//! What can be wrong with a data set, each with the path or name at fault and the way out.

use std::path::PathBuf;

use super::decode::DecodeError;
use super::folder::EXTENSIONS;
use super::packed::PackedError;

/// An error of the data room. Class names are shown quoted: they may have spaces, or dots at their end.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error(
        "no such folder: {path}; give the folder that holds train/ and valid/, or one folder per class"
    )]
    Missing { path: PathBuf },
    #[error("{path} is a file; a data set is a folder with one folder of images per class")]
    NotAFolder { path: PathBuf },
    #[error("cannot read {path}: {source}; check that the file exists and its permissions")]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{path} has no class folders{}; put the images of each class in a folder named after the class",
        loose(*.loose_images)
    )]
    NoClasses { path: PathBuf, loose_images: usize },
    #[error("no images in {path} or its class folders; supported extensions: {}", EXTENSIONS.join(" "))]
    NoImages { path: PathBuf },
    #[error("class {class:?} has no images in {path}; add some or remove the folder; supported extensions: {}", EXTENSIONS.join(" "))]
    EmptyClass { class: String, path: PathBuf },
    #[error(
        "{path} has only one class ({class:?}); a classifier needs two; if the class folders lie inside it, give that folder instead"
    )]
    OneClass { class: String, path: PathBuf },
    #[error("two folders in {path} have the same name {class:?} once read as UTF-8; rename one")]
    ClassNameClash { class: String, path: PathBuf },
    #[error(
        "class {class:?} in {path} is not one of the {known} known classes; remove the folder or add the class to the training data"
    )]
    UnknownClass {
        class: String,
        path: PathBuf,
        known: usize,
    },
    #[error(
        "class {class:?} is missing from {path}; add images of it there, or remove the class from the training data"
    )]
    MissingClass { class: String, path: PathBuf },
    #[error("{first} and {second} both look like the {split} split; rename or remove one")]
    AmbiguousSplit {
        split: &'static str,
        first: PathBuf,
        second: PathBuf,
    },
    #[error("{path} has a {found:?} folder but no train folder; add one named train (or training)")]
    NoTrainFolder { path: PathBuf, found: String },
    #[error(
        "class {class:?} in {path} has one image, and a split needs two (one to train, one to validate); add images or remove the class"
    )]
    SingleImageClass { class: String, path: PathBuf },
    #[error("valid fraction {value} is not between 0 and 1; a common value is 0.2")]
    ValidFraction { value: f64 },
    #[error(
        "--max-train-samples {samples} is less than the number of classes ({classes}); every class needs at least one image"
    )]
    TooFewSamples { samples: usize, classes: usize },
    #[error(
        "broken image {path}: {source}; remove or replace the file, or run without --strict to skip it"
    )]
    BrokenImage { path: PathBuf, source: DecodeError },
    #[error("none of the {images} images could be read; the first, {path}: {reason}")]
    AllBroken {
        images: usize,
        path: PathBuf,
        reason: String,
    },
    #[error(
        "a loader thread failed on {path}: {message}; this is a bug, please report it with the file"
    )]
    WorkerPanicked { path: PathBuf, message: String },
    #[error("cannot start a loader thread: {source}; lower --workers")]
    Spawn { source: std::io::Error },
    #[error("--classes {given}: {message}")]
    ClassList { given: String, message: String },
    #[error("preprocessing is invalid: {reason}")]
    Preprocess { reason: String },
    #[error(transparent)]
    Packed(#[from] PackedError),
}

/// What lies in a folder without class folders.
fn loose(images: usize) -> String {
    match images {
        0 => String::new(),
        1 => " (one image lies loose in it)".into(),
        n => format!(" ({n} images lie loose in it)"),
    }
}
