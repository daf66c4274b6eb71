//! Stands in for the S3 client in a program that was built without the feature `s3`.
//!
//! Input: the same calls. Output: [`S3Error::NotBuilt`], which says how to get S3 or do without.

use std::path::{Path, PathBuf};

use super::{Progress, S3Error, S3Uri, Synced};

/// The S3 client, which this program was built without.
#[derive(Debug)]
pub struct Client {
    _private: (),
}

impl Client {
    /// Would connect.
    ///
    /// # Errors
    /// Always [`S3Error::NotBuilt`].
    pub fn connect() -> Result<Self, S3Error> {
        Err(S3Error::NotBuilt)
    }

    /// Would download what is below a prefix.
    ///
    /// # Errors
    /// Always [`S3Error::NotBuilt`].
    pub fn download_folder(
        &self,
        _from: &S3Uri,
        _folder: &Path,
        _on_progress: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Option<Synced>, S3Error> {
        Err(S3Error::NotBuilt)
    }

    /// Would download one object.
    ///
    /// # Errors
    /// Always [`S3Error::NotBuilt`].
    pub fn download_file(
        &self,
        _from: &S3Uri,
        _folder: &Path,
        _on_progress: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Option<PathBuf>, S3Error> {
        Err(S3Error::NotBuilt)
    }

    /// Would upload a folder.
    ///
    /// # Errors
    /// Always [`S3Error::NotBuilt`].
    pub fn upload_folder(
        &self,
        _folder: &Path,
        _to: &S3Uri,
        _on_progress: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Option<Synced>, S3Error> {
        Err(S3Error::NotBuilt)
    }

    /// Would check that objects may be written.
    ///
    /// # Errors
    /// Always [`S3Error::NotBuilt`].
    pub fn upload_check(&self, _to: &S3Uri) -> Result<(), S3Error> {
        Err(S3Error::NotBuilt)
    }
}
