//! Example photos in a model directory, so that a prediction can be shown beside real members of a class.
//!
//! Input: training images. Output: `examples/<class index, 4 digits>-<n>.jpg`, small squares counted from 1, and how many
//! there are of each class. They are decoration: no hash guards them, and a model without them is whole.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::data::{DecodeLimits, ImageFolder, Sample, jpeg, parallel, square};

/// Name of the folder inside a model directory.
pub const EXAMPLES: &str = "examples";
/// No model has more of them, in all.
pub const MOST_EXAMPLES: usize = 10_000;
/// No file of them is larger.
pub const MOST_EXAMPLE_BYTES: u64 = 64 << 10;

/// Where they grow until all are there; a killed run may leave it, and the next one clears it away.
const UNFINISHED: &str = ".examples.tmp";
/// Side in pixels.
const SIDE: u32 = 112;
/// Broken files that are passed over in one class before it is given up.
const PATIENCE: usize = 10;

/// What was saved, and what stood in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedExamples {
    /// How many of each class; empty if there are none at all.
    pub counts: Vec<usize>,
    /// The first class that got none though it has photos, and why.
    pub failed: Option<(String, String)>,
    /// Whether it was ended before every class had its turn.
    pub cut_short: bool,
}

/// The file name of an example of a class.
pub fn example_name(class: usize, n: usize) -> String {
    format!("{class:04}-{n}.jpg")
}

/// Whether `name` is one that [`example_name`] makes: nothing else is ever read or unpacked.
pub fn is_example_name(name: &str) -> bool {
    let Some((class, n)) = name
        .strip_suffix(".jpg")
        .and_then(|stem| stem.split_once('-'))
    else {
        return false;
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    class.len() == 4 && (1..=5).contains(&n.len()) && all_digits(class) && all_digits(n)
}

/// Puts up to `per_class` examples of each class into the model directory `folder`, the first readable ones of `train`.
/// Those of an earlier save go. `limits` is asked before each image; `None` ends it early.
///
/// # Errors
/// The directory cannot be written; then it holds no examples.
pub fn save_examples(
    folder: &Path,
    train: &ImageFolder,
    per_class: usize,
    workers: usize,
    limits: &(impl Fn() -> Option<DecodeLimits> + Sync),
) -> io::Result<SavedExamples> {
    let (unfinished, finished) = (folder.join(UNFINISHED), folder.join(EXAMPLES));
    remove_folder(&unfinished)?;
    remove_folder(&finished)?;
    let classes = train.classes.len();
    // Names have four digits for the class, and readers stop at the limit.
    let per_class = per_class.min(MOST_EXAMPLES / classes.max(1));
    if per_class == 0 {
        return Ok(SavedExamples::default());
    }
    fs::create_dir_all(&unfinished)?;
    let taken = take_all(&unfinished, train, per_class, workers, limits);
    let moved = taken.and_then(|saved| {
        if !saved.counts.is_empty() {
            fs::rename(&unfinished, &finished)?;
            crate::files::sync_folder_of(&finished);
        }
        Ok(saved)
    });
    let cleared = remove_folder(&unfinished);
    moved.and_then(|saved| cleared.map(|()| saved))
}

fn take_all(
    place: &Path,
    train: &ImageFolder,
    per_class: usize,
    workers: usize,
    limits: &(impl Fn() -> Option<DecodeLimits> + Sync),
) -> io::Result<SavedExamples> {
    let mut candidates: Vec<Vec<&Sample>> = vec![Vec::new(); train.classes.len()];
    for sample in &train.samples {
        let class = &mut candidates[sample.class];
        if class.len() < per_class + PATIENCE {
            class.push(sample);
        }
    }
    let cut_short = AtomicBool::new(false);
    let results = parallel::map(&candidates, workers, |samples| {
        take_class(place, samples, per_class, &|| {
            let limits = limits();
            cut_short.fetch_or(limits.is_none(), Ordering::Relaxed);
            limits
        })
    });
    let mut saved = SavedExamples {
        cut_short: cut_short.into_inner(),
        ..Default::default()
    };
    for (class, result) in train.classes.iter().zip(results) {
        let (count, problem) = result?;
        saved.counts.push(count);
        if let (0, None, Some(problem)) = (count, &saved.failed, problem) {
            saved.failed = Some((class.clone(), problem));
        }
    }
    if saved.counts.iter().all(|count| *count == 0) {
        saved.counts.clear();
    }
    Ok(saved)
}

/// How many of one class were written, and why the last broken image was.
fn take_class(
    place: &Path,
    samples: &[&Sample],
    per_class: usize,
    limits: &dyn Fn() -> Option<DecodeLimits>,
) -> io::Result<(usize, Option<String>)> {
    let (mut count, mut problem) = (0, None);
    for sample in samples {
        if count == per_class {
            break;
        }
        let Some(limits) = limits() else { break };
        match sample.decode(&limits) {
            Ok(image) => {
                count += 1;
                let path = place.join(example_name(sample.class, count));
                fs::write(path, jpeg(&square(&image, SIDE))?)?;
            }
            Err(error) => problem = Some(format!("{}: {error}", sample.path.display())),
        }
    }
    Ok((count, problem))
}

/// Reads one example of the model directory `folder`, which may be anybody's.
///
/// # Errors
/// No such name, no regular file, or one larger than an example is.
pub fn read_example(folder: &Path, name: &str) -> io::Result<Vec<u8>> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::NotFound, format!("{name}: {why}"));
    if !is_example_name(name) {
        return Err(refused("not the name of an example"));
    }
    let path = folder.join(EXAMPLES).join(name);
    // Not through a link: it could lead to any file of this machine.
    let found = fs::symlink_metadata(&path)?;
    if !found.is_file() || found.len() > MOST_EXAMPLE_BYTES {
        return Err(refused("not a small regular file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(&path)?;
    file.take(MOST_EXAMPLE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
