//! `eval`: how good a trained model is on labelled photos.

use std::path::Path;

use serde_json::{Value, json};

use super::{CommandError, say, say_line, workers_or_cores, write_json};
use crate::artifact::{Artifact, Manifest};
use crate::cli::EvalArgs;
use crate::data::{
    ImageCache, ImageFolder, Loader, LoaderConfig, Mode, SplitFolders, SplitOrigin, open_test,
    redraw,
};
use crate::device::select;
use crate::eval::{Scores, class_table, evaluate, write_confusion};
use crate::feed::{ImageSource, Source};
use crate::sinks::{EvaluationStep, Event, ProgressSink, Sinks};

pub fn run(args: &EvalArgs) -> Result<(), CommandError> {
    let device = select(args.device)?;
    let artifact = Artifact::load(&args.model, &device.device)?;
    let manifest = &artifact.manifest;
    let Chosen { folder, split } = labelled_images(&args.data, args.split.as_deref(), manifest)?;
    let folder = folder.with_classes(&manifest.classes)?;
    tracing::info!(
        "{} images of {} on {}",
        folder.len(),
        folder.root.display(),
        device.name
    );

    let config = LoaderConfig {
        workers: workers_or_cores(args.workers),
        strict: args.strict,
        // Each image is looked at once, so nothing is worth keeping.
        cache: ImageCache::new(0).into(),
        ..LoaderConfig::new(args.batch_size, manifest.preprocess.clone(), Mode::Eval)
    };
    let source = ImageSource::new(
        Loader::new(folder, config),
        manifest.preprocess.clone(),
        device.device.clone(),
    );
    let steps = source.batches();
    let mut sinks = Sinks::new().with(ProgressSink::new(crate::logging::terminal()));
    let scores = evaluate(
        &artifact.model,
        &source,
        manifest.classes.len(),
        args.top_k,
        |batch| {
            let step = batch.done;
            sinks.emit(&Event::Evaluating(EvaluationStep { split, step, steps }));
            true
        },
    )?;
    sinks.emit(&Event::RunEnded);
    let scores = scores
        .filter(|s| s.images() > 0)
        .ok_or("no image could be read: see the warnings above")?;
    let skipped = source.skipped().len();
    let findings = as_json(&scores, &manifest.classes, skipped);
    if let Some(output) = &args.output {
        std::fs::create_dir_all(output).map_err(|e| format!("{}: {e}", output.display()))?;
        write_json(&output.join("metrics.json"), &findings)?;
        let path = output.join("confusion.csv");
        write_confusion(&path, &scores.confusion, &manifest.classes)
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    match args.json {
        true => say_line(format_args!("{findings}"))?,
        false => print_text(&scores, &manifest.classes, skipped)?,
    }
    Ok(())
}

/// Images to measure on, and what to call them.
struct Chosen {
    folder: ImageFolder,
    split: &'static str,
}

/// The split that was asked for, else test, else valid, else what was held out of a folder without splits when the model
/// was trained. Figures on images that the model was trained on flatter it, so where that can happen it is said.
fn labelled_images(
    root: &Path,
    split: Option<&str>,
    manifest: &Manifest,
) -> Result<Chosen, CommandError> {
    let shown = root.display();
    let (wanted, folders) = (split_name(split)?, SplitFolders::find(root)?);
    let Some(folders) = folders else {
        return match wanted {
            None => held_out(ImageFolder::open(root)?, manifest),
            Some(name) => Err(format!("--split {name}: {shown} holds no split folders").into()),
        };
    };
    let asked_for = |name| wanted.is_none_or(|wanted| wanted == name);
    // Test images are taken as training takes them, so that both measure the same.
    let test = folders.test.filter(|_| asked_for("test"));
    if let Some(folder) = test.and_then(|path| open_test(&path, &manifest.classes)) {
        let split = "test";
        return Ok(Chosen { folder, split });
    }
    if let Some(path) = folders.valid.filter(|_| asked_for("valid")) {
        let (folder, split) = (ImageFolder::open(path)?, "valid");
        return Ok(Chosen { folder, split });
    }
    match wanted {
        None => {
            tracing::warn!("{shown} has no test or valid images: taking what is in train");
            held_out(ImageFolder::open(folders.train)?, manifest)
        }
        Some("train") => {
            tracing::warn!("these are training images: the figures say nothing about new photos");
            let (folder, split) = (ImageFolder::open(folders.train)?, "train");
            Ok(Chosen { folder, split })
        }
        Some(name) => Err(format!("--split {name}: {shown} has no such images").into()),
    }
}

fn split_name(typed: Option<&str>) -> Result<Option<&'static str>, CommandError> {
    match typed {
        None => Ok(None),
        Some("train" | "training") => Ok(Some("train")),
        Some("valid" | "val" | "validation") => Ok(Some("valid")),
        Some("test" | "testing") => Ok(Some("test")),
        Some(name) => Err(format!("--split {name}: expected train, valid or test").into()),
    }
}

/// The part of `all` that training held out, where the manifest shows that it was drawn from these very images.
fn held_out(all: ImageFolder, manifest: &Manifest) -> Result<Chosen, CommandError> {
    let drawn = match &manifest.split {
        Some(origin) => redraw(&all, origin)?,
        None => None,
    };
    if let Some((_, folder)) = drawn {
        tracing::info!("the {} images that training held out", folder.len());
        return Ok(Chosen {
            folder,
            split: "validation",
        });
    }
    if matches!(manifest.split, Some(SplitOrigin::Stratified { .. })) {
        tracing::warn!(
            "if the model was trained on this folder, the figures include training images"
        );
    }
    Ok(Chosen {
        folder: all,
        split: "images",
    })
}

fn as_json(scores: &Scores, classes: &[String], skipped: usize) -> Value {
    let (k, top_k) = scores.top_k();
    let per_class: serde_json::Map<String, Value> = classes
        .iter()
        .cloned()
        .zip(scores.per_class().iter().map(|s| json!(s)))
        .collect();
    json!({
        "images": scores.images(),
        "skipped": skipped,
        "loss": scores.loss(),
        "top1": scores.accuracy(),
        format!("top{k}"): top_k,
        "ece": scores.calibration.ece(),
        "brier": scores.calibration.brier(),
        "per_class": per_class,
        "confusion": scores.confusion.rows(),
    })
}

/// Beyond this many classes a matrix no longer fits a terminal.
const PRINTED_CONFUSION: usize = 12;

fn print_text(scores: &Scores, classes: &[String], skipped: usize) -> std::io::Result<()> {
    say(format_args!("{}", class_table(scores, classes)))?;
    if classes.len() <= PRINTED_CONFUSION {
        say_line(format_args!(
            "\nconfusion (rows: true class, columns: predicted)"
        ))?;
        for (class, row) in classes.iter().zip(scores.confusion.rows()) {
            let cells: String = row.iter().map(|count| format!("{count:>7}")).collect();
            say_line(format_args!("{cells}  {class}"))?;
        }
    }
    let (k, top_k) = scores.top_k();
    say_line(format_args!(
        "\nimages {}  skipped {skipped}  loss {:.4}  top1 {:.4}  top{k} {top_k:.4}  ece {:.4}",
        scores.images(),
        scores.loss(),
        scores.accuracy(),
        scores.calibration.ece()
    ))
}
