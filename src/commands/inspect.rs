//! `inspect`: a look at a data set before training on it.

use super::{CommandError, say, say_line, workers_or_cores, write_json};
use crate::cli::InspectArgs;
use crate::data::inspect::{InspectOptions, inspect};
use crate::sinks::{EvaluationStep, Event, ProgressSink, Sinks};

pub fn run(args: &InspectArgs) -> Result<(), CommandError> {
    let options = InspectOptions {
        workers: workers_or_cores(args.workers),
        ..Default::default()
    };
    let sinks =
        std::sync::Mutex::new(Sinks::new().with(ProgressSink::new(crate::logging::terminal())));
    let inspection = inspect(&args.dir, &options, &|done, total| {
        // A poisoned lock means that a progress display failed; the inspection does not depend on it.
        if let Ok(mut sinks) = sinks.lock() {
            sinks.emit(&Event::Evaluating(EvaluationStep {
                split: "images",
                step: done,
                steps: total,
            }));
        }
    })?;
    if let Ok(mut sinks) = sinks.lock() {
        sinks.emit(&Event::RunEnded);
    }
    if let Some(path) = &args.output {
        write_json(path, &inspection)?;
    }
    match args.json {
        true => say_line(format_args!(
            "{}",
            serde_json::to_string_pretty(&inspection)?
        ))?,
        false => say(format_args!("{inspection}"))?,
    }
    Ok(())
}
