//! Image lists of Amazon's built-in image classification algorithm, the `.lst` files of `im2rec`.
//!
//! Input: a list, one image per line as `number <tab> label <tab> path`, and the folder that the paths are relative to.
//! Output: [`LabelledImages`] that are files; none is opened.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Component, Path, PathBuf};

use super::error::PackedError;
use super::label::{Label, whole_number};
use super::labelled::{Labelled, LabelledImages};
use super::listing;
use super::recordio::unreadable;

/// The `.lst` file that lies in `folder` itself, if there is one.
///
/// # Errors
/// The folder cannot be read, or has two lists.
pub fn find_lst(folder: &Path) -> Result<Option<PathBuf>, PackedError> {
    let mut lists = listing::with_extension(folder, "lst")?.into_iter();
    match (lists.next(), lists.next()) {
        (Some(first), Some(second)) => Err(PackedError::TwoLists { first, second }),
        (found, _) => Ok(found),
    }
}

/// Reads `list`, whose paths are relative to the folder `images`. Images that are not there are kept, as the loader
/// reports broken files. An image that is listed twice with the same label counts once.
///
/// Class names are known where each label goes with one folder directly below `images`, and each folder with one label.
///
/// # Errors
/// The list cannot be read or is empty; a line without three columns, with a label that is not a whole number, or with a
/// path that leaves the folder; an image with two labels; none of the images exists.
pub fn read_lst(list: &Path, images: &Path) -> Result<LabelledImages, PackedError> {
    let file = File::open(list).map_err(|source| unreadable(list, source))?;
    let mut lines = Lines {
        list,
        input: BufReader::new(file),
        number: 0,
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen: HashMap<PathBuf, usize> = HashMap::new();
    let mut repeated = 0_usize;
    while let Some(entry) = lines.next_entry()? {
        match seen.get(&entry.path) {
            None => {
                seen.insert(entry.path.clone(), entries.len());
                entries.push(entry);
            }
            Some(&first) if entries[first].label == entry.label => repeated += 1,
            Some(&first) => {
                return Err(PackedError::TwoLabels {
                    list: list.to_path_buf(),
                    first: entries[first].line,
                    second: entry.line,
                    image: entry.path.display().to_string(),
                });
            }
        }
    }
    if repeated > 0 {
        let list = list.display();
        tracing::warn!("{list} repeats {repeated} lines; each image is used once");
    }
    check_presence(list, images, &entries)?;
    Ok(LabelledImages {
        names: folder_names(&entries),
        images: entries.into_iter().map(|e| e.below(images)).collect(),
        root: images.to_path_buf(),
    })
}

struct Entry {
    line: u64,
    label: usize,
    /// Relative to the image folder, without `.` in it.
    path: PathBuf,
}

impl Entry {
    fn below(self, images: &Path) -> Labelled {
        Labelled {
            path: images.join(self.path),
            part: None,
            label: Label::Index(self.label),
        }
    }

    /// The name of the folder directly below the image folder.
    fn top_folder(&self) -> Option<&str> {
        let mut components = self.path.components();
        let top = components.next()?;
        components.next()?;
        top.as_os_str().to_str()
    }
}

struct Lines<'a> {
    list: &'a Path,
    input: BufReader<File>,
    /// Of the line read last, counted from 1.
    number: u64,
}

impl Lines<'_> {
    /// The entry of the next line that is not blank.
    fn next_entry(&mut self) -> Result<Option<Entry>, PackedError> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = self.input.read_until(b'\n', &mut bytes);
            if read.map_err(|source| unreadable(self.list, source))? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let text = std::str::from_utf8(&bytes).map_err(|_| PackedError::NotText {
                list: self.list.to_path_buf(),
                line: self.number,
            })?;
            // Some editors on Windows put a mark at the beginning of UTF-8 files.
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            if !text.trim().is_empty() {
                return self.parse(text.trim()).map(Some);
            }
        }
    }

    fn parse(&self, text: &str) -> Result<Entry, PackedError> {
        let (list, line) = (self.list.to_path_buf(), self.number);
        let columns: Vec<&str> = text.split('\t').collect();
        let &[_, label, image] = columns.as_slice() else {
            let columns = columns.len();
            return Err(match columns < 3 {
                true => PackedError::FewColumns {
                    list,
                    line,
                    columns,
                },
                false => PackedError::ManyColumns {
                    list,
                    line,
                    columns,
                },
            });
        };
        let Some(label) = whole_number(label.trim()) else {
            let label = label.to_string();
            return Err(PackedError::BadListLabel { list, line, label });
        };
        let Some(path) = inside(image.trim()) else {
            let image = image.to_string();
            return Err(PackedError::OutsidePath { list, line, image });
        };
        Ok(Entry { line, label, path })
    }
}

/// The path in short form, where it names something within the folder it is relative to.
fn inside(path: &str) -> Option<PathBuf> {
    let mut inner = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => inner.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!inner.as_os_str().is_empty()).then_some(inner)
}

/// One image that exists is enough: the folder is the right one.
fn check_presence(list: &Path, images: &Path, entries: &[Entry]) -> Result<(), PackedError> {
    let Some(first) = entries.first() else {
        return Err(PackedError::EmptyList {
            list: list.to_path_buf(),
        });
    };
    match entries.iter().any(|e| images.join(&e.path).is_file()) {
        true => Ok(()),
        false => Err(PackedError::NoListedImage {
            list: list.to_path_buf(),
            folder: images.to_path_buf(),
            images: entries.len(),
            first: first.path.display().to_string(),
        }),
    }
}

/// The names of the classes, by label, where labels and top-level folders go together one to one.
fn folder_names(entries: &[Entry]) -> Option<Vec<String>> {
    let mut name_of: HashMap<usize, &str> = HashMap::new();
    let mut label_of: HashMap<&str, usize> = HashMap::new();
    for entry in entries {
        let name = entry.top_folder()?;
        let same_name = *name_of.entry(entry.label).or_insert(name) == name;
        let same_label = *label_of.entry(name).or_insert(entry.label) == entry.label;
        if !same_name || !same_label {
            return None;
        }
    }
    // A number without images has no name, and then the others' names would make half a list.
    (0..name_of.len())
        .map(|label| name_of.get(&label).map(|name| name.to_string()))
        .collect()
}

#[cfg(test)]
mod tests;
