//! Amazon S3: data, weights and results that are in a bucket.
//!
//! Input: `s3://bucket/key`. Output: files in a folder, or objects in a bucket. Callers are synchronous; the asynchronous
//! client of AWS runs on threads of its own behind [`Client`]. Addresses and errors are always compiled; without the
//! feature `s3` every [`Client`] call says how to get it.
//!
//! ```text
//! uri ─┬─> listing ──> names (key -> path) ──> download ──> object (one file, continued when cut)
//!      │                                          '──> index (what is here already)
//!      └─> upload ──> multipart (files above 64 MiB)
//! ```

use std::path::PathBuf;

use crate::zoo::Cache;

mod error;
mod transfer;
mod uri;

pub use error::S3Error;
pub use transfer::{address, check_writable, fetch_file, fetch_folder, send_folder};
pub use uri::S3Uri;

#[cfg(feature = "s3")]
mod answer;
#[cfg(feature = "s3")]
mod client;
#[cfg(feature = "s3")]
mod download;
#[cfg(feature = "s3")]
mod environment;
#[cfg(feature = "s3")]
mod etag;
#[cfg(feature = "s3")]
mod index;
#[cfg(feature = "s3")]
mod listing;
#[cfg(feature = "s3")]
mod local;
#[cfg(feature = "s3")]
mod multipart;
#[cfg(feature = "s3")]
mod names;
#[cfg(feature = "s3")]
mod object;
#[cfg(feature = "s3")]
mod parallel;
#[cfg(feature = "s3")]
mod upload;
#[cfg(feature = "s3")]
pub use client::{Client, Keys, Settings};

#[cfg(not(feature = "s3"))]
mod absent;
#[cfg(not(feature = "s3"))]
pub use absent::Client;

/// How far a transfer is. Objects that were there already count as done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Objects that are where they belong.
    pub objects_done: usize,
    /// All objects; grows while they are listed.
    pub objects: usize,
    /// Bytes that are where they belong.
    pub bytes_done: u64,
    /// Bytes of all objects.
    pub bytes: u64,
}

/// What a finished transfer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Synced {
    /// All objects.
    pub objects: usize,
    /// Objects that were transferred, down or up.
    pub downloaded: usize,
    /// Objects that were there already.
    pub kept: usize,
    /// Bytes of the transferred objects.
    pub bytes: u64,
}

/// The folder below a prefix's own in which its objects lie. No object may have this name, so the folder of one prefix
/// is never inside the objects of another: what is deleted from one would stay in the other.
const CACHED_OBJECTS: &str = ".s3-objects";

/// Where the objects of a prefix are kept between runs: `<cache of the zoo>/s3/<bucket>/<prefix>/.s3-objects`.
///
/// # Errors
/// [`S3Error::NoCacheFolder`] if the environment names no place for a cache.
pub fn cache_folder_for(uri: &S3Uri) -> Result<PathBuf, S3Error> {
    let cache = Cache::from_env().map_err(|_| S3Error::NoCacheFolder)?;
    Ok(below(cache.folder().join("s3"), uri))
}

fn below(mut folder: PathBuf, uri: &S3Uri) -> PathBuf {
    folder.push(&uri.bucket);
    // `S3Uri` has no empty, `.` or `..` parts, so this stays below the bucket's folder.
    folder.extend(uri.key.split('/').filter(|part| !part.is_empty()));
    folder.push(CACHED_OBJECTS);
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prefix_has_a_folder_of_its_own() {
        let folder = |uri: &str| below("/cache/s3".into(), &uri.parse().unwrap());
        let path = PathBuf::from;
        assert_eq!(folder("s3://pets"), path("/cache/s3/pets/.s3-objects"));
        assert_eq!(
            folder("s3://pets/dogs/train/"),
            path("/cache/s3/pets/dogs/train/.s3-objects")
        );
        assert!(!folder("s3://pets/dogs").starts_with(folder("s3://pets")));
    }

    #[cfg(not(feature = "s3"))]
    #[test]
    fn a_program_without_the_feature_says_how_to_get_it() {
        let error = Client::connect().err().unwrap().to_string();
        assert!(error.contains("--features s3"), "{error}");
        assert!(error.contains("aws s3 sync"), "{error}");
    }
}
