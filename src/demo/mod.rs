//! A small picture set that the program draws itself, to try everything without a network and without files.
//!
//! Input: a folder and a seed. Output: `train/`, `valid/` and `test/`, each with one folder per [`Shape`]. Colours,
//! places, sizes, angles, backgrounds, noise and distracting strokes are random, so that only the shape tells the class.

mod scene;
mod shape;

pub use shape::Shape;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use image::{ImageFormat, RgbImage, codecs::jpeg::JpegEncoder};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Images of each class in each split. Enough for a network to learn the shapes from nothing in a few minutes on a CPU.
pub const IMAGES_PER_CLASS: [(&str, usize); 3] = [("train", 70), ("valid", 15), ("test", 15)];

/// Why the picture set could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A folder or file could not be made.
    #[error(
        "cannot write {path} of the demo pictures: {source}; choose a folder with space and write permission"
    )]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A picture could not be encoded.
    #[error("cannot encode {path} of the demo pictures: {source}")]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        source: image::ImageError,
    },
}

/// Draws the picture set into `folder`, which is made if it is not there. The same seed gives the same files.
///
/// # Errors
/// When a folder or a file cannot be written.
pub fn draw(folder: &Path, seed: u64) -> Result<(), DemoError> {
    let mut rng = StdRng::seed_from_u64(seed);
    for (split, count) in IMAGES_PER_CLASS {
        for shape in Shape::ALL {
            let class_folder = folder.join(split).join(shape.name());
            fs::create_dir_all(&class_folder).map_err(|source| DemoError::Write {
                path: class_folder.clone(),
                source,
            })?;
            for number in 1..=count {
                let picture = scene::random(shape, &mut rng);
                // As in real collections, most are JPEG files of varying quality and some are PNG.
                let jpeg_quality = if rng.random_bool(0.75) {
                    Some(rng.random_range(70..=95))
                } else {
                    None
                };
                let extension = if jpeg_quality.is_some() { "jpg" } else { "png" };
                write(
                    &picture,
                    jpeg_quality,
                    &class_folder.join(format!("{number:03}.{extension}")),
                )?;
            }
        }
    }
    Ok(())
}

fn write(picture: &RgbImage, jpeg_quality: Option<u8>, path: &Path) -> Result<(), DemoError> {
    let failed = |source| DemoError::Write {
        path: path.into(),
        source,
    };
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    let encoded = match jpeg_quality {
        Some(quality) => JpegEncoder::new_with_quality(&mut file, quality).encode_image(picture),
        None => picture.write_to(&mut file, ImageFormat::Png),
    };
    encoded.map_err(|source| DemoError::Encode {
        path: path.into(),
        source,
    })?;
    file.flush().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file below `folder` with its content, in the order of names.
    fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        let read = |path: PathBuf| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![(path.clone(), fs::read(path).unwrap())]
            }
        };
        entries.into_iter().flat_map(read).collect()
    }

    #[test]
    fn the_set_is_complete_and_the_same_for_a_seed() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        draw(one.path(), 7).unwrap();
        draw(other.path(), 7).unwrap();
        let (ones, others) = (files(one.path()), files(other.path()));
        assert_eq!(ones.len(), 8 * (70 + 15 + 15));
        for ((one_path, one_bytes), (other_path, other_bytes)) in ones.iter().zip(&others) {
            assert_eq!(
                one_path.strip_prefix(&one).unwrap(),
                other_path.strip_prefix(&other).unwrap()
            );
            assert!(one_bytes == other_bytes, "{} differs", one_path.display());
        }
        let pngs = ones
            .iter()
            .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "png"))
            .count();
        assert!((100..400).contains(&pngs), "{pngs} PNG files");
        for (path, bytes) in ones.iter().step_by(37) {
            let picture = image::load_from_memory(bytes).unwrap();
            assert!(
                (84..=112).contains(&picture.width()) && (84..=112).contains(&picture.height()),
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("occupied");
        fs::write(&file, "").unwrap();
        let error = draw(&file, 1).unwrap_err().to_string();
        assert!(error.contains("occupied"), "{error}");
    }
}
