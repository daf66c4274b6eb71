//! `predict --report`: a page about each photo.
//!
//! Input: the model, and the photos with what it said of them. Output: one HTML file.

use std::path::Path;

use image::{Rgb, RgbImage};

use super::{Answer, Seen, network_input};
use crate::artifact::Artifact;
use crate::commands::CommandError;
use crate::data::jpeg;
use crate::device::Selected;
use crate::model::ActivationMap;
use crate::report::{Photo, Picture, Predictions, write_predictions};

/// How much of the photo the strongest heat covers.
const OPACITY: f32 = 0.65;
/// The colour of weak heat, and of the strongest.
const WEAK: [f32; 3] = [70.0, 30.0, 180.0];
const STRONG: [f32; 3] = [255.0, 200.0, 40.0];

/// Writes the page.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, artifact: &Artifact, photos: Vec<Photo>) -> Result<(), CommandError> {
    let architecture = artifact.manifest.network.architecture;
    let page = Predictions {
        model: format!("{} ({architecture})", artifact.path.display()),
        created: crate::files::now_utc(),
        classes: artifact.manifest.classes.clone(),
        photos,
    };
    write_predictions(path, &page)
        .map_err(|error| format!("--report {}: {error}", path.display()))?;
    tracing::info!("report: {}", path.display());
    Ok(())
}

/// A photo's part of the page; one that could not be read is named with the reason.
pub fn photo(artifact: &Artifact, path: &Path, answer: &Answer, device: &Selected) -> Photo {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    match answer {
        Ok(seen) => Photo {
            name,
            ..explained(artifact, seen, device)
        },
        Err(error) => Photo {
            name,
            error: Some(error.clone()),
            ..Default::default()
        },
    }
}

fn explained(artifact: &Artifact, seen: &Seen, device: &Selected) -> Photo {
    let side = artifact.manifest.preprocess.crop;
    let probabilities = seen.probabilities.clone();
    let mut ranked: Vec<usize> = (0..probabilities.len()).collect();
    ranked.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    let class = |class: usize| {
        artifact
            .manifest
            .classes
            .get(class)
            .cloned()
            .unwrap_or_default()
    };
    let best = ranked.first().copied().unwrap_or(0);
    let shown = RgbImage::from_raw(side, side, seen.pixels.clone()).unwrap_or_default();
    let mut pictures = vec![picture(&shown, "the photo as the network saw it".into())];
    let input = network_input(artifact, seen.pixels.clone(), device);
    if let Some(map) = artifact.model.activation_maps(input, &[best]).first() {
        let words = format!(
            "what speaks for {} (Grad-CAM): the brighter, the more",
            class(best)
        );
        pictures.push(picture(&heated(&shown, map), words));
    }
    let examples = ranked
        .iter()
        .take(2)
        .map(|index| (class(*index), examples(artifact, *index)));
    Photo {
        pictures: pictures.into_iter().flatten().collect(),
        examples: examples
            .filter(|(_, pictures)| !pictures.is_empty())
            .collect(),
        probabilities,
        ..Default::default()
    }
}

fn picture(image: &RgbImage, words: String) -> Option<Picture> {
    Some(Picture {
        jpeg: jpeg(image).ok()?,
        alt: words.clone(),
        lines: vec![words],
    })
}

/// Photos of a class that the model brings along.
fn examples(artifact: &Artifact, class: usize) -> Vec<Picture> {
    let count = artifact.manifest.examples.get(class).copied().unwrap_or(0);
    let name = artifact
        .manifest
        .classes
        .get(class)
        .cloned()
        .unwrap_or_default();
    let read = (1..=count).filter_map(|n| artifact.example(class, n).ok());
    read.map(|jpeg| Picture {
        jpeg,
        alt: name.clone(),
        lines: Vec::new(),
    })
    .collect()
}

/// The photo with the map laid over it.
fn heated(photo: &RgbImage, map: &ActivationMap) -> RgbImage {
    let (width, height) = photo.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        let heat = map.at(
            (x as f32 + 0.5) / width as f32,
            (y as f32 + 0.5) / height as f32,
        );
        let cover = OPACITY * heat;
        let colour = |channel: usize| WEAK[channel] + (STRONG[channel] - WEAK[channel]) * heat;
        let pixel = photo.get_pixel(x, y).0;
        Rgb(std::array::from_fn(|channel| {
            let mixed = f32::from(pixel[channel]) * (1.0 - cover) + colour(channel) * cover;
            mixed.round() as u8
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_colours_its_place_and_leaves_the_rest() {
        let photo = RgbImage::from_pixel(8, 8, Rgb([10, 20, 30]));
        let map = ActivationMap {
            height: 2,
            width: 2,
            values: vec![0.0, 0.0, 0.0, 5.0],
        };
        let hot = heated(&photo, &map);
        assert_eq!(hot.get_pixel(0, 0).0, [10, 20, 30]);
        let warm = hot.get_pixel(7, 7).0;
        assert!(warm[0] > 150 && warm[1] > 100, "{warm:?}");
    }
}
