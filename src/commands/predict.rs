//! `predict`: class names and probabilities for photos.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::activation::softmax;
use serde_json::json;

use super::CommandError;
use crate::artifact::Artifact;
use crate::cli::PredictArgs;
use crate::config::Precision;
use crate::data::{Batch, DecodeLimits, EXTENSIONS, decode_file};
use crate::device::{Selected, select};
use crate::feed::normalise;
use crate::model::FusedResNet;
use crate::run_folder::newest_model;

/// A class and its probability.
struct Guess<'a> {
    class: &'a str,
    index: usize,
    probability: f32,
}

pub fn run(args: &PredictArgs) -> Result<ExitCode, CommandError> {
    let path = match &args.model {
        Some(path) => path.clone(),
        None => {
            let path = newest_model()?;
            tracing::info!("model: {} (the newest)", path.display());
            path
        }
    };
    let device = select(args.device, Precision::Float32)?;
    let artifact = Artifact::load(&path, &device.device)?;
    let network = artifact.model.fused();
    let images = list_images(&args.images)?;
    let mut out = std::io::stdout().lock();
    let mut failed = false;
    for (number, image) in images.iter().enumerate() {
        match classify(&artifact, &network, image, &device) {
            Ok(probabilities) => {
                let best = top(&artifact, &probabilities, args.top_k);
                match args.json {
                    true => writeln!(out, "{}", as_json(image, &best))?,
                    false => print_bars(&mut out, image, &best, number > 0)?,
                }
            }
            Err(error) => {
                failed = true;
                match args.json {
                    true => writeln!(
                        out,
                        "{}",
                        json!({ "image": image.to_string_lossy(), "error": error.to_string() })
                    )?,
                    false => eprintln!("error: {error}"),
                }
            }
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
        let entries = std::fs::read_dir(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .map(|e| e.path())
            .filter(|p| is_image(p))
            .collect();
        if found.is_empty() {
            return Err(format!(
                "{}: no images in this folder ({})",
                path.display(),
                EXTENSIONS.join(", ")
            )
            .into());
        }
        found.sort();
        images.extend(found);
    }
    Ok(images)
}

fn is_image(path: &Path) -> bool {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .map(str::to_ascii_lowercase);
    path.is_file() && extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

/// The probability of each class.
fn classify(
    artifact: &Artifact,
    network: &FusedResNet,
    path: &Path,
    device: &Selected,
) -> Result<Vec<f32>, CommandError> {
    let image = decode_file(path, &DecodeLimits::default())
        .map_err(|e| format!("{}: {e}", path.display()))?;
    let preprocess = &artifact.manifest.preprocess;
    let side = preprocess.crop as usize;
    let batch = Batch {
        index: 0,
        images: preprocess.apply(&image),
        targets: vec![0],
        indices: vec![0],
        height: side,
        width: side,
    };
    let logits = network.forward(normalise(&batch, preprocess, &device.device));
    Ok(softmax(logits, 1)
        .into_data()
        .convert::<f32>()
        .iter::<f32>()
        .collect())
}

fn top<'a>(artifact: &'a Artifact, probabilities: &[f32], top_k: usize) -> Vec<Guess<'a>> {
    let classes = artifact
        .manifest
        .classes
        .iter()
        .enumerate()
        .zip(probabilities);
    let mut guesses: Vec<Guess> = classes
        .map(|((index, class), p)| Guess {
            class,
            index,
            probability: *p,
        })
        .collect();
    guesses.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    guesses.truncate(top_k);
    guesses
}

/// Not the path itself: serde refuses names that are not UTF-8.
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
