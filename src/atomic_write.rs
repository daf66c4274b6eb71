//! Files that are either whole or not there.
//!
//! Input: a path and its new content. Output: the file, replaced in one step, so that neither a crash nor a full disk
//! leaves half of it under its name.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

/// Replaces the file at `path` by `content`.
///
/// # Errors
/// When the folder does not exist or cannot be written. The old file is then untouched.
pub fn atomic_write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".unfinished-")
        .tempfile_in(folder)?;
    file.write_all(content)?;
    readable_by_others(file.as_file())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A temporary file is private to its owner; results are for whoever may look into their folder.
#[cfg(unix)]
fn readable_by_others(file: &File) -> io::Result<()> {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};
    file.set_permissions(Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_others(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a file");
        atomic_write(&path, b"old").unwrap();
        atomic_write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(atomic_write(&folder.path().join("no/file"), b"").is_err());
    }
}
