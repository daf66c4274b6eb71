//! `predict --report`: a page about each photo.
//!
//! Input: the model and the photos. Output: one HTML file.

use std::path::{Path, PathBuf};

use burn::tensor::activation::softmax;
use image::{Rgb, RgbImage};

use crate::artifact::Artifact;
use crate::commands::CommandError;
use crate::data::{Batch, DecodeLimits, decode_file, jpeg};
use crate::device::Selected;
use crate::feed::normalise;
use crate::model::ActivationMap;
use crate::report::{Photo, Picture, Predictions, write_predictions};

/// How much of the photo the strongest heat covers.
const OPACITY: f32 = 0.65;
/// The colour of weak heat, and of the strongest.
const WEAK: [f32; 3] = [70.0, 30.0, 180.0];
const STRONG: [f32; 3] = [255.0, 200.0, 40.0];

/// Writes the page. A photo that cannot be read is named there.
///
/// # Errors
/// The file cannot be written.
pub fn write(
    path: &Path,
    artifact: &Artifact,
    photos: &[PathBuf],
    device: &Selected,
) -> Result<(), CommandError> {
    let photos: Vec<Photo> = photos
        .iter()
        .map(|photo| look(artifact, photo, device))
        .collect();
    let page = Predictions {
        model: format!(
            "{} ({})",
            artifact.path().display(),
            artifact.manifest.network.architecture
        ),
        created: crate::files::now_utc(),
        classes: artifact.manifest.classes.clone(),
        photos,
    };
    write_predictions(path, &page)
        .map_err(|error| format!("--report {}: {error}", path.display()))?;
    tracing::info!("report: {}", path.display());
    Ok(())
}

fn look(artifact: &Artifact, path: &Path, device: &Selected) -> Photo {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    match look_at(artifact, path, device) {
        Ok(photo) => Photo { name, ..photo },
        Err(error) => Photo {
            name,
            error: Some(error),
            ..Default::default()
        },
    }
}

fn look_at(artifact: &Artifact, path: &Path, device: &Selected) -> Result<Photo, String> {
    let preprocess = &artifact.manifest.preprocess;
    let image = decode_file(path, &DecodeLimits::default())
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let pixels = preprocess.apply(&image);
    let side = preprocess.crop;
    let batch = Batch {
        index: 0,
        images: pixels.clone(),
        targets: vec![0],
        indices: vec![0],
        height: side as usize,
        width: side as usize,
    };
    let input = normalise(&batch, preprocess, &device.device);
    let logits = artifact.model.fused().forward(input.clone());
    let probabilities: Vec<f32> = softmax(logits, 1)
        .into_data()
        .convert::<f32>()
        .iter::<f32>()
        .collect();
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
    let seen = RgbImage::from_raw(side, side, pixels).unwrap_or_default();
    let mut pictures = vec![picture(&seen, "the photo as the network saw it".into())];
    if let Some(map) = artifact.model.activation_maps(input, &[best]).first() {
        let words = format!(
            "what speaks for {} (Grad-CAM): the brighter, the more",
            class(best)
        );
        pictures.push(picture(&heated(&seen, map), words));
    }
    let examples = ranked
        .iter()
        .take(2)
        .map(|index| (class(*index), examples(artifact, *index)));
    Ok(Photo {
        pictures: pictures.into_iter().flatten().collect(),
        examples: examples
            .filter(|(_, pictures)| !pictures.is_empty())
            .collect(),
        probabilities,
        ..Default::default()
    })
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
