//! Writing files so that a crash leaves the old one or the new one, never half of either.
//!
//! Input: bytes and a final name. Output: the file, written to a temporary name beside it, synced, then renamed.

use std::io::{self, Write};
use std::path::Path;

/// Writes `bytes` under `path`.
///
/// # Errors
/// The folder is missing, not writable or full; the file that was there before is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    share(file.as_file())?;
    file.persist(path)?;
    Ok(())
}

/// Temporary files are private by default; what a run leaves behind follows the usual rules.
#[cfg(unix)]
fn share(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn share(_file: &std::fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_file_and_leaves_no_temporary_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        assert!(write_atomically(Path::new("/no/such/folder/a"), b"").is_err());
    }
}
