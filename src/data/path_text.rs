//! Paths in JSON. Serde refuses paths that are not UTF-8, and one odd file name must not cost the whole report.
//!
//! Input: paths. Output: text, with a replacement character where a name is not UTF-8.

use std::path::{Path, PathBuf};

use serde::Serializer;

/// For `#[serde(serialize_with)]` on a path.
pub fn one<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// For `#[serde(serialize_with)]` on a list of paths.
pub fn all<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}
