//! What a study leaves: the table of jobs, the best hyperparameters and a page.
//!
//! ```text
//! STUDY/
//!   jobs.csv                    see super::table
//!   best-hyperparameters.json   for train --hyperparameters, the fixed settings included
//!   tune.html                   open it in a browser
//! ```
//!
//! Input: a study. Output: these files.

use std::path::PathBuf;

use super::importance::importance;
use super::journal::{Outcome, Status, Trial};
use super::objective::Direction;
use super::space::{Domain, Values};
use super::study::Study;
use super::table::{Table, ranked};
use super::trial::write_hyperparameters;
use crate::report::{self, Axis, Tuning, TuningTrial};

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct ResultsError {
    path: PathBuf,
    source: std::io::Error,
}

/// The name of the file for `train --hyperparameters`.
pub const BEST: &str = "best-hyperparameters.json";
/// The page.
pub const PAGE: &str = "tune.html";
const JOBS: &str = "jobs.csv";

/// Writes them all; `command` made the study, `next` trains with the best hyperparameters.
///
/// # Errors
/// The folder cannot be written.
pub fn write(study: &Study, command: &[String], next: &str) -> Result<(), ResultsError> {
    let at = |name: &str| study.folder.join(name);
    let failed = |name: &str| {
        let path = at(name);
        move |source| ResultsError { path, source }
    };
    let table = Table::of(study).csv();
    crate::files::write_atomically(&at(JOBS), table.as_bytes()).map_err(failed(JOBS))?;
    if let Some((best, _)) = study.best() {
        write_hyperparameters(&at(BEST), &study.definition.fixed, &best.values)
            .map_err(failed(BEST))?;
    }
    report::write_tuning(&at(PAGE), &page(study, command, next)).map_err(failed(PAGE))
}

fn page(study: &Study, command: &[String], next: &str) -> Tuning {
    let definition = &study.definition;
    let valued: Vec<(&Values, f64)> = study
        .ended()
        .filter(|(_, outcome)| outcome.status != Status::Failed)
        .filter_map(|(trial, o)| Some((&trial.values, definition.objective.loss(o.value?))))
        .collect();
    let shares = importance(&definition.space, &valued);
    let axes = definition.space.dimensions.iter().zip(shares);
    let axes = axes.map(|(dimension, importance)| Axis {
        name: dimension.name.clone(),
        importance,
        ticks: match &dimension.domain {
            Domain::Categorical(values) => values
                .iter()
                .map(|value| (dimension.unit(value).unwrap_or(0.5), value.clone()))
                .collect(),
            _ => [0.0, 0.5, 1.0]
                .map(|unit| (unit, dimension.at(unit)))
                .into(),
        },
    });
    Tuning {
        title: format!("{}: search for hyperparameters", study.name()),
        created: crate::files::now_utc(),
        objective: definition.objective.metric.to_string(),
        maximize: definition.objective.direction == Direction::Maximize,
        axes: axes.collect(),
        trials: ranked(study)
            .into_iter()
            .map(|job| row(study, job))
            .collect(),
        best: study.best().map(|(trial, _)| trial.number),
        fixed: definition.fixed.clone().into_iter().collect(),
        search: search_rows(study),
        command: command.to_vec(),
        next: next.to_string(),
    }
}

fn row(study: &Study, (trial, outcome): (&Trial, &Outcome)) -> TuningTrial {
    let dimensions = &study.definition.space.dimensions;
    let values: Vec<String> = dimensions
        .iter()
        .map(|d| trial.values.get(&d.name).cloned().unwrap_or_default())
        .collect();
    let places = dimensions.iter().zip(&values);
    TuningTrial {
        number: trial.number,
        name: study.job_name(trial.number),
        status: format!("{:?}", outcome.status),
        has_failed: outcome.status == Status::Failed,
        value: outcome.value,
        epochs: outcome.epochs.len(),
        seconds: outcome.seconds,
        places: places
            .map(|(d, value)| d.unit(value).unwrap_or(0.5))
            .collect(),
        values,
        reason: outcome.reason.clone(),
    }
}

/// How the search went about, as name and value.
fn search_rows(study: &Study) -> Vec<(String, String)> {
    let definition = &study.definition;
    let rows = [
        ("space", definition.space.to_string()),
        ("strategy", format!("{:?}", definition.strategy)),
        ("early stopping", definition.early_stopping.to_string()),
        ("seed", definition.seed.to_string()),
        ("data", definition.data.display().to_string()),
    ];
    rows.map(|(name, value)| (name.to_string(), value)).into()
}
