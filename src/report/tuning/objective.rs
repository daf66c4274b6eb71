//! The objective of each trial, and the best so far.
//!
//! Input: a [`Tuning`]. Output: an SVG in the manner of the charts over epochs.

use plotters::prelude::*;

use super::{Tuning, TuningTrial};
use crate::report::chart::{COLOURS, SIZE, legend, plain_mesh, responsive};
use crate::report::html::Html;

/// The chart; nothing without a value.
pub(super) fn figure(tuning: &Tuning) -> Html {
    let mut trials: Vec<(&TuningTrial, f64)> = tuning
        .trials
        .iter()
        .filter(|trial| !trial.has_failed)
        .filter_map(|trial| Some((trial, trial.value.filter(|value| value.is_finite())?)))
        .collect();
    trials.sort_by_key(|(trial, _)| trial.number);
    if trials.is_empty() {
        return Html::default();
    }
    let mut svg = String::new();
    if let Err(error) = draw(&mut svg, tuning, &trials) {
        tracing::warn!("the chart of the objective is left out of the page: {error}");
        return Html::default();
    }
    let names = ["completed", "stopped early", "best so far"];
    let title = Html::text(&tuning.objective).within("strong");
    let caption = title.and(Html("<br>".into())).and(legend(&names));
    caption
        .within("figcaption")
        .and(responsive(svg, SIZE))
        .within("figure")
        .within("div class=\"wide\"")
}

fn draw(
    svg: &mut String,
    tuning: &Tuning,
    trials: &[(&TuningTrial, f64)],
) -> Result<(), Box<dyn std::error::Error>> {
    let (low, high) = extent(trials);
    let last = tuning
        .trials
        .iter()
        .map(|trial| trial.number)
        .max()
        .unwrap_or(1);
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.5..last as f64 + 0.5, low..high)?;
    let mut mesh = chart.configure_mesh();
    plain_mesh(&mut mesh);
    mesh.x_labels(last.min(10))
        // Ticks between two trials stand for nothing.
        .x_label_formatter(&|x| match x.fract() == 0.0 {
            true => format!("{x:.0}"),
            false => String::new(),
        })
        .y_label_formatter(&|value| format!("{value:.3}"))
        .x_desc("trial")
        .draw()?;
    let steps = best_so_far(tuning.maximize, trials, last as f64 + 0.5);
    chart.draw_series(LineSeries::new(steps, COLOURS[2].stroke_width(2)))?;
    chart.draw_series(trials.iter().map(|(trial, value)| {
        let colour = match trial.status.as_str() {
            "Stopped" => COLOURS[1],
            _ => COLOURS[0],
        };
        Circle::new((trial.number as f64, *value), 5, colour.filled())
    }))?;
    root.present()?;
    Ok(())
}

/// The values that the axis covers, with some room.
fn extent(trials: &[(&TuningTrial, f64)]) -> (f64, f64) {
    let values = trials.iter().map(|(_, value)| *value);
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let room = ((high - low) * 0.1).max(high.abs() * 0.01).max(1e-6);
    (low - room, high + room)
}

/// The corners of the line of the best value so far.
fn best_so_far(maximize: bool, trials: &[(&TuningTrial, f64)], end: f64) -> Vec<(f64, f64)> {
    let mut corners = Vec::new();
    let mut best: Option<f64> = None;
    for (trial, value) in trials {
        let better = best.is_none_or(|best| {
            if maximize {
                *value > best
            } else {
                *value < best
            }
        });
        if better {
            let at = trial.number as f64;
            corners.extend(best.map(|best| (at, best)));
            corners.push((at, *value));
            best = Some(*value);
        }
    }
    corners.extend(best.map(|best| (end, best)));
    corners
}
