//! Pictures for the report: what the network sees while it trains, and what it is most wrong about.
//!
//! Input: folders of photos and [`Mistake`]s. Output: [`Picture`]s. They are decoration: what cannot be read is left out.

use image::RgbImage;

use super::feeds::Loaders;
use crate::data::{
    Batch, DecodeLimits, ImageFolder, Preprocess, QuickLook, Skipped, jpeg, parallel, resize_to,
};
use crate::eval::Mistake;
use crate::report::Picture;

/// Side of a picture in the report.
const SIDE: u32 = 128;
/// Training images that are shown.
const TRAINING: usize = 16;

/// What the report shows besides figures.
#[derive(Debug, Default)]
pub struct Pictures {
    pub mistakes: Vec<Picture>,
    pub training: Vec<Picture>,
    pub look: Option<QuickLook>,
}

/// The first training images of epoch 0, exactly as the network gets them.
pub fn training(loaders: &Loaders, folder: &ImageFolder, skipped: &[Skipped]) -> Vec<Picture> {
    let Some(Ok(batch)) = loaders.first_epoch(folder, skipped).next() else {
        return Vec::new();
    };
    let side = (batch.width, batch.height);
    let images = pixels(&batch).take(TRAINING).zip(&batch.targets);
    images
        .filter_map(|(pixels, class)| {
            let image = RgbImage::from_raw(side.0 as u32, side.1 as u32, pixels.to_vec())?;
            let class = folder.classes.get(*class)?;
            picture(&image, class.clone(), vec![class.clone()])
        })
        .collect()
}

fn pixels(batch: &Batch) -> impl Iterator<Item = &[u8]> {
    batch.images.chunks_exact(batch.width * batch.height * 3)
}

/// The mistakes that the network was surest of, cropped as it saw them.
pub fn mistakes(
    folder: &ImageFolder,
    preprocess: &Preprocess,
    mistakes: &[Mistake],
    workers: usize,
) -> Vec<Picture> {
    let drawn = parallel::map(mistakes, workers, |mistake| {
        let sample = folder.samples.get(mistake.index)?;
        let image = sample.decode(&DecodeLimits::default()).ok()?;
        let seen = RgbImage::from_raw(preprocess.crop, preprocess.crop, preprocess.apply(&image))?;
        let name = |class: usize| folder.classes.get(class).map_or("?", String::as_str);
        let file = sample
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        picture(
            &seen,
            format!(
                "{}, taken for {}",
                name(mistake.target),
                name(mistake.predicted)
            ),
            vec![
                name(mistake.target).to_string(),
                format!("taken for {}", name(mistake.predicted)),
                format!("{:.1} % sure", 100.0 * mistake.confidence),
                file.into_owned(),
            ],
        )
    });
    drawn.into_iter().flatten().collect()
}

fn picture(image: &RgbImage, alt: String, lines: Vec<String>) -> Option<Picture> {
    let small = match image.width() > SIDE {
        true => resize_to(image, SIDE, SIDE),
        false => image.clone(),
    };
    let jpeg = jpeg(&small).ok()?;
    Some(Picture { jpeg, alt, lines })
}
