//! Files with the same content.
//!
//! Input: the files and their digests. Output: groups of equal files, flagged where they cross splits or classes.

use std::collections::HashMap;
use std::hash::Hash;
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

/// Positions of equal keys, each key that occurs more than once, in the order of their first position.
pub(in crate::data) fn equal<K: Eq + Hash>(
    keys: impl Iterator<Item = Option<K>>,
) -> Vec<(K, Vec<usize>)> {
    let mut by_key: HashMap<K, Vec<usize>> = HashMap::new();
    for (position, key) in keys.enumerate() {
        if let Some(key) = key {
            by_key.entry(key).or_default().push(position);
        }
    }
    let mut groups: Vec<_> = by_key
        .into_iter()
        .filter(|(_, members)| members.len() > 1)
        .collect();
    groups.sort_unstable_by_key(|(_, members)| members[0]);
    groups
}

/// Groups `files` by content, in the order of their first file. Empty files are left out: they are broken, not equal.
pub(super) fn find(
    files: &[File<'_>],
    scans: &[Scan],
    relative: impl Fn(&Path) -> PathBuf,
) -> Vec<Duplicate> {
    let digests = scans
        .iter()
        .map(|scan| scan.sha256.filter(|_| scan.bytes > 0));
    let groups = equal(digests);
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
