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
use super::sample::Sample;

/// File name extensions that count as images, compared without regard to case.
pub const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

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
        let folder = Self::open_with_gaps(dir)?;
        if let Some(class) = folder.missing_classes().first() {
            return Err(DataError::EmptyClass {
                class: class.to_string(),
                path: folder.root.clone(),
            });
        }
        Ok(folder)
    }

    /// As [`ImageFolder::open`], but classes may be without images.
    ///
    /// # Errors
    /// A missing or unreadable folder, no class folders, no images at all.
    pub fn open_with_gaps(dir: impl AsRef<Path>) -> Result<Self, DataError> {
        let root = dir.as_ref().to_path_buf();
        let class_dirs = subfolders(&root)?;
        if class_dirs.is_empty() {
            let loose_images = images_in(&root)?.len();
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
        for (class, class_dir) in class_dirs.iter().enumerate() {
            let name = folder.class_name(class_dir)?;
            let mut files = Vec::new();
            // One set of visited folders per class: enough to end a loop of links.
            let mut visited = HashSet::new();
            walk(class_dir, &mut visited, &mut files)?;
            folder.classes.push(name);
            folder
                .samples
                .extend(files.into_iter().map(|path| Sample::of_file(path, class)));
        }
        if folder.samples.is_empty() {
            return Err(DataError::NoImages { path: folder.root });
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

    /// Whether there are no images; never true of a folder that was opened.
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
        match self.unknown_classes(classes).first() {
            Some(class) => Err(DataError::UnknownClass {
                class: class.to_string(),
                path: self.root.clone(),
                known: classes.len(),
            }),
            None => Ok(self.of_classes(classes)),
        }
    }

    /// The images of `classes`, indexed against that list; those of other classes are left out.
    pub fn of_classes(&self, classes: &[String]) -> Self {
        let index_of: HashMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
        let new_index: Vec<Option<usize>> = self
            .classes
            .iter()
            .map(|class| index_of.get(class.as_str()).copied())
            .collect();
        let mut samples: Vec<Sample> = self
            .samples
            .iter()
            .filter_map(|s| {
                Some(Sample {
                    class: new_index[s.class]?,
                    ..s.clone()
                })
            })
            .collect();
        // A stable sort: it regroups by class and keeps the natural order within one.
        samples.sort_by_key(|sample| sample.class);
        Self {
            root: self.root.clone(),
            classes: classes.to_vec(),
            samples,
        }
    }

    /// Names of the classes that are not in `known`.
    pub fn unknown_classes(&self, known: &[String]) -> Vec<&str> {
        let known: HashSet<&str> = known.iter().map(String::as_str).collect();
        let names = self.classes.iter().map(String::as_str);
        names.filter(|class| !known.contains(class)).collect()
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

/// The image files that lie in `dir` itself, in natural order; what counts as one is the same as in a class folder.
///
/// # Errors
/// A missing or unreadable folder.
pub fn images_in(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut images = visible_entries(dir)?;
    images.retain(|path| is_image_file(path));
    Ok(images)
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

fn is_image_file(path: &Path) -> bool {
    // A pipe or a socket would block whoever reads it. A dangling link is kept: it is then reported as a broken image
    // instead of vanishing.
    is_image_name(path) && fs::metadata(path).map_or(true, |meta| meta.is_file())
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
        if path.is_dir() {
            walk(&path, visited, files)?;
        } else if is_image_file(&path) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
