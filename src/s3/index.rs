//! What a folder holds of a prefix, so that a second run downloads only what is new.
//!
//! Input: paths with the ETags under which they were downloaded. Output: one hidden file in the folder, written whole or
//! not at all. A file that is missing or damaged is an empty index: everything is downloaded again.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::S3Error;
use crate::files::write_atomically;

const FILE: &str = ".s3-index.json";
/// Objects that are not complete yet.
pub(super) const PARTS: &str = ".s3-parts";
pub(super) const LOCK: &str = ".s3-lock";
/// The format below; another one is read as nothing.
const VERSION: u32 = 1;
/// At least so long between two writes, and twenty times as long as a write takes: an index of a million objects is large.
const PAUSE: Duration = Duration::from_secs(3);

/// Whether a file or folder of this name belongs to this program and not to the data.
pub(super) fn is_own(name: &str) -> bool {
    [FILE, PARTS, LOCK, super::CACHED_OBJECTS].contains(&name)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Content {
    version: u32,
    /// The prefix that all is from.
    from: String,
    /// Path to ETag; empty while the download is not finished.
    objects: BTreeMap<String, String>,
}

/// The index of a folder.
pub(super) struct Index {
    path: PathBuf,
    content: Content,
    written: Instant,
    pause: Duration,
}

impl Index {
    /// The index in `folder`, empty if the folder holds another prefix than `from`.
    pub(super) fn open(folder: &Path, from: &str) -> Self {
        let path = folder.join(FILE);
        let content = fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Content>(&bytes).ok())
            .filter(|content| content.version == VERSION && content.from == from);
        Self {
            path,
            content: content.unwrap_or_else(|| Content {
                version: VERSION,
                from: from.into(),
                objects: BTreeMap::new(),
            }),
            written: Instant::now(),
            pause: PAUSE,
        }
    }

    /// The ETag under which `path` was downloaded; empty if it is this program's but unfinished.
    pub(super) fn etag(&self, path: &str) -> Option<&str> {
        self.content.objects.get(path).map(String::as_str)
    }

    /// All paths that this program downloaded or began to.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.content.objects.keys().map(String::as_str)
    }

    /// Notes that `path` will be downloaded: it is this program's, but not to be kept.
    pub(super) fn begin(&mut self, path: &str) {
        self.finish(path, String::new());
    }

    /// Notes that `path` is complete.
    pub(super) fn finish(&mut self, path: &str, etag: String) {
        self.content.objects.insert(path.into(), etag);
    }

    pub(super) fn forget(&mut self, path: &str) {
        self.content.objects.remove(path);
    }

    /// Writes it if the last time is long ago.
    ///
    /// # Errors
    /// As [`Index::write`].
    pub(super) fn write_sometimes(&mut self) -> Result<(), S3Error> {
        if self.written.elapsed() < self.pause {
            return Ok(());
        }
        self.write()
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`S3Error::File`] if it cannot be written; the one before is then still there.
    pub(super) fn write(&mut self) -> Result<(), S3Error> {
        let began = Instant::now();
        serde_json::to_vec(&self.content)
            .map_err(io::Error::from)
            .and_then(|bytes| write_atomically(&self.path, &bytes))
            .map_err(S3Error::file(&self.path))?;
        self.written = Instant::now();
        self.pause = PAUSE.max(20 * began.elapsed());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut index = Index::open(folder.path(), "s3://pets/dogs/");
        index.begin("b");
        index.begin("c");
        index.finish("a/ä", "\"1\"".into());
        index.forget("c");
        index.write().unwrap();
        let again = Index::open(folder.path(), "s3://pets/dogs/");
        assert_eq!(again.paths().collect::<Vec<_>>(), ["a/ä", "b"]);
        assert_eq!(again.etag("a/ä"), Some("\"1\""));
        assert_eq!(again.etag("b"), Some(""));
        assert_eq!(again.etag("c"), None);
    }

    #[test]
    fn an_index_that_says_nothing_of_this_prefix_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let mut index = Index::open(folder.path(), "s3://pets/dogs/");
        index.finish("a", "\"1\"".into());
        index.write().unwrap();
        let other = Index::open(folder.path(), "s3://pets/cats/");
        assert_eq!(other.paths().count(), 0);
        let path = folder.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"version\":1", "\"version\":2")).unwrap();
        assert_eq!(
            Index::open(folder.path(), "s3://pets/dogs/")
                .paths()
                .count(),
            0
        );
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(
            Index::open(folder.path(), "s3://pets/dogs/")
                .paths()
                .count(),
            0
        );
    }
}
