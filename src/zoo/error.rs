//! Why pretrained weights could not be had, each with the way out.

use std::{io, path::PathBuf};

use super::{DownloadError, Entry};

/// Why pretrained weights could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ZooError {
    /// The value of `--weights` is neither a file nor a known name.
    #[error(
        "--weights {given}: no such file and no such name in the model zoo{}; allowed are none, the path of an ONNX file, \
         or one of: {}",
        .suggestion.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default(),
        .names.join(", ")
    )]
    UnknownWeights {
        /// What the user wrote.
        given: String,
        /// The nearest name.
        suggestion: Option<String>,
        /// All names.
        names: Vec<String>,
    },
    /// The value of `--weights` is a folder.
    #[error(
        "--weights {path} is a folder and no model directory (it has no manifest.json); name the weights file in it"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// No home and no other place for the cache.
    #[error(
        "no place to keep pretrained weights: set SAGEMAKER_BURN_CACHE to a folder, or name a file with --weights FILE"
    )]
    NoCacheFolder,
    /// A file of the cache could not be read or written.
    #[error(
        "cannot use {path} in the cache of pretrained weights: {source}; set SAGEMAKER_BURN_CACHE to another folder"
    )]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not in the cache.
    #[error("{name} is not in the cache ({path}); `sagemaker-burn zoo fetch {name}` downloads it")]
    Missing {
        /// The entry's name.
        name: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// The file in the cache is not the one of the manifest.
    #[error(
        "{path} is damaged: {found}, expected {expected}; `sagemaker-burn zoo fetch {name}` replaces it"
    )]
    Damaged {
        /// The entry's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// Its size or sha256.
        found: String,
        /// The manifest's.
        expected: String,
    },
    /// No address delivered the file.
    #[error(
        "cannot download {name}: {source}\n\
         Without a network, do one of these:\n\
         - put the file at {path}\n  \
           address: {url}\n  \
           {bytes} bytes, sha256 {sha256}\n\
         - start from a file of your own: --weights FILE\n\
         - start from random weights: --weights none"
    )]
    Download {
        /// The entry's name.
        name: String,
        /// Where the file is expected.
        path: PathBuf,
        /// The first address.
        url: String,
        /// The file's size.
        bytes: u64,
        /// The file's sha256.
        sha256: String,
        /// What the last address answered.
        source: Box<DownloadError>,
    },
}

impl ZooError {
    /// Names `path` in an input/output error.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// Tells how to do without the download of `entry` that ended in `source`.
    pub(super) fn download(
        entry: &Entry,
        path: PathBuf,
        url: String,
        source: DownloadError,
    ) -> Self {
        Self::Download {
            name: entry.name.clone(),
            path,
            url,
            bytes: entry.bytes,
            sha256: entry.sha256.clone(),
            source: Box::new(source),
        }
    }
}
