//! Which file an object of a prefix becomes.
//!
//! Input: keys. Output: paths relative to the folder, none of which leaves it and no two of which are one file.

use std::collections::BTreeMap;

use super::{S3Error, S3Uri, index};

/// The path of `key` below the folder of `prefix`, with `/` between its parts; `None` where the object is no file: the
/// marker of a folder, or a file that this program keeps for itself.
///
/// # Errors
/// [`S3Error::Key`] for a key that would leave the folder or cannot be a path.
pub(super) fn relative(
    from: &S3Uri,
    prefix: &str,
    key: &str,
    bytes: u64,
) -> Result<Option<String>, S3Error> {
    let wrong = |reason: &str| S3Error::Key {
        uri: from.with_key(key),
        reason: reason.into(),
    };
    if key.ends_with('/') && bytes == 0 {
        return Ok(None);
    }
    let Some(path) = key.strip_prefix(prefix) else {
        return Err(wrong("it is not below the prefix"));
    };
    for part in path.split('/') {
        match part {
            "" => return Err(wrong("it has an empty part between slashes")),
            "." | ".." => return Err(wrong("`.` or `..` would leave the folder")),
            _ if part.contains('\0') => return Err(wrong("it has a zero byte")),
            _ if cfg!(windows) && part.contains(['\\', ':']) => {
                return Err(wrong("a backslash or colon would leave the folder"));
            }
            _ => {}
        }
    }
    if path.split('/').any(index::is_own) {
        tracing::warn!("{} is skipped: its name is reserved", from.with_key(key));
        return Ok(None);
    }
    Ok(Some(path.into()))
}

/// Refuses two objects that would be one file, and an object that would be a file where another needs a folder.
///
/// # Errors
/// [`S3Error::Clash`] with both.
pub(super) fn check_clashes<'a>(
    from: &S3Uri,
    prefix: &str,
    paths: impl Iterator<Item = &'a str>,
) -> Result<(), S3Error> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for path in paths {
        if let Some(other) = seen.insert(identity(path), path) {
            return Err(clash(from, prefix, other, path));
        }
    }
    for path in seen.keys() {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        for folder in folders {
            if let Some(other) = seen.get(folder) {
                return Err(clash(from, prefix, other, seen[path]));
            }
        }
    }
    Ok(())
}

fn clash(from: &S3Uri, prefix: &str, first: &str, second: &str) -> S3Error {
    S3Error::Clash {
        first: from.with_key(format!("{prefix}{first}")),
        second: from.with_key(format!("{prefix}{second}")),
    }
}

/// What tells files apart here: on most file systems of macOS and Windows `A` is `a`.
fn identity(path: &str) -> String {
    if cfg!(any(target_os = "macos", windows)) {
        path.to_lowercase()
    } else {
        path.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from() -> S3Uri {
        "s3://pets/dogs".parse().unwrap()
    }

    fn path(key: &str) -> Result<Option<String>, String> {
        relative(&from(), "dogs/", key, 5).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_a_path_below_the_prefix() {
        for name in ["a.jpg", "train/a b.jpg", "ä/+ %20.jpg", "...", ".hidden"] {
            assert_eq!(path(&format!("dogs/{name}")), Ok(Some(name.into())));
        }
        assert_eq!(relative(&from(), "", "a/b", 1).unwrap(), Some("a/b".into()));
    }

    #[test]
    fn markers_of_folders_and_own_files_are_no_files() {
        assert_eq!(relative(&from(), "dogs/", "dogs/", 0).unwrap(), None);
        assert_eq!(relative(&from(), "dogs/", "dogs/x/", 0).unwrap(), None);
        assert_eq!(path("dogs/.s3-index.json"), Ok(None));
        assert_eq!(path("dogs/x/.s3-parts/1"), Ok(None));
    }

    #[test]
    fn a_key_that_would_leave_the_folder_is_refused_by_name() {
        for key in [
            "dogs/../x",
            "dogs/./x",
            "dogs//etc/passwd",
            "dogs/a//b",
            "dogs/a/..",
            "dogs/a/",
            "dogs/a\0b",
            "cats/a",
        ] {
            let error = path(key).unwrap_err();
            assert!(
                error.contains(&format!("s3://pets/{key} cannot")),
                "{error}"
            );
        }
    }

    #[test]
    fn two_objects_for_one_file_are_refused_by_name() {
        let check = |paths: &[&str]| {
            check_clashes(&from(), "dogs/", paths.iter().copied()).map_err(|e| e.to_string())
        };
        assert_eq!(check(&["a", "b/a", "b/b", "ab", "b.c"]), Ok(()));
        for paths in [["a", "a"], ["a", "a/b/c"], ["x/a/b", "x/a"]] {
            let error = check(&paths).unwrap_err();
            for name in paths {
                assert!(
                    error.contains(&format!("s3://pets/dogs/{name} ")),
                    "{error}"
                );
            }
        }
    }
}
