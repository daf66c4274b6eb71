//! A folder of images, one sub-folder per class.
//!
//! Input: a directory. Output: [`ImageFolder`], the class names in natural order and every image file below them.
//! No image is opened here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::DataError;
use super::natural;

/// File name extensions that count as images, compared without regard to case.
pub const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// One image file and the index of its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub path: PathBuf,
    pub class: usize,
}

/// The images of one split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFolder {
    pub root: PathBuf,
    /// Class names; a class's index is its position here.
    pub classes: Vec<String>,
    /// Grouped by class, in natural order of the paths.
    pub samples: Vec<Sample>,
}

impl ImageFolder {
    /// Lists `dir` as torchvision's `ImageFolder` does, but in natural order (`9.x` before `10.x`).
    ///
    /// Folders inside a class folder are walked and count for that class. Hidden entries and `__MACOSX` are ignored,
    /// symbolic links are followed once. Files loose in `dir` are ignored.
    ///
    /// # Errors
    /// A missing or unreadable folder, no class folders, a class without images.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, DataError> {
        let root = dir.as_ref().to_path_buf();
        let class_dirs = subfolders(&root)?;
        if class_dirs.is_empty() {
            let loose_images = visible_entries(&root)?
                .iter()
                .filter(|p| is_image_name(p))
                .count();
            return Err(DataError::NoClasses {
                path: root,
                loose_images,
            });
        }

        let mut folder = Self {
            root,
            classes: Vec::new(),
            samples: Vec::new(),
        };
        let mut empty = None;
        for (class, class_dir) in class_dirs.iter().enumerate() {
            let name = folder.class_name(class_dir)?;
            let mut files = Vec::new();
            // One set of visited folders per class: enough to end a loop of links.
            let mut visited = HashSet::new();
            walk(class_dir, &mut visited, &mut files)?;
            if files.is_empty() && empty.is_none() {
                empty = Some((name.clone(), class_dir.clone()));
            }
            folder.classes.push(name);
            folder
                .samples
                .extend(files.into_iter().map(|path| Sample { path, class }));
        }
        if folder.samples.is_empty() {
            return Err(DataError::NoImages { path: folder.root });
        }
        if let Some((class, path)) = empty {
            return Err(DataError::EmptyClass { class, path });
        }
        Ok(folder)
    }

    fn class_name(&self, class_dir: &Path) -> Result<String, DataError> {
        let name = class_dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // Two names that are not UTF-8 may become equal here; merging them silently would mix two classes.
        if self.classes.contains(&name) {
            return Err(DataError::ClassNameClash {
                class: name,
                path: self.root.clone(),
            });
        }
        Ok(name)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are no images; never true after [`ImageFolder::open`].
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Class name to class index.
    pub fn class_to_idx(&self) -> BTreeMap<String, usize> {
        self.classes.iter().cloned().zip(0..).collect()
    }

    /// Images per class, in the order of `classes`.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for sample in &self.samples {
            counts[sample.class] += 1;
        }
        counts
    }

    /// The same images, indexed against `classes`, the list of the training data or of a saved model.
    ///
    /// # Errors
    /// A class folder that is not in `classes`. Classes without images are not an error here, see
    /// [`ImageFolder::missing_classes`].
    pub fn with_classes(&self, classes: &[String]) -> Result<Self, DataError> {
        let index_of: HashMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
        let new_index = self
            .classes
            .iter()
            .map(|class| {
                index_of
                    .get(class.as_str())
                    .copied()
                    .ok_or_else(|| DataError::UnknownClass {
                        class: class.clone(),
                        path: self.root.clone(),
                        known: classes.len(),
                    })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut samples: Vec<Sample> = self
            .samples
            .iter()
            .map(|s| Sample {
                path: s.path.clone(),
                class: new_index[s.class],
            })
            .collect();
        // A stable sort: it regroups by class and keeps the natural order within one.
        samples.sort_by_key(|sample| sample.class);
        Ok(Self {
            root: self.root.clone(),
            classes: classes.to_vec(),
            samples,
        })
    }

    /// Names of the classes that have no image.
    pub fn missing_classes(&self) -> Vec<&str> {
        let counts = self.class_counts();
        self.classes
            .iter()
            .zip(counts)
            .filter(|(_, count)| *count == 0)
            .map(|(class, _)| class.as_str())
            .collect()
    }
}

/// The visible sub-folders of `dir` (links to folders included), in natural order.
pub(super) fn subfolders(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut folders = visible_entries(dir)?;
    folders.retain(|path| path.is_dir());
    Ok(folders)
}

fn visible_entries(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => DataError::Missing {
            path: dir.to_path_buf(),
        },
        io::ErrorKind::NotADirectory => DataError::NotAFolder {
            path: dir.to_path_buf(),
        },
        _ => DataError::Unreadable {
            path: dir.to_path_buf(),
            source,
        },
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !is_hidden(&path) {
            entries.push(path);
        }
    }
    entries.sort_by(|a, b| {
        natural::compare(
            a.file_name().unwrap_or_default(),
            b.file_name().unwrap_or_default(),
        )
    });
    Ok(entries)
}

/// Dot files, and the resource forks that macOS adds to archives under the images' own names.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

fn is_image_name(path: &Path) -> bool {
    path.extension().is_some_and(|ext| {
        EXTENSIONS
            .iter()
            .any(|known| ext.eq_ignore_ascii_case(known))
    })
}

fn walk(
    dir: &Path,
    visited: &mut HashSet<PathBuf>,
    files: &mut Vec<PathBuf>,
) -> Result<(), DataError> {
    let real = fs::canonicalize(dir).map_err(|source| DataError::Unreadable {
        path: dir.to_path_buf(),
        source,
    })?;
    if !visited.insert(real) {
        return Ok(());
    }
    for path in visible_entries(dir)? {
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => walk(&path, visited, files)?,
            // A pipe or a socket would block whoever reads it.
            Ok(meta) if !meta.is_file() => {}
            // A dangling link is kept: it is then reported as a broken image instead of vanishing.
            _ if is_image_name(&path) => files.push(path),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
