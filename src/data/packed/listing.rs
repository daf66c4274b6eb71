//! The files of one kind in a folder.
//!
//! Input: a folder and an extension. Output: the files that lie in the folder itself, in natural order.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::PackedError;
use super::recordio::unreadable;
use crate::data::natural;

/// Visible files of `folder` whose names end in `.extension`, in upper or lower case. Folders below are not searched.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, PackedError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| unreadable(folder, source))? {
        let path = entry.map_err(|source| unreadable(folder, source))?.path();
        let name = path.file_name().unwrap_or_default();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        let is_kind = path
            .extension()
            .is_some_and(|found| found.eq_ignore_ascii_case(extension));
        if is_kind && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort_by(|a, b| {
        natural::compare(
            a.file_name().unwrap_or_default(),
            b.file_name().unwrap_or_default(),
        )
    });
    Ok(files)
}
