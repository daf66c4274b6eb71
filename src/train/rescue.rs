//! The end of a run that was stopped before its data had come: what an earlier process kept becomes the model.
//!
//! Input: the run folder and its `best.safetensors`. Output: `model/` and the best value as the last metric line, as if the run
//! had been stopped a moment after it went on.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::checkpoint::{BEST, read_best_alone};
use super::fit::Ended;
use super::run::TrainError;
use super::{Best, Stop};
use crate::artifact::{self, Manifest};
use crate::config::Resolved;
use crate::data::Preprocess;
use crate::logging::terminal;
use crate::run_folder::RunFolder;
use crate::sinks::{BestMetric, Event, MetricLineSink, Sinks};

/// Ends a run that has neither data nor a network.
///
/// # Errors
/// The model directory cannot be written.
pub fn stopped_early(folder: &RunFolder, resolved: &Resolved) -> Result<Ended, TrainError> {
    let kept = read_best_alone(&folder.weights().join(BEST), &Device::flex());
    // Class names are only there; without them weights are no model.
    let args = folder
        .read_args()
        .ok()
        .filter(|(args, _)| !args.classes.is_empty());
    match (kept, args) {
        (Ok((model, best)), Some((args, settings))) => {
            let manifest = Manifest::new(
                model.config().clone(),
                args.classes,
                Preprocess::imagenet(resolved.config.image_size),
                args.split,
                figures(&best),
                settings,
            );
            artifact::save(folder.model(), &model, manifest)?;
            if resolved.config.report_best {
                print(&best);
            }
            tracing::info!(
                "stopped by SIGTERM while data or weights came in: the model is that of epoch {}, from {}",
                best.epoch,
                folder.weights().display()
            );
        }
        _ => tracing::warn!("stopped by SIGTERM while data or weights came in: there is no model"),
    }
    Ok(Ended::Stopped(Stop::Terminate))
}

fn figures(best: &Best) -> BTreeMap<String, f64> {
    BTreeMap::from([
        ("validation:accuracy".into(), best.accuracy),
        ("validation:loss".into(), best.loss),
        ("epoch".into(), best.epoch as f64),
    ])
}

fn print(best: &Best) {
    let mut sinks = Sinks::new().with(MetricLineSink::stdout(terminal()));
    sinks.emit(&Event::Best(BestMetric {
        metric: "validation:accuracy".to_string(),
        value: best.accuracy,
        epoch: best.epoch,
    }));
}
