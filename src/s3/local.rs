//! The local side of a transfer: one process at a time in a folder, no litter, and what is there to upload.
//!
//! Input: a folder. Output: a lock on it, or the files in it.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{
    S3Error, S3Uri, index,
    parallel::{Meter, OnProgress, while_wanted},
};

/// A folder that this process alone downloads into, with a place for unfinished files that goes with it.
pub(super) struct Folder {
    path: PathBuf,
    parts: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder and waits until no other process downloads into it; `None` if `on_progress` ended the waiting.
    ///
    /// # Errors
    /// [`S3Error::File`] if it cannot be written to.
    pub(super) async fn open(
        path: &Path,
        from: &S3Uri,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Option<Self>, S3Error> {
        fs::create_dir_all(path).map_err(S3Error::file(path))?;
        let lock_path = path.join(index::LOCK);
        let file = File::create(&lock_path).map_err(S3Error::file(&lock_path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                tracing::info!("another process is downloading {from}; waiting for it");
                let free = async {
                    while let Err(TryLockError::WouldBlock) = file.try_lock() {
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                };
                if while_wanted(free, &Meter::default(), on_progress)
                    .await
                    .is_none()
                {
                    return Ok(None);
                }
            }
            // Some network file systems have no locks. Files still appear only when they are whole.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(S3Error::file(lock_path)(error)),
        }
        let parts = path.join(index::PARTS);
        // What a killed process left.
        let _ = fs::remove_dir_all(&parts);
        fs::create_dir_all(&parts).map_err(S3Error::file(&parts))?;
        Ok(Some(Self {
            path: path.into(),
            parts,
            _lock: file,
        }))
    }

    /// Where file number `number` grows.
    pub(super) fn part(&self, number: usize) -> PathBuf {
        self.parts.join(number.to_string())
    }

    /// Where the object with this relative path goes.
    pub(super) fn file(&self, relative: &str) -> PathBuf {
        self.path.join(relative)
    }

    /// Bytes of the file at `relative`, if there is one.
    pub(super) fn bytes(&self, relative: &str) -> Option<u64> {
        let metadata = fs::metadata(self.file(relative)).ok()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// Removes a file, and the folders that are empty without it: a folder is a class of images.
    ///
    /// # Errors
    /// [`S3Error::File`] if it is there and stays.
    pub(super) fn remove(&self, relative: &str) -> Result<(), S3Error> {
        let path = self.file(relative);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(S3Error::file(path)(error));
            }
            _ => {}
        }
        let mut folder = path.parent();
        while let Some(path) = folder.filter(|path| *path != self.path) {
            if fs::remove_dir(path).is_err() {
                break;
            }
            folder = path.parent();
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.parts);
    }
}

/// A file to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) path: PathBuf,
    /// Relative to the folder, with `/` between its parts.
    pub(super) relative: String,
    pub(super) bytes: u64,
}

/// All files below `folder` in the order of their names, without hidden and temporary ones.
///
/// # Errors
/// [`S3Error::File`] for what cannot be read, [`S3Error::FileName`] for a name that is not Unicode.
pub(super) fn files(folder: &Path) -> Result<Vec<Local>, S3Error> {
    let mut found = Vec::new();
    collect(folder, "", &mut found)?;
    found.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok(found)
}

fn collect(folder: &Path, start: &str, found: &mut Vec<Local>) -> Result<(), S3Error> {
    for entry in fs::read_dir(folder).map_err(S3Error::file(folder))? {
        let entry = entry.map_err(S3Error::file(folder))?;
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(S3Error::FileName { path });
        };
        if name.starts_with('.') || is_temporary(name) {
            continue;
        }
        let kind = entry.file_type().map_err(S3Error::file(&path))?;
        if kind.is_dir() {
            collect(&path, &format!("{start}{name}/"), found)?;
            continue;
        }
        let metadata = fs::metadata(&path).map_err(S3Error::file(&path))?;
        if metadata.is_file() {
            found.push(Local {
                relative: format!("{start}{name}"),
                bytes: metadata.len(),
                path,
            });
        } else {
            // A folder behind a link may lead back here; a pipe has no end.
            tracing::warn!("{} is not uploaded: it is no regular file", path.display());
        }
    }
    Ok(())
}

fn is_temporary(name: &str) -> bool {
    name.ends_with('~') || name.ends_with(".tmp") || name.ends_with(".part")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_temporary_files_stay_here() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/c.txt", "a", ".tmp-1", "x.tmp", "y.part", "z~", ".git/d"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"abc").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        let names: Vec<_> = files(folder.path())
            .unwrap()
            .into_iter()
            .map(|file| (file.relative, file.bytes))
            .collect();
        assert_eq!(names, [("a".into(), 3), ("b/c.txt".into(), 3)]);
    }

    #[test]
    fn an_empty_class_goes_with_its_last_image() {
        let root = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let from = "s3://pets".parse().unwrap();
        let opened = runtime.block_on(Folder::open(root.path(), &from, &mut |_| true));
        let folder = opened.unwrap().unwrap();
        fs::create_dir_all(folder.file("a/b")).unwrap();
        fs::write(folder.file("a/b/1"), b"").unwrap();
        fs::write(folder.file("a/2"), b"").unwrap();
        folder.remove("a/b/1").unwrap();
        assert!(!folder.file("a/b").exists());
        assert_eq!(folder.bytes("a/2"), Some(0));
        folder.remove("a/2").unwrap();
        folder.remove("never/there").unwrap();
        assert!(!folder.file("a").exists());
        assert!(root.path().exists());
        drop(folder);
        assert!(!root.path().join(index::PARTS).exists());
    }
}
