//! Labelled images, from wherever they come, against a list of classes.
//!
//! Input: images with labels. Output: the list of classes that the labels make, and an [`ImageFolder`].

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::error::PackedError;
use super::label::Label;
use crate::data::natural;
use crate::data::{DataError, ImageFolder, Part, Sample};

/// Most classes that numbered labels may make. A larger number is a mistake, such as an image's number in the label's place.
pub const MAX_CLASSES: usize = 100_000;

/// One image and what its label says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// The file, or a name that no other image has, see [`Sample::path`].
    pub path: PathBuf,
    /// Where the bytes lie if `path` is not a file.
    pub part: Option<Part>,
    pub label: Label,
}

/// The images of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledImages {
    /// The folder that all paths are below.
    pub root: PathBuf,
    pub images: Vec<Labelled>,
    /// Class names, by index, where the source itself knows them.
    pub names: Option<Vec<String>>,
}

impl LabelledImages {
    /// The classes of training data: `given` if there is a list, else the source's own names, else those that the labels
    /// make: "0", "1" and so on up to the largest index, or the names in natural order.
    ///
    /// # Errors
    /// A class is given twice; a label would make more than [`MAX_CLASSES`] classes.
    pub fn classes(&self, given: Option<&[String]>) -> Result<Vec<String>, DataError> {
        if let Some(given) = given {
            let mut seen = HashSet::new();
            return match given.iter().find(|class| !seen.insert(*class)) {
                None => Ok(given.to_vec()),
                Some(class) => Err(PackedError::DoubleClass {
                    class: class.clone(),
                }
                .into()),
            };
        }
        if let Some(names) = &self.names {
            return Ok(names.clone());
        }
        let mut names = HashSet::new();
        let mut count = 0;
        for image in &self.images {
            match &image.label {
                Label::Name(name) => {
                    names.insert(name);
                }
                Label::Index(label) if *label < MAX_CLASSES => count = count.max(label + 1),
                Label::Index(label) => {
                    return Err(PackedError::TooManyClasses {
                        image: image.path.clone(),
                        label: *label,
                        limit: MAX_CLASSES,
                    }
                    .into());
                }
            }
        }
        if names.is_empty() {
            return Ok((0..count).map(|index| index.to_string()).collect());
        }
        let mut names: Vec<String> = names.into_iter().cloned().collect();
        names.sort_by(|a, b| natural::compare(OsStr::new(a), OsStr::new(b)));
        Ok(names)
    }

    /// The images grouped by class, in natural order of their paths, indexed against `classes`. Classes may be without
    /// images, see [`ImageFolder::missing_classes`].
    ///
    /// # Errors
    /// A label that is not in `classes`, or that could mean two of them.
    pub fn into_folder(self, classes: &[String]) -> Result<ImageFolder, DataError> {
        let index = ClassIndex::new(classes);
        self.same_numbers(&index)?;
        let mut samples = Vec::with_capacity(self.images.len());
        for image in self.images {
            samples.push(Sample {
                class: index.class_of(&image)?,
                path: image.path,
                part: image.part,
            });
        }
        samples.sort_by(|a, b| {
            let by_class = a.class.cmp(&b.class);
            by_class.then_with(|| compare_paths(&a.path, &b.path))
        });
        Ok(ImageFolder {
            root: self.root,
            classes: classes.to_vec(),
            samples,
        })
    }

    /// Lists made one by one, such as those for training and validation, may number the same classes differently.
    fn same_numbers(&self, index: &ClassIndex<'_>) -> Result<(), PackedError> {
        let own = self.names.iter().flatten().enumerate();
        for (label, name) in own {
            // Names that are not in the list at all are other words for the classes, such as a given list may have.
            if index
                .by_name
                .get(name.as_str())
                .is_some_and(|&at| at != label)
            {
                return Err(PackedError::NamesDisagree {
                    root: self.root.clone(),
                    label,
                    here: name.clone(),
                    there: index.classes.get(label).cloned().unwrap_or_default(),
                });
            }
        }
        Ok(())
    }
}

/// A list of classes and what a label means in it.
struct ClassIndex<'a> {
    classes: &'a [String],
    by_name: HashMap<&'a str, usize>,
    /// Whether the number of a class is the name of another; then a label that is a number says nothing.
    unclear: Vec<bool>,
}

impl<'a> ClassIndex<'a> {
    fn new(classes: &'a [String]) -> Self {
        let by_name: HashMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
        let is_other = |index: usize| {
            let named = by_name.get(index.to_string().as_str());
            named.is_some_and(|&other| other != index)
        };
        Self {
            unclear: (0..classes.len()).map(is_other).collect(),
            classes,
            by_name,
        }
    }

    fn class_of(&self, image: &Labelled) -> Result<usize, PackedError> {
        let classes = self.classes.len();
        let path = || image.path.clone();
        match &image.label {
            Label::Name(name) => match self.by_name.get(name.as_str()) {
                Some(&class) => Ok(class),
                None => Err(PackedError::UnknownLabel {
                    image: path(),
                    label: name.clone(),
                    classes,
                }),
            },
            Label::Index(label) => match self.unclear.get(*label) {
                Some(false) => Ok(*label),
                Some(true) => Err(PackedError::TwoMeanings {
                    image: path(),
                    label: *label,
                    class: self.classes[*label].clone(),
                }),
                None => Err(PackedError::IndexRange {
                    image: path(),
                    label: *label,
                    classes,
                }),
            },
        }
    }
}

/// Natural order, folder by folder, as class folders are walked.
fn compare_paths(a: &Path, b: &Path) -> Ordering {
    let (mut a, mut b) = (a.components(), b.components());
    loop {
        match (a.next(), b.next()) {
            (Some(x), Some(y)) => match natural::compare(x.as_os_str(), y.as_os_str()) {
                Ordering::Equal => {}
                order => return order,
            },
            (x, y) => return x.is_some().cmp(&y.is_some()),
        }
    }
}

#[cfg(test)]
mod tests;
