//! Training, validation and test images of a data set.
//!
//! Input: the root directory of a data set. Output: [`Splits`], three [`ImageFolder`]s that share one list of classes,
//! and [`SplitOrigin`], which says whether the validation images come from a folder or were drawn.

use std::fmt;
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::DataError;
use super::folder::{ImageFolder, subfolders};
use super::path_text;
use super::sample::Sample;
use super::seed::{self, Purpose};
use super::source::{DataSource, Opening};

const TRAIN: &[&str] = &["train", "training"];
const VALID: &[&str] = &["valid", "val", "validation"];
const TEST: &[&str] = &["test", "testing"];

/// How to draw validation images where there is no folder of them.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitOptions {
    /// Share of each class that is held out, between 0 and 1 (default: 0.2).
    pub valid_fraction: f64,
    pub seed: u64,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self {
            valid_fraction: 0.2,
            seed: 0,
        }
    }
}

/// Where the validation images come from. Its text is meant for the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitOrigin {
    /// From a folder of their own.
    Folders,
    /// Drawn from the images in `source`, class by class.
    Stratified {
        #[serde(serialize_with = "path_text::one")]
        source: PathBuf,
        valid_fraction: f64,
        seed: u64,
        /// Of the list of images that was drawn from: another list would give another draw.
        fingerprint: String,
    },
}

impl SplitOrigin {
    /// Of a draw from `all`.
    pub(super) fn drawn_from(all: &ImageFolder, options: &SplitOptions) -> Self {
        SplitOrigin::Stratified {
            source: all.root.clone(),
            valid_fraction: options.valid_fraction,
            seed: options.seed,
            fingerprint: fingerprint(all),
        }
    }
}

impl fmt::Display for SplitOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folders => write!(f, "train and valid folders"),
            Self::Stratified {
                source,
                valid_fraction,
                seed,
                ..
            } => {
                let percent = valid_fraction * 100.0;
                write!(
                    f,
                    "no valid folder: {percent:.0} % of each class in {} held out (seed {seed})",
                    source.display()
                )
            }
        }
    }
}

/// The split folders found below a data set's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitFolders {
    pub train: PathBuf,
    pub valid: Option<PathBuf>,
    pub test: Option<PathBuf>,
}

impl SplitFolders {
    /// Looks for `train|training`, `valid|val|validation` and `test|testing` (any case) in `root`, or in its only
    /// sub-folder, which is what an archive unpacked one level too deep looks like. `None`: `root` holds class folders.
    ///
    /// # Errors
    /// An unreadable root, two folders for one split, a valid or test folder without a train folder.
    pub fn find(root: &Path) -> Result<Option<Self>, DataError> {
        let folders = subfolders(root)?;
        if let Some(found) = Self::among(root, &folders)? {
            return Ok(Some(found));
        }
        match folders.as_slice() {
            [only] => Self::among(only, &subfolders(only)?),
            _ => Ok(None),
        }
    }

    fn among(root: &Path, folders: &[PathBuf]) -> Result<Option<Self>, DataError> {
        let train = pick("train", TRAIN, folders)?;
        let valid = pick("valid", VALID, folders)?;
        let test = pick("test", TEST, folders)?;
        match (train, valid.as_ref().or(test.as_ref())) {
            (Some(train), _) => Ok(Some(Self { train, valid, test })),
            (None, None) => Ok(None),
            (None, Some(found)) => Err(DataError::NoTrainFolder {
                path: root.to_path_buf(),
                found: found
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            }),
        }
    }
}

fn pick(
    split: &'static str,
    names: &[&str],
    folders: &[PathBuf],
) -> Result<Option<PathBuf>, DataError> {
    let is_named = |path: &&PathBuf| {
        path.file_name()
            .is_some_and(|name| names.iter().any(|known| name.eq_ignore_ascii_case(known)))
    };
    let mut found = folders.iter().filter(is_named);
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(DataError::AmbiguousSplit {
            split,
            first: first.clone(),
            second: second.clone(),
        }),
        (first, _) => Ok(first.cloned()),
    }
}

/// The images of a data set, by use. All splits index classes as `train.classes` does.
#[derive(Clone, Debug)]
pub struct Splits {
    pub train: ImageFolder,
    pub valid: ImageFolder,
    pub test: Option<ImageFolder>,
    pub origin: SplitOrigin,
}

impl Splits {
    /// Opens the data set in the one folder `root`, see [`DataSource::open`].
    ///
    /// # Errors
    /// The same.
    pub fn open(root: impl AsRef<Path>, options: &SplitOptions) -> Result<Self, DataError> {
        let root = root.as_ref();
        let opening = Opening {
            // Class folders need none.
            scratch: root,
            stopped: &|| false,
        };
        let splits = DataSource::folder(root).open(options, opening)?;
        splits.ok_or_else(|| DataError::NoImages {
            path: root.to_owned(),
        })
    }

    /// Keeps at most `samples` training images: each class keeps its share, at least one, drawn with `seed`.
    ///
    /// # Errors
    /// Fewer samples than classes.
    pub fn max_train_samples(&mut self, samples: usize, seed: u64) -> Result<(), DataError> {
        let counts = self.train.class_counts();
        let present = counts.iter().filter(|count| **count > 0).count();
        if samples < present {
            return Err(DataError::TooFewSamples {
                samples,
                classes: present,
            });
        }
        if samples >= self.train.len() {
            return Ok(());
        }
        let quotas = shares(&counts, samples);
        let (kept, _) = partition(&self.train, &quotas, seed, Purpose::Subset);
        self.train = kept;
        Ok(())
    }
}

/// Opens a folder of test images. Nothing that is wrong with it is worth a training: classes without images and classes
/// that are not in `classes` are warned of and left out, and so is the whole folder where nothing of it can be used, as with
/// test images that have no labels.
pub fn open_test(dir: &Path, classes: &[String]) -> Option<ImageFolder> {
    let found = match ImageFolder::open_with_gaps(dir) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!("no test images: {error}");
            return None;
        }
    };
    for class in found.unknown_classes(classes) {
        tracing::warn!(
            "class {class:?} in {} is not in the training data; its images are left out",
            dir.display()
        );
    }
    let test = found.of_classes(classes);
    if test.is_empty() {
        tracing::warn!(
            "no test images: no class in {} is in the training data",
            dir.display()
        );
        return None;
    }
    for class in test.missing_classes() {
        tracing::warn!(
            "class {class:?} has no images in {}; test metrics will not cover it",
            dir.display()
        );
    }
    Some(test)
}

/// Training and validation images as they were drawn from `all` before. `None` where nothing was drawn, or where `all` is
/// not the list of images that was drawn from.
///
/// # Errors
/// Those of drawing, see [`Splits::open`].
pub fn redraw(
    all: &ImageFolder,
    origin: &SplitOrigin,
) -> Result<Option<(ImageFolder, ImageFolder)>, DataError> {
    match origin {
        SplitOrigin::Stratified {
            valid_fraction,
            seed,
            fingerprint: drawn_from,
            ..
        } if *drawn_from == fingerprint(all) => {
            let options = SplitOptions {
                valid_fraction: *valid_fraction,
                seed: *seed,
            };
            stratify(all, &options, true).map(Some)
        }
        _ => Ok(None),
    }
}

/// Tells one list of images from another by the classes and the paths below the root, wherever that lies.
pub fn fingerprint(folder: &ImageFolder) -> String {
    let mut hasher = Sha256::new();
    for class in &folder.classes {
        hasher.update(class.as_bytes());
        hasher.update([0]);
    }
    for sample in &folder.samples {
        let path = sample
            .path
            .strip_prefix(&folder.root)
            .unwrap_or(&sample.path);
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update([0]);
    }
    crate::files::hex(&hasher.finalize()[..8])
}

/// Shares `total` out in proportion to `counts`, at most the count each and at least 1 where it is not 0. `total` must lie
/// between the number of counts above 0 and their sum.
fn shares(counts: &[usize], total: usize) -> Vec<usize> {
    let sum: usize = counts.iter().sum();
    let exact = |count: usize| count as f64 * total as f64 / sum as f64;
    let mut shares: Vec<usize> = counts
        .iter()
        .map(|&n| (exact(n) as usize).clamp(n.min(1), n))
        .collect();
    // What rounding left over goes, one by one, to the class that is furthest from its exact share.
    while shares.iter().sum::<usize>() != total {
        let missing = shares.iter().sum::<usize>() < total;
        let sign = if missing { 1.0 } else { -1.0 };
        let movable = |i: &usize| {
            if missing {
                shares[*i] < counts[*i]
            } else {
                shares[*i] > 1
            }
        };
        let gap = |i: usize| sign * (exact(counts[i]) - shares[i] as f64);
        let furthest = (0..counts.len())
            .filter(movable)
            .max_by(|&a, &b| gap(a).total_cmp(&gap(b)).then(b.cmp(&a)));
        match furthest {
            Some(i) if missing => shares[i] += 1,
            Some(i) => shares[i] -= 1,
            None => break,
        }
    }
    shares
}

/// Training and validation images drawn from `all`, class by class. With `gaps`, a class with fewer than two images is no
/// error: what it has is trained on.
pub(super) fn stratify(
    all: &ImageFolder,
    options: &SplitOptions,
    gaps: bool,
) -> Result<(ImageFolder, ImageFolder), DataError> {
    let fraction = options.valid_fraction;
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(DataError::ValidFraction { value: fraction });
    }
    let mut quotas = Vec::with_capacity(all.classes.len());
    for (class, count) in all.classes.iter().zip(all.class_counts()) {
        if count < 2 && gaps {
            quotas.push(0);
            continue;
        }
        if count < 2 {
            return Err(DataError::SingleImageClass {
                class: class.clone(),
                path: all.root.clone(),
            });
        }
        quotas.push(((count as f64 * fraction).round() as usize).clamp(1, count - 1));
    }
    let (valid, train) = partition(all, &quotas, options.seed, Purpose::Split);
    Ok((train, valid))
}

/// Draws `quotas[class]` images of each class; returns the drawn and the others, both in their original order.
fn partition(
    all: &ImageFolder,
    quotas: &[usize],
    seed: u64,
    purpose: Purpose,
) -> (ImageFolder, ImageFolder) {
    let mut by_class = vec![Vec::new(); all.classes.len()];
    for (i, sample) in all.samples.iter().enumerate() {
        by_class[sample.class].push(i);
    }
    let mut drawn = vec![false; all.samples.len()];
    for (class, (members, &quota)) in by_class.iter_mut().zip(quotas).enumerate() {
        members.shuffle(&mut seed::rng(seed, purpose, class as u64, 0));
        for &i in &members[..quota] {
            drawn[i] = true;
        }
    }
    let keep = |wanted: bool| -> Vec<Sample> {
        all.samples
            .iter()
            .zip(&drawn)
            .filter(|(_, d)| **d == wanted)
            .map(|(s, _)| s.clone())
            .collect()
    };
    let folder = |samples| ImageFolder {
        root: all.root.clone(),
        classes: all.classes.clone(),
        samples,
    };
    (folder(keep(true)), folder(keep(false)))
}

#[cfg(test)]
mod tests;
