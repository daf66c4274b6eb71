//! `eval`: how good a trained model is on labelled photos.

use std::path::Path;

use serde_json::{Value, json};

use super::{CommandError, say, say_line, workers_or_cores, write_json};
use crate::artifact::Artifact;
use crate::cli::EvalArgs;
use crate::config::Precision;
use crate::data::{ImageCache, ImageFolder, Loader, LoaderConfig, Mode, SplitFolders};
use crate::device::select;
use crate::eval::{Scores, class_table, evaluate, write_confusion};
use crate::feed::{ImageSource, Source};
use crate::sinks::{EvaluationStep, Event, ProgressSink, Sinks};

pub fn run(args: &EvalArgs) -> Result<(), CommandError> {
    let device = select(args.device, Precision::Float32)?;
    let artifact = Artifact::load(&args.model, &device.device)?;
    let manifest = &artifact.manifest;
    let folder =
        labelled_images(&args.data, args.split.as_deref())?.with_classes(&manifest.classes)?;
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
        |step| {
            sinks.emit(&Event::Evaluating(EvaluationStep {
                split: "test",
                step,
                steps,
            }));
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

/// The split that was asked for, else test, else valid, else the folder itself.
fn labelled_images(root: &Path, split: Option<&str>) -> Result<ImageFolder, CommandError> {
    let Some(folders) = SplitFolders::find(root)? else {
        return match split {
            None => Ok(ImageFolder::open(root)?),
            Some(name) => {
                Err(format!("--split {name}: {} holds no split folders", root.display()).into())
            }
        };
    };
    let chosen = match split {
        None => folders.test.or(folders.valid).or(Some(folders.train)),
        Some("train" | "training") => Some(folders.train),
        Some("valid" | "val" | "validation") => folders.valid,
        Some("test" | "testing") => folders.test,
        Some(name) => return Err(format!("--split {name}: expected train, valid or test").into()),
    };
    let path = chosen.ok_or_else(|| {
        format!(
            "--split {}: {} has no such folder",
            split.unwrap_or("test"),
            root.display()
        )
    })?;
    Ok(ImageFolder::open(path)?)
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
        "\nimages {}  skipped {skipped}  loss {:.4}  top1 {:.4}  top{k} {top_k:.4}",
        scores.images(),
        scores.loss(),
        scores.accuracy()
    ))
}
