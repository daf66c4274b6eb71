//! Files with the same content.
//!
//! Input: the files and their digests. Output: groups of equal files, flagged where they cross splits or classes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::path_text;
use super::scan::{File, Scan};

/// Files that are equal byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
    #[serde(serialize_with = "path_text::all")]
    pub paths: Vec<PathBuf>,
    /// The same picture is trained on and measured with.
    pub across_splits: bool,
    /// The same picture has two labels.
    pub across_classes: bool,
}

/// Groups `files` by content, in the order of their first file. Empty files are left out: they are broken, not equal.
pub(super) fn find(
    files: &[File<'_>],
    scans: &[Scan],
    relative: impl Fn(&Path) -> PathBuf,
) -> Vec<Duplicate> {
    let mut by_digest: HashMap<[u8; 32], Vec<usize>> = HashMap::new();
    for (i, scan) in scans.iter().enumerate() {
        if let Some(digest) = scan.sha256.filter(|_| scan.bytes > 0) {
            by_digest.entry(digest).or_default().push(i);
        }
    }
    let mut groups: Vec<_> = by_digest
        .into_iter()
        .filter(|(_, members)| members.len() > 1)
        .collect();
    groups.sort_unstable_by_key(|(_, members)| members[0]);
    let duplicate = |(digest, members): ([u8; 32], Vec<usize>)| {
        let first = &files[members[0]];
        Duplicate {
            sha256: crate::files::hex(&digest),
            across_splits: members.iter().any(|&i| files[i].split != first.split),
            across_classes: members.iter().any(|&i| files[i].class != first.class),
            paths: members.iter().map(|&i| relative(files[i].path)).collect(),
        }
    };
    groups.into_iter().map(duplicate).collect()
}
