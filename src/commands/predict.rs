//! `predict`: class names and probabilities for photos, from a model on this machine or from a server.

mod remote;
mod report;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use serde_json::json;

use super::{CommandError, workers_or_cores};
use crate::artifact::Artifact;
use crate::cli::PredictArgs;
use crate::data::{Batch, DecodeLimits, EXTENSIONS, images_in, parallel};
use crate::device::{Selected, select};
use crate::feed::normalise;
use crate::model::FusedResNet;
use crate::run_folder::newest_model;

/// Photos that go through the network together.
const BATCH: usize = 16;

/// A class and its probability.
struct Guess {
    class: String,
    index: usize,
    probability: f32,
}

/// The most probable classes of a photo, or why there are none.
type Guesses = Result<Vec<Guess>, String>;

/// A photo as the network saw it, and what it said.
struct Seen {
    /// Of the crop, row by row.
    pixels: Vec<u8>,
    probabilities: Vec<f32>,
}

/// What the network said of a photo, or why it could not be read.
type Answer = Result<Seen, String>;

pub fn run(args: &PredictArgs) -> Result<ExitCode, CommandError> {
    if let Some(url) = &args.endpoint {
        return show(args, |images| {
            let ask = |image: &PathBuf| remote::ask(url, image, args.top_k);
            parallel::map(images, workers_or_cores(None), ask)
        });
    }
    let path = match &args.model {
        Some(path) => path.clone(),
        None => {
            let path = newest_model()?;
            tracing::info!("model: {} (the newest)", path.display());
            path
        }
    };
    let device = select(args.device)?;
    let artifact = Artifact::load(&path, &device.device)?;
    let network = artifact.model.fused();
    let mut photos = Vec::new();
    let code = show(args, |images| {
        let answers = classify(&artifact, &network, images, &device);
        if args.report.is_some() {
            let pages = images.iter().zip(&answers);
            photos.extend(
                pages.map(|(image, answer)| report::photo(&artifact, image, answer, &device)),
            );
        }
        let best =
            |answer: Answer| answer.map(|seen| top(&artifact, &seen.probabilities, args.top_k));
        answers.into_iter().map(best).collect()
    })?;
    if let Some(path) = &args.report {
        report::write(path, &artifact, photos)?;
    }
    Ok(code)
}

/// Classifies the photos group by group and prints what comes out.
fn show(
    args: &PredictArgs,
    mut classify: impl FnMut(&[PathBuf]) -> Vec<Guesses>,
) -> Result<ExitCode, CommandError> {
    let images = list_images(&args.images)?;
    let mut out = std::io::stdout().lock();
    let mut failed = false;
    let mut shown = 0;
    for group in images.chunks(BATCH) {
        for (image, best) in group.iter().zip(classify(group)) {
            failed |= best.is_err();
            match (best, args.json) {
                (Ok(best), true) => writeln!(out, "{}", as_json(image, &best))?,
                (Ok(best), false) => print_bars(&mut out, image, &best, shown > 0)?,
                (Err(error), true) => {
                    let image = image.to_string_lossy();
                    writeln!(out, "{}", json!({ "image": image, "error": error }))?;
                }
                (Err(error), false) => tracing::error!("{error}"),
            }
            shown += 1;
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Files as they are, folders as the images in them.
fn list_images(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let mut images = Vec::new();
    for path in paths {
        if !path.is_dir() {
            images.push(path.clone());
            continue;
        }
        let found = images_in(path)?;
        if found.is_empty() {
            let (path, known) = (path.display(), EXTENSIONS.join(", "));
            return Err(format!("{path}: no images in this folder ({known})").into());
        }
        images.extend(found);
    }
    Ok(images)
}

/// What the network says of each image. Images are decoded by all cores and go through the network together.
fn classify(
    artifact: &Artifact,
    network: &FusedResNet,
    paths: &[PathBuf],
    device: &Selected,
) -> Vec<Answer> {
    let preprocess = &artifact.manifest.preprocess;
    let decoded = parallel::map(paths, workers_or_cores(None), |path| {
        let pixels = preprocess.decode_file(path, &DecodeLimits::default());
        pixels.map_err(|e| format!("{}: {e}", path.display()))
    });
    let readable: Vec<&Vec<u8>> = decoded.iter().flatten().collect();
    let mut rows = Vec::new();
    if !readable.is_empty() {
        let images = readable.into_iter().flatten().copied().collect();
        let logits = network.forward(network_input(artifact, images, device));
        let probabilities = softmax(logits, 1).into_data().convert::<f32>();
        let values: Vec<f32> = probabilities.iter::<f32>().collect();
        rows = values
            .chunks(artifact.manifest.classes.len())
            .map(<[f32]>::to_vec)
            .collect();
    }
    let mut rows = rows.into_iter();
    let mut seen = |pixels| Seen {
        pixels,
        probabilities: rows.next().unwrap_or_default(),
    };
    decoded
        .into_iter()
        .map(|image| image.map(&mut seen))
        .collect()
}

/// Crops of photos, one behind the other, as the network takes them: `[N, 3, H, W]`.
fn network_input(artifact: &Artifact, images: Vec<u8>, device: &Selected) -> Tensor<4> {
    let preprocess = &artifact.manifest.preprocess;
    let side = preprocess.crop as usize;
    let count = images.len() / (3 * side * side);
    let batch = Batch {
        index: 0,
        images,
        targets: vec![0; count],
        indices: (0..count).collect(),
        height: side,
        width: side,
    };
    normalise(&batch, preprocess, &device.device)
}

fn top(artifact: &Artifact, probabilities: &[f32], top_k: usize) -> Vec<Guess> {
    let classes = artifact
        .manifest
        .classes
        .iter()
        .enumerate()
        .zip(probabilities);
    let mut guesses: Vec<Guess> = classes
        .map(|((index, class), p)| Guess {
            class: class.clone(),
            index,
            probability: *p,
        })
        .collect();
    guesses.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    guesses.truncate(top_k);
    guesses
}

fn as_json(image: &Path, guesses: &[Guess]) -> serde_json::Value {
    let guesses: Vec<_> = guesses
        .iter()
        .map(|g| json!({ "class": g.class, "index": g.index, "probability": g.probability }))
        .collect();
    json!({ "image": image.to_string_lossy(), "predictions": guesses })
}

fn print_bars(out: &mut impl Write, image: &Path, guesses: &[Guess], gap: bool) -> io::Result<()> {
    const BAR: usize = 24;
    if gap {
        writeln!(out)?;
    }
    writeln!(out, "{}", image.display())?;
    let width = guesses
        .iter()
        .map(|g| g.class.chars().count())
        .max()
        .unwrap_or(0);
    for guess in guesses {
        let filled = (guess.probability * BAR as f32).round() as usize;
        writeln!(
            out,
            "  {:width$}  {:6.2} %  {}",
            guess.class,
            guess.probability * 100.0,
            "█".repeat(filled)
        )?;
    }
    Ok(())
}
