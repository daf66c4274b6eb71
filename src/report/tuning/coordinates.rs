//! Parallel coordinates: an axis for each hyperparameter and one for the objective, a line for each trial.
//!
//! Input: a [`Tuning`]. Output: an SVG, drawn by hand since its lines follow the page's style.

use std::fmt::Write;

use super::{Tuning, TuningTrial};
use crate::report::html::Html;

const HEIGHT: f64 = 320.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 24.0;
const SIDE: f64 = 84.0;
/// From one axis to the next, so that names of the usual length do not touch.
const LEAST_STEP: f64 = 165.0;
const WIDTH: f64 = 600.0;
/// Up to so many axes fit the width of a phone; with more of them the picture scrolls.
const FIT_A_PHONE: usize = 3;
/// Longer names and values are cut.
const LONGEST_LABEL: usize = 20;

/// The picture; nothing with fewer than two trials.
pub(super) fn figure(tuning: &Tuning) -> Html {
    let valued: Vec<(&TuningTrial, f64)> = tuning
        .trials
        .iter()
        .filter(|trial| !trial.has_failed)
        .filter_map(|trial| Some((trial, trial.value.filter(|value| value.is_finite())?)))
        .collect();
    if valued.len() < 2 || tuning.axes.is_empty() {
        return Html::default();
    }
    let (low, high) = valued.iter().fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(low, high), (_, value)| (low.min(*value), high.max(*value)),
    );
    let place = |value: f64| match high > low {
        true => (value - low) / (high - low),
        false => 0.5,
    };
    let steps = tuning.axes.len() as f64;
    let step = ((WIDTH - 2.0 * SIDE) / steps).max(LEAST_STEP);
    let width = 2.0 * SIDE + steps * step;
    let least_width = match tuning.axes.len() + 1 > FIT_A_PHONE {
        true => width * 0.75,
        false => 0.0,
    };
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<svg class=\"coordinates\" role=\"img\" viewBox=\"0 0 {width:.0} {HEIGHT:.0}\" style=\"min-width:{least_width:.0}px\">"
    );
    // The best last, so that it lies on top.
    for (trial, value) in valued.iter().rev() {
        let goodness = if tuning.maximize {
            place(*value)
        } else {
            1.0 - place(*value)
        };
        line(&mut svg, tuning, trial, place(*value), goodness, step);
    }
    for (index, axis) in tuning.axes.iter().enumerate() {
        axis_at(
            &mut svg,
            SIDE + index as f64 * step,
            &axis.name,
            &axis.ticks,
        );
    }
    let ticks: Vec<(f64, String)> = [low, (low + high) / 2.0, high]
        .iter()
        .map(|value| (place(*value), format!("{value:.4}")))
        .collect();
    axis_at(&mut svg, SIDE + steps * step, &tuning.objective, &ticks);
    svg.push_str("</svg>");
    let note = "A line for each trial that did not fail, stronger the better it was; the best one is orange.";
    Html(svg)
        .within(if tuning.axes.len() > FIT_A_PHONE {
            "div class=\"scroll\""
        } else {
            "div class=\"wide scroll\""
        })
        .and(Html::text(note).within("p class=\"note\""))
}

fn height(place: f64) -> f64 {
    TOP + (1.0 - place) * (HEIGHT - TOP - BOTTOM)
}

fn line(
    svg: &mut String,
    tuning: &Tuning,
    trial: &TuningTrial,
    end: f64,
    goodness: f64,
    step: f64,
) {
    let places = trial.places.iter().copied().chain([end]);
    let points: Vec<String> = places
        .enumerate()
        .map(|(index, place)| format!("{:.1},{:.1}", SIDE + index as f64 * step, height(place)))
        .collect();
    let class = match tuning.best == Some(trial.number) {
        true => "best",
        false => "other",
    };
    let title = Html::text(&trial.name).within("title").0;
    let _ = write!(
        svg,
        "<polyline class=\"{class}\" points=\"{}\" style=\"opacity:{:.2}\">{title}</polyline>",
        points.join(" "),
        0.25 + 0.75 * goodness
    );
}

fn axis_at(svg: &mut String, x: f64, name: &str, ticks: &[(f64, String)]) {
    let (top, bottom) = (height(1.0), height(0.0));
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>\
         <text class=\"name\" x=\"{x:.1}\" y=\"18\">{}</text>",
        Html::text(&short(name)).0
    );
    for (place, value) in ticks {
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 6.0,
            height(*place) + 4.0,
            Html::text(&short(value)).0
        );
    }
}

fn short(text: &str) -> String {
    match text.chars().count() > LONGEST_LABEL {
        true => text.chars().take(LONGEST_LABEL - 1).chain(['…']).collect(),
        false => text.to_string(),
    }
}
