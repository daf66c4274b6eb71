//! What is in a data set: counts, sizes, formats, broken files, duplicates, pixel statistics.
//!
//! Input: the root directory of a data set, laid out as [`super::Splits::open`] takes it. Output: [`Inspection`], as JSON
//! by serde and as text by `Display`. Every file is read and decoded once.

mod duplicates;
mod render;
mod scan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::decode::DecodeLimits;
use super::error::DataError;
use super::folder::{ImageFolder, images_in};
use super::loader::Skipped;
use super::path_text;
use super::split::SplitFolders;

pub use duplicates::Duplicate;
pub(super) use duplicates::equal;

/// How to inspect.
#[derive(Clone, Copy, Debug)]
pub struct InspectOptions {
    /// Threads that decode; 0 counts as 1.
    pub workers: usize,
    pub limits: DecodeLimits,
}

impl Default for InspectOptions {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers,
            limits: DecodeLimits::default(),
        }
    }
}

/// The report on a data set. Paths are relative to `root`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    #[serde(serialize_with = "path_text::one")]
    pub root: PathBuf,
    /// Image files, broken ones included.
    pub images: usize,
    pub total_bytes: u64,
    /// `train`, `valid`, `test`, or one split named `all` where there are only class folders.
    pub splits: Vec<SplitReport>,
    /// Of the pictures as seen, after their orientation was applied; `None` if no file could be decoded.
    pub sizes: Option<Sizes>,
    /// Decodable files by the format of their content.
    pub formats: BTreeMap<&'static str, usize>,
    pub broken: Vec<Skipped>,
    /// Groups of files with the same content.
    pub duplicates: Vec<Duplicate>,
    /// Of the training images (or of `all`); `None` if none could be decoded.
    pub pixels: Option<PixelStatistics>,
}

/// The images of one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitReport {
    pub name: &'static str,
    pub images: usize,
    /// Image files that lie in no class folder: nobody says what they show, so they are not used.
    pub unlabelled: usize,
    /// In natural order of the names; classes without images are among them.
    pub classes: Vec<ClassCount>,
    /// Classes of the first split that have no images in this one.
    pub missing_classes: Vec<String>,
    /// Classes of this split that the first one does not have.
    pub unknown_classes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    pub name: String,
    pub images: usize,
}

impl SplitReport {
    /// The classes with the fewest and the most images.
    pub fn extremes(&self) -> Option<(&ClassCount, &ClassCount)> {
        let smallest = self.classes.iter().min_by_key(|class| class.images)?;
        let largest = self.classes.iter().max_by_key(|class| class.images)?;
        Some((smallest, largest))
    }

    /// Images of the largest class per image of the smallest; 1 is balanced.
    pub fn imbalance(&self) -> f64 {
        self.extremes().map_or(1.0, |(least, most)| {
            most.images as f64 / least.images.max(1) as f64
        })
    }
}

/// Minimum, median and maximum, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    pub min: u32,
    pub median: u32,
    pub max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    pub width: Range,
    pub height: Range,
}

/// Mean and standard deviation of red, green and blue, of values in 0..1. Each image weighs the same, so that a few
/// large ones do not decide.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PixelStatistics {
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

impl Inspection {
    /// Groups of equal files that lie in more than one split: the validation or test metrics do not mean what they seem to.
    pub fn leaks(&self) -> impl Iterator<Item = &Duplicate> {
        self.duplicates.iter().filter(|group| group.across_splits)
    }

    /// Groups of equal files that lie in more than one class: at least one label is wrong.
    pub fn label_conflicts(&self) -> impl Iterator<Item = &Duplicate> {
        self.duplicates.iter().filter(|group| group.across_classes)
    }
}

/// Reads every image below `root`. `progress(done, total)` is called after each, from several threads.
///
/// # Errors
/// A missing or unreadable folder, a root with neither class nor split folders. Whatever else is wrong is part of the report.
pub fn inspect(
    root: impl AsRef<Path>,
    options: &InspectOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Inspection, DataError> {
    let root = root.as_ref();
    let folders = open_splits(root)?;
    let files: Vec<scan::File> = folders
        .iter()
        .flat_map(|(split, folder)| {
            folder.samples.iter().map(move |sample| scan::File {
                path: &sample.path,
                split,
                class: &folder.classes[sample.class],
            })
        })
        .collect();
    let scans = scan::scan(&files, options, progress);

    let relative = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_path_buf();
    let decoded = || scans.iter().filter_map(|scan| scan.image.as_ref().ok());
    let mut formats = BTreeMap::new();
    for image in decoded() {
        *formats.entry(image.format).or_default() += 1;
    }
    let broken = files.iter().zip(&scans).filter_map(|(file, scan)| {
        let reason = scan.image.as_ref().err()?.to_string();
        Some(Skipped {
            path: relative(file.path),
            reason,
        })
    });
    let first_split = folders[0].0;
    let training = files
        .iter()
        .zip(&scans)
        .filter(|(file, _)| file.split == first_split);
    Ok(Inspection {
        root: root.to_path_buf(),
        images: files.len(),
        total_bytes: scans.iter().map(|scan| scan.bytes).sum(),
        splits: split_reports(&folders),
        sizes: sizes(decoded().map(|image| image.size).collect()),
        formats,
        broken: broken.collect(),
        duplicates: duplicates::find(&files, &scans, relative),
        pixels: scan::statistics(training.filter_map(|(_, scan)| scan.image.as_ref().ok())),
    })
}

/// The splits as they lie on disk: nothing is drawn, and classes may differ between them.
fn open_splits(root: &Path) -> Result<Vec<(&'static str, ImageFolder)>, DataError> {
    let Some(folders) = SplitFolders::find(root)? else {
        return Ok(vec![("all", ImageFolder::open_with_gaps(root)?)]);
    };
    let mut splits = vec![("train", open_split(folders.train)?)];
    for (name, dir) in [("valid", folders.valid), ("test", folders.test)] {
        if let Some(dir) = dir {
            splits.push((name, open_split(dir)?));
        }
    }
    Ok(splits)
}

/// The images of a split, which may be none.
fn open_split(dir: PathBuf) -> Result<ImageFolder, DataError> {
    match ImageFolder::open_with_gaps(&dir) {
        Err(DataError::NoClasses { .. } | DataError::NoImages { .. }) => Ok(ImageFolder {
            root: dir,
            classes: Vec::new(),
            samples: Vec::new(),
        }),
        opened => opened,
    }
}

fn split_reports(folders: &[(&'static str, ImageFolder)]) -> Vec<SplitReport> {
    let known = &folders[0].1.classes;
    let owned = |names: Vec<&str>| names.into_iter().map(String::from).collect();
    let report = |(name, folder): &(&'static str, ImageFolder)| SplitReport {
        name,
        images: folder.len(),
        classes: folder
            .classes
            .iter()
            .zip(folder.class_counts())
            .map(|(class, images)| ClassCount {
                name: class.clone(),
                images,
            })
            .collect(),
        unlabelled: images_in(&folder.root).map_or(0, |images| images.len()),
        missing_classes: owned(folder.of_classes(known).missing_classes()),
        unknown_classes: owned(folder.unknown_classes(known)),
    };
    folders.iter().map(report).collect()
}

fn sizes(all: Vec<(u32, u32)>) -> Option<Sizes> {
    let range = |mut sides: Vec<u32>| {
        sides.sort_unstable();
        Some(Range {
            min: *sides.first()?,
            median: sides[sides.len() / 2],
            max: *sides.last()?,
        })
    };
    let (widths, heights) = all.into_iter().unzip();
    Some(Sizes {
        width: range(widths)?,
        height: range(heights)?,
    })
}

#[cfg(test)]
mod tests;
