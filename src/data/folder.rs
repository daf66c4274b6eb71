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
mod tests {
    use super::*;

    fn touch(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
    }

    fn relative(folder: &ImageFolder) -> Vec<(String, usize)> {
        let strip = |p: &Path| {
            p.strip_prefix(&folder.root)
                .unwrap()
                .to_string_lossy()
                .into_owned()
        };
        folder
            .samples
            .iter()
            .map(|s| (strip(&s.path), s.class))
            .collect()
    }

    #[test]
    fn natural_order_nested_folders_hidden_files_and_any_case() {
        let dir = tempfile::tempdir().unwrap();
        touch(
            dir.path(),
            &[
                "10.b/x.JPG",
                "9.a/2.png",
                "9.a/10.jpeg",
                "9.a/sub/1.gif",
                "9.a/.hidden.jpg",
                "9.a/notes.txt",
                "loose.jpg",
            ],
        );
        touch(dir.path(), &[".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg"]);
        let folder = ImageFolder::open(dir.path()).unwrap();
        assert_eq!(folder.classes, ["9.a", "10.b"]);
        let expected = [
            ("9.a/2.png", 0),
            ("9.a/10.jpeg", 0),
            ("9.a/sub/1.gif", 0),
            ("10.b/x.JPG", 1),
        ];
        assert_eq!(relative(&folder), expected.map(|(p, c)| (p.to_string(), c)));
        assert_eq!(folder.class_to_idx()["10.b"], 1);
        assert_eq!(folder.class_counts(), [3, 1]);
    }

    #[test]
    fn odd_names_survive() {
        let dir = tempfile::tempdir().unwrap();
        touch(
            dir.path(),
            &[
                "golden retriever/a b.jpg",
                "🐕/line\nbreak.png",
                "ü/%20#?.bmp",
            ],
        );
        let folder = ImageFolder::open(dir.path()).unwrap();
        assert_eq!(folder.len(), 3);
        assert!(folder.classes.contains(&"🐕".to_string()));
        assert!(folder.samples.iter().all(|s| s.path.exists()));
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf8_survive_or_clash_loudly() {
        use std::os::unix::ffi::OsStrExt;
        let odd = |bytes: &'static [u8]| Path::new(std::ffi::OsStr::from_bytes(bytes));
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["a/1.jpg"]);
        fs::create_dir(dir.path().join(odd(b"b\xff"))).unwrap();
        fs::write(dir.path().join(odd(b"b\xff")).join(odd(b"\xfe.jpg")), b"").unwrap();
        let folder = ImageFolder::open(dir.path()).unwrap();
        assert!(folder.samples[1].path.exists());
        fs::create_dir(dir.path().join(odd(b"b\xfe"))).unwrap();
        assert!(matches!(
            ImageFolder::open(dir.path()),
            Err(DataError::ClassNameClash { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_without_loops_and_dangling_ones_are_kept() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["a/1.jpg", "elsewhere/pool/2.jpg"]);
        symlink(dir.path().join("a"), dir.path().join("a/loop")).unwrap();
        symlink("/nonexistent/3.jpg", dir.path().join("a/3.jpg")).unwrap();
        symlink(dir.path().join("elsewhere/pool"), dir.path().join("b")).unwrap();
        fs::rename(dir.path().join("elsewhere"), dir.path().join(".elsewhere")).unwrap();
        fs::remove_file(dir.path().join("b")).unwrap();
        symlink(dir.path().join(".elsewhere/pool"), dir.path().join("b")).unwrap();
        let folder = ImageFolder::open(dir.path()).unwrap();
        let expected = [("a/1.jpg", 0), ("a/3.jpg", 0), ("b/2.jpg", 1)];
        assert_eq!(relative(&folder), expected.map(|(p, c)| (p.to_string(), c)));
    }

    #[test]
    fn each_unusable_folder_has_its_own_error() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert!(matches!(
            ImageFolder::open(root.join("no")),
            Err(DataError::Missing { .. })
        ));
        touch(root, &["x.jpg"]);
        assert!(matches!(
            ImageFolder::open(root.join("x.jpg")),
            Err(DataError::NotAFolder { .. })
        ));
        assert!(matches!(
            ImageFolder::open(root),
            Err(DataError::NoClasses {
                loose_images: 1,
                ..
            })
        ));
        touch(root, &["a/readme.txt"]);
        let message = ImageFolder::open(root).unwrap_err().to_string();
        assert!(
            message.contains("no images") && message.contains("webp"),
            "{message}"
        );
        touch(root, &["b/1.jpg"]);
        assert!(
            matches!(ImageFolder::open(root), Err(DataError::EmptyClass { class, .. }) if class == "a")
        );
    }

    #[test]
    fn reindexing_follows_the_given_classes() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["cat/1.jpg", "dog/1.jpg"]);
        let folder = ImageFolder::open(dir.path()).unwrap();
        let classes = ["dog", "bird", "cat"].map(String::from);
        let reindexed = folder.with_classes(&classes).unwrap();
        assert_eq!(
            relative(&reindexed),
            [("dog/1.jpg".to_string(), 0), ("cat/1.jpg".to_string(), 2)]
        );
        assert_eq!(reindexed.missing_classes(), ["bird"]);
        let unknown = folder.with_classes(&classes[..2]).unwrap_err();
        assert!(
            matches!(&unknown, DataError::UnknownClass { class, .. } if class == "cat"),
            "{unknown}"
        );
    }
}
