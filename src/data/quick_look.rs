//! A quick look at the photos of a run: their sizes, and whether some lie in two splits.
//!
//! Input: the splits. Output: [`QuickLook`]. Headers and file sizes tell most; only files of equal size are read whole. It ends after a
//! few seconds, as nobody waits for a report; `inspect` takes the time to look at everything.

use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::folder::ImageFolder;
use super::inspect::equal;
use super::parallel;
use super::split::Splits;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuickLook {
    /// Files whose header was read.
    pub looked_at: usize,
    pub files: usize,
    /// Smallest, median and largest shorter side, in pixels.
    pub sides: Option<[u32; 3]>,
    /// Groups of equal files that lie in more than one split, each by its files.
    pub leaks: Vec<Vec<String>>,
    /// Groups of equal files within one split.
    pub duplicates: usize,
}

/// Looks at the files of all splits. Images that are parts of larger files are left out.
pub fn quick_look(splits: &Splits, workers: usize) -> QuickLook {
    let folders = [
        Some(&splits.train),
        Some(&splits.valid),
        splits.test.as_ref(),
    ];
    let files: Vec<(usize, &Path)> = folders
        .into_iter()
        .enumerate()
        .flat_map(|(split, folder)| paths(folder).map(move |path| (split, path)))
        .collect();
    let end = Instant::now() + PATIENCE;
    let headers = parallel::map(&files, workers, |(_, path)| {
        (Instant::now() < end).then(|| header(path)).flatten()
    });
    let mut sides: Vec<u32> = headers.iter().flatten().map(|(side, _)| *side).collect();
    sides.sort_unstable();
    let groups = equal_files(&files, &headers, workers, end);
    let crosses = |group: &Vec<usize>| group.iter().any(|file| files[*file].0 != files[group[0]].0);
    let name = |file: &usize| files[*file].1.display().to_string();
    QuickLook {
        looked_at: sides.len(),
        files: files.len(),
        sides: (!sides.is_empty())
            .then(|| [sides[0], sides[sides.len() / 2], sides[sides.len() - 1]]),
        duplicates: groups.iter().filter(|group| !crosses(group)).count(),
        leaks: groups
            .iter()
            .filter(|group| crosses(group))
            .map(|group| group.iter().map(name).collect())
            .collect(),
    }
}

fn paths(folder: Option<&ImageFolder>) -> impl Iterator<Item = &Path> {
    folder
        .into_iter()
        .flat_map(|folder| folder.samples.iter().filter_map(|sample| sample.file()))
}

/// The shorter side and the size in bytes; `None` for a file that is no picture.
fn header(path: &Path) -> Option<(u32, u64)> {
    let reader = image::ImageReader::open(path)
        .ok()?
        .with_guessed_format()
        .ok()?;
    let (width, height) = reader.into_dimensions().ok()?;
    Some((width.min(height), std::fs::metadata(path).ok()?.len()))
}

/// Groups of files with the same content, each in order.
fn equal_files(
    files: &[(usize, &Path)],
    headers: &[Option<(u32, u64)>],
    workers: usize,
    end: Instant,
) -> Vec<Vec<usize>> {
    let alike = equal(headers.iter().copied());
    let mut alike: Vec<usize> = alike.into_iter().flat_map(|(_, group)| group).collect();
    alike.sort_unstable();
    let digests = parallel::map(&alike, workers, |file| {
        let bytes = (Instant::now() < end)
            .then(|| std::fs::read(files[*file].1).ok())
            .flatten()?;
        Some(<[u8; 32]>::from(Sha256::digest(&bytes)))
    });
    let groups = equal(digests.into_iter()).into_iter();
    groups
        .map(|(_, group)| group.into_iter().map(|at| alike[at]).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSource, Images, Opening, SplitOptions};

    #[test]
    fn sizes_leaks_and_duplicates_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let picture = |name: &str, side: u32, shade: u8| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::from_pixel(side, side + 10, image::Rgb([shade; 3]))
                .save(path)
                .unwrap();
        };
        for (name, side, shade) in [
            ("train/a/1.png", 20, 1),
            ("train/a/2.png", 20, 1),
            ("train/b/1.png", 40, 2),
            ("valid/a/1.png", 30, 3),
            ("valid/b/1.png", 40, 2),
        ] {
            picture(name, side, shade);
        }
        std::fs::write(dir.path().join("train/b/broken.jpg"), "no picture").unwrap();
        let source = DataSource::of(Images::in_folder(dir.path()).unwrap());
        let opening = Opening {
            scratch: dir.path(),
            stopped: &|| false,
        };
        let splits = source
            .open(&SplitOptions::default(), opening)
            .unwrap()
            .unwrap();
        let look = quick_look(&splits, 2);
        assert_eq!((look.looked_at, look.files), (5, 6));
        assert_eq!(look.sides, Some([20, 30, 40]));
        assert_eq!(look.duplicates, 1);
        assert_eq!(look.leaks.len(), 1);
        assert!(
            look.leaks[0][0].ends_with("train/b/1.png")
                && look.leaks[0][1].ends_with("valid/b/1.png")
        );
    }
}
