//! Sections about what went on inside a run: rules, time, calibration, data.
//!
//! Input: parts of a [`Report`]. Output: HTML; nothing for what is not there.

use super::Report;
use super::diagrams;
use super::gallery::gallery;
use super::html::{Column, Html, table};
use super::quantity::{fixed, percent};
use crate::debugger::rules::{RuleOutcome, Status};
use crate::eval::Calibration;
use crate::logging::sentence;
use crate::profiler::Summary;

/// Groups of equal files that are listed.
const MOST_LEAKS: usize = 20;

/// What fired, with what to do; then what was looked at in vain.
pub(super) fn rules(rules: &[RuleOutcome]) -> Html {
    if rules.is_empty() {
        return Html::default();
    }
    let of = |status: Status| rules.iter().filter(move |rule| rule.status == status);
    let columns = [
        Column::Text("rule"),
        Column::Number("step"),
        Column::Text("what was seen"),
        Column::Text("what to do"),
    ];
    let found = table(
        columns,
        of(Status::IssuesFound).map(|rule| {
            let step = rule.step.map_or("end".to_string(), |step| step.to_string());
            [
                rule.rule.clone(),
                step,
                rule.finding.clone(),
                rule.advice.clone(),
            ]
        }),
    );
    let names =
        |status: Status| -> Vec<&str> { of(status).map(|rule| rule.rule.as_str()).collect() };
    let sentence = |text: &str, names: Vec<&str>| match names.is_empty() {
        true => Html::default(),
        false => Html::text(&format!("{text}: {}.", names.join(", "))).within("p class=\"note\""),
    };
    let none = match found.0.is_empty() {
        true => Html::text("Nothing.").within("p"),
        false => Html::default(),
    };
    found
        .and(none)
        .and(sentence(
            "Looked and found nothing",
            names(Status::NoIssuesFound),
        ))
        .and(sentence(
            "Had nothing to look at",
            names(Status::NothingToLookAt),
        ))
}

/// The sentence, the phases, the machine over time, and what the profiler's rules found.
pub(super) fn profile(profile: Option<&Summary>) -> Html {
    let Some(profile) = profile.filter(|profile| !profile.phases.is_empty()) else {
        return Html::default();
    };
    let columns = [
        Column::Text("phase"),
        Column::Number("times"),
        Column::Number("seconds"),
        Column::Number("mean, ms"),
        Column::Number("median, ms"),
        Column::Number("95 %, ms"),
        Column::Number("share"),
    ];
    let rows = profile.phases.iter().map(|phase| {
        [
            phase.name.clone(),
            phase.count.to_string(),
            fixed(phase.seconds, 1),
            fixed(phase.mean_ms, 1),
            fixed(phase.p50_ms, 1),
            fixed(phase.p95_ms, 1),
            percent(phase.share),
        ]
    });
    let fired = profile.rules.iter().filter(|rule| rule.triggered);
    let found = table(
        [
            Column::Text("profiler rule"),
            Column::Text("what was seen"),
            Column::Text("what to do"),
        ],
        fired.map(|rule| [rule.rule.clone(), rule.finding.clone(), rule.advice.clone()]),
    );
    Html::text(&sentence(&profile.sentence))
        .within("p")
        .and(diagrams::machine(&profile.series, &profile.spans).within("div class=\"charts\""))
        .and(table(columns, rows))
        .and(found)
}

/// How far probabilities can be trusted.
pub(super) fn calibration(calibration: Option<&Calibration>) -> Html {
    let Some(calibration) = calibration.filter(|calibration| calibration.images() > 0) else {
        return Html::default();
    };
    let rows = [
        [
            "expected calibration error (15 bins)".to_string(),
            percent(calibration.ece()),
        ],
        [
            "mean probability of the predictions".to_string(),
            percent(calibration.confidence()),
        ],
        [
            "Brier score (0 is best, 2 is worst)".to_string(),
            fixed(calibration.brier(), 4),
        ],
    ];
    diagrams::calibration(calibration)
        .within("div class=\"charts\"")
        .and(table(
            [Column::Text("figure"), Column::Number("value")],
            rows,
        ))
}

/// Sizes of classes and photos, and equal files.
pub(super) fn data(report: &Report) -> Html {
    let chart = match report.class_sizes.len() {
        0 | 1 => Html::default(),
        _ => diagrams::class_sizes(&report.class_sizes).within("div class=\"charts\""),
    };
    let Some(look) = &report.look else {
        return chart;
    };
    let mut notes = Vec::new();
    if let Some([least, median, most]) = look.sides {
        notes.push(format!(
            "Shorter sides of {} of {} photos: {least} to {most} pixels, median {median}.",
            look.looked_at, look.files
        ));
    }
    notes.push(match (look.leaks.len(), look.duplicates) {
        (0, 0) => "No two photos that were compared are equal.".to_string(),
        (0, n) => format!("{n} groups of equal photos within a split; none lies in two splits."),
        (leaks, _) => format!(
            "{leaks} photos lie in more than one split: the figures on them say nothing about new photos. `sagemaker-burn inspect` lists all."
        ),
    });
    let notes: Html = notes
        .iter()
        .map(|note| Html::text(note).within("p class=\"note\""))
        .collect();
    let rows = look
        .leaks
        .iter()
        .take(MOST_LEAKS)
        .map(|group| [group.join(" = ")]);
    chart
        .and(notes)
        .and(table([Column::Text("the same photo in two splits")], rows))
}

/// What the network saw while training.
pub(super) fn training(report: &Report) -> Html {
    if report.training.is_empty() {
        return Html::default();
    }
    let how = match report.augmentation.as_str() {
        "none" | "" => "Without augmentation: every epoch shows the same pixels.".to_string(),
        name => format!(
            "The first of epoch 1, as augmentation `{name}` makes them; every epoch draws anew."
        ),
    };
    Html::text(&how)
        .within("p class=\"note\"")
        .and(gallery(&report.training))
}
