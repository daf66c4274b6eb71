//! Diagrams besides those over epochs: calibration, images per class, the machine over time.
//!
//! Input: plain data. Output: SVG, drawn by the plotting crate, without size and background of its own.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontDesc, FontFamily, FontStyle};

use super::chart::{COLOURS, GREY, SIZE, legend, plain_mesh, responsive};
use super::html::Html;
use crate::eval::{BINS, Calibration};
use crate::profiler::{Series, Span};

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Height of the band in which spans of one kind lie.
const BAND: u32 = 36;

/// Draws, and leaves the diagram out of the report where that fails.
fn figure(title: &str, caption: Html, size: (u32, u32), draw: impl FnOnce(&Area) -> Drawn) -> Html {
    let mut svg = String::new();
    let drawn = {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&root).and_then(|()| root.present().map_err(Into::into))
    };
    if let Err(error) = drawn {
        tracing::warn!("the diagram `{title}` is left out of the report: {error}");
        return Html::default();
    }
    let title = Html::text(title).within("strong").and(Html("<br>".into()));
    let caption = title.and(caption).within("figcaption");
    caption.and(responsive(svg, size)).within("figure")
}

/// How often the model is right by how sure it is; nothing without images.
pub(super) fn calibration(calibration: &Calibration) -> Html {
    if calibration.images() == 0 {
        return Html::default();
    }
    let caption = Html::text(
        "share of right predictions by their probability; on the line a model is as right as it is sure",
    );
    figure("Calibration", caption, SIZE, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(8)
            .margin_right(16)
            .x_label_area_size(44)
            .y_label_area_size(54)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        let mut mesh = chart.configure_mesh();
        plain_mesh(&mut mesh);
        mesh.x_labels(6)
            .x_label_formatter(&|value| format!("{value:.1}"))
            .y_label_formatter(&|value| format!("{value:.1}"))
            .x_desc("probability of the prediction")
            .draw()?;
        let bars = calibration
            .bins
            .iter()
            .enumerate()
            .filter(|(_, bin)| bin.images > 0);
        chart.draw_series(bars.map(|(number, bin)| {
            let edge = |n: usize| n as f64 / BINS as f64;
            let corners = [
                (edge(number) + 0.006, 0.0),
                (edge(number + 1) - 0.006, bin.accuracy()),
            ];
            // A bin of few images says little.
            let weight = (bin.images as f64 / calibration.images() as f64 * 4.0).clamp(0.3, 1.0);
            Rectangle::new(corners, COLOURS[0].mix(weight).filled())
        }))?;
        chart.draw_series(DashedLineSeries::new(
            [(0.0, 0.0), (1.0, 1.0)],
            5,
            4,
            GREY.into(),
        ))?;
        Ok(())
    })
}

/// Training images of each class, the largest class first; nothing without classes.
pub(super) fn class_sizes(counts: &[(String, usize)]) -> Html {
    let mut sizes: Vec<usize> = counts.iter().map(|(_, count)| *count).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let (Some(most), Some(least)) = (sizes.first().copied(), sizes.last().copied()) else {
        return Html::default();
    };
    let named = |wanted: usize| {
        counts
            .iter()
            .find(|(_, count)| *count == wanted)
            .map_or("", |(name, _)| name)
    };
    let caption = match most == least {
        true => format!("every class has {most}"),
        false => format!(
            "from {most} ({}) to {least} ({})",
            named(most),
            named(least)
        ),
    };
    let top = (most as f64 * 1.08).max(1.0);
    let sizes: Vec<f64> = sizes.into_iter().map(|size| size as f64).collect();
    let title = "Training images of each class";
    bars(
        title,
        Html::text(&caption),
        &sizes,
        top,
        "classes by size",
        &|value| format!("{value:.0}"),
    )
}

/// A bar for each value.
fn bars(
    title: &str,
    caption: Html,
    values: &[f64],
    top: f64,
    axis: &str,
    label: &dyn Fn(&f64) -> String,
) -> Html {
    figure(title, caption, SIZE, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(8)
            .margin_right(16)
            .x_label_area_size(44)
            .y_label_area_size(54)
            .build_cartesian_2d(0..values.len() as i32, 0.0..top)?;
        let mut mesh = chart.configure_mesh();
        plain_mesh(&mut mesh);
        mesh.x_labels(8)
            .y_label_formatter(&|value| label(value))
            .x_desc(axis)
            .draw()?;
        chart.draw_series((0..).zip(values).map(|(at, value)| {
            Rectangle::new([(at, 0.0), (at + 1, *value)], COLOURS[0].mix(0.8).filled())
        }))?;
        Ok(())
    })
}

/// The probability of each class, the largest first; nothing without classes.
pub(super) fn distribution(sorted: &[f64]) -> Html {
    let caption = Html::text("probability of every class, from the most to the least probable");
    let Some(top) = sorted.first().map(|top| (top * 1.08).clamp(1e-6, 1.0)) else {
        return Html::default();
    };
    bars(
        "The whole distribution",
        caption,
        sorted,
        top,
        "classes by probability",
        &|value| format!("{value:.2}"),
    )
}

/// Loads over time, and below them what went on; nothing without a series.
pub(super) fn machine(series: &[Series], spans: &[Span]) -> Html {
    let end = series
        .iter()
        .flat_map(|s| &s.points)
        .map(|point| point.0)
        .fold(0.0, f64::max);
    let end = spans.iter().map(|span| span.end_s).fold(end, f64::max);
    if series.is_empty() || end <= 0.0 {
        return Html::default();
    }
    let mut kinds: Vec<&str> = Vec::new();
    for span in spans {
        if !kinds.contains(&span.name.as_str()) {
            kinds.push(&span.name);
        }
    }
    // More lines than colours could not be told apart.
    let shown = &series[..series.len().min(COLOURS.len())];
    let names: Vec<String> = shown
        .iter()
        .map(|s| format!("{}, {}", s.name, s.unit))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let below = match kinds.is_empty() {
        true => Html::default(),
        false => Html::text("below: when what went on").within("div class=\"note\""),
    };
    let caption = legend(&names).and(below);
    let bands = BAND * kinds.len() as u32;
    figure(
        "The machine over time",
        caption,
        (SIZE.0, SIZE.1 + bands),
        |root| {
            let (above, below) = root.split_vertically(SIZE.1);
            let mut chart = ChartBuilder::on(&above)
                .margin(8)
                .margin_right(16)
                .x_label_area_size(44)
                .y_label_area_size(54)
                .build_cartesian_2d(0.0..end, 0.0..100.0)?;
            let mut mesh = chart.configure_mesh();
            plain_mesh(&mut mesh);
            mesh.x_labels(8)
                .x_label_formatter(&|value| format!("{value:.0}"))
                .y_label_formatter(&|value| format!("{value:.0}"))
                .x_desc("seconds")
                .draw()?;
            for (series, colour) in shown.iter().zip(COLOURS) {
                let points = series
                    .points
                    .iter()
                    .copied()
                    .filter(|point| point.1.is_finite());
                chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
            }
            if !kinds.is_empty() {
                draw_spans(&below, spans, &kinds, end)?;
            }
            Ok(())
        },
    )
}

fn draw_spans(area: &Area, spans: &[Span], kinds: &[&str], end: f64) -> Drawn {
    let rows = kinds.len() as f64;
    // The same margins as above, so that a moment lies below itself.
    let mut chart = ChartBuilder::on(area)
        .margin_left(62)
        .margin_right(16)
        .build_cartesian_2d(0.0..end, 0.0..rows)?;
    for (row, kind) in kinds.iter().enumerate() {
        let (low, high) = (rows - 1.0 - row as f64 + 0.08, rows - row as f64 - 0.55);
        let name = FontDesc::new(FontFamily::SansSerif, 14.0, FontStyle::Normal);
        chart.draw_series([Text::new(kind.to_string(), (0.0, high + 0.5), name)])?;
        let of_kind = spans.iter().filter(|span| span.name == *kind);
        chart.draw_series(of_kind.map(|span| {
            // A moment must be seen as well.
            let end_s = span.end_s.max(span.start_s + end / 500.0);
            Rectangle::new(
                [(span.start_s, low), (end_s, high)],
                GREY.mix(0.75).filled(),
            )
        }))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibration_diagram_has_a_bar_for_each_filled_bin() {
        let mut filled = Calibration::default();
        filled.add(&[0.9, 0.1], 0, 0);
        filled.add(&[0.6, 0.4], 0, 1);
        let html = calibration(&filled).0;
        assert_eq!(html.matches("<rect").count(), 2, "{html}");
        assert_eq!(calibration(&Calibration::default()).0, "");
    }

    #[test]
    fn class_sizes_name_the_extremes() {
        let counts = [("ant".to_string(), 3), ("b&e".to_string(), 9)];
        let html = class_sizes(&counts).0;
        assert!(html.contains("from 9 (b&amp;e) to 3 (ant)"), "{html}");
        assert_eq!(class_sizes(&[]).0, "");
    }

    #[test]
    fn the_machine_over_time_with_and_without_spans() {
        let series = [Series {
            name: "CPU".into(),
            unit: "%".into(),
            points: vec![(0.0, 10.0), (5.0, 90.0)],
        }];
        let spans = [Span {
            name: "evaluation".into(),
            start_s: 4.0,
            end_s: 5.0,
        }];
        let html = machine(&series, &spans).0;
        assert!(
            html.contains("viewBox=\"0 0 560 336\"") && html.contains("evaluation"),
            "{html}"
        );
        assert!(html.contains("<polyline") && html.contains("<rect"));
        assert!(machine(&series, &[]).0.contains("viewBox=\"0 0 560 300\""));
        assert_eq!(machine(&[], &spans).0, "");
    }
}
