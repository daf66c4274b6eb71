//! Line charts over the epochs.
//!
//! Input: named series of `(epoch, value)`. Output: an SVG without fixed size or background, so that the page's style
//! decides both.

use plotters::{
    chart::MeshStyle,
    coord::ranged1d::{Ranged, ValueFormatter},
    prelude::*,
    style::{FontDesc, FontFamily, FontStyle, RGBColor},
};

use super::html::Html;

/// Colours of series that keep apart on white, on black and for most colour-blind readers.
pub(super) const COLOURS: [RGBColor; 3] = [
    RGBColor(0x3b, 0x82, 0xf6),
    RGBColor(0xf9, 0x73, 0x16),
    RGBColor(0x10, 0xa3, 0x7f),
];
/// Reads on white and on black.
pub(super) const GREY: RGBColor = RGBColor(0x80, 0x88, 0x94);
pub(super) const SIZE: (u32, u32) = (560, 300);

/// The font of axes.
pub(super) fn axis_font() -> FontDesc<'static> {
    FontDesc::new(FontFamily::SansSerif, 17.0, FontStyle::Normal)
}

/// What all charts have in common: horizontal lines only, grey axes, their font.
pub(super) fn plain_mesh<X, Y, XT, YT, DB>(mesh: &mut MeshStyle<X, Y, DB>)
where
    X: Ranged<ValueType = XT> + ValueFormatter<XT>,
    Y: Ranged<ValueType = YT> + ValueFormatter<YT>,
    DB: DrawingBackend,
{
    mesh.disable_x_mesh()
        .bold_line_style(GREY.mix(0.35))
        .light_line_style(TRANSPARENT)
        .axis_style(GREY)
        .y_labels(6)
        .label_style(axis_font())
        .axis_desc_style(axis_font());
}

/// A line of a chart.
pub(super) struct Series {
    pub(super) name: String,
    /// `(epoch, value)`; values that are not finite are left out.
    pub(super) points: Vec<(i32, f64)>,
}

/// The values that an axis covers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Range {
    /// From zero to the largest value.
    FromZero,
    /// From zero to one.
    Fraction,
}

/// A chart with its legend as caption; nothing without a point. `marked` is an epoch to draw a line at.
pub(super) fn figure(title: &str, series: &[Series], range: Range, marked: Option<i32>) -> Html {
    let drawn: Vec<Vec<(i32, f64)>> = series.iter().map(|series| finite(&series.points)).collect();
    let Some(last_epoch) = drawn.iter().flatten().map(|point| point.0).max() else {
        return Html::default();
    };
    let highest = match range {
        Range::Fraction => 1.0,
        Range::FromZero => headroom(
            drawn
                .iter()
                .flatten()
                .map(|point| point.1)
                .fold(0.0, f64::max),
        ),
    };
    let mut svg = String::new();
    // Drawing to a string fails only for coordinates without extent, which the ranges exclude.
    if let Err(error) = draw(&mut svg, &drawn, last_epoch, highest, marked) {
        tracing::warn!("the chart `{title}` is left out of the report: {error}");
        return Html::default();
    }
    let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    let legend = legend(&names);
    let title = Html::text(title).within("strong").and(Html("<br>".into()));
    let caption = title.and(legend).within("figcaption");
    caption.and(responsive(svg, SIZE)).within("figure")
}

/// Names with their colours.
pub(super) fn legend(names: &[&str]) -> Html {
    let entries = names.iter().zip(COLOURS);
    entries
        .map(|(name, RGBColor(red, green, blue))| {
            let dot = Html(format!(
                "<i style=\"background:rgb({red},{green},{blue})\"></i>"
            ));
            dot.and(Html::text(name)).within("span")
        })
        .collect()
}

fn finite(points: &[(i32, f64)]) -> Vec<(i32, f64)> {
    points
        .iter()
        .copied()
        .filter(|point| point.1.is_finite())
        .collect()
}

/// Room above the highest value; never nothing.
fn headroom(highest: f64) -> f64 {
    if highest > 0.0 { highest * 1.08 } else { 1.0 }
}

/// Takes the size off the root element and leaves the `viewBox`, so that the picture grows and shrinks with the page.
pub(super) fn responsive(svg: String, size: (u32, u32)) -> Html {
    Html(svg.replacen(
        &format!("width=\"{}\" height=\"{}\" ", size.0, size.1),
        "role=\"img\" ",
        1,
    ))
}

fn draw(
    svg: &mut String,
    series: &[Vec<(i32, f64)>],
    last_epoch: i32,
    highest: f64,
    marked: Option<i32>,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    // A single epoch gets an axis around it.
    let epochs = if last_epoch > 1 { 1..last_epoch } else { 0..2 };
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(44)
        .y_label_area_size(54)
        .build_cartesian_2d(epochs, 0.0..highest)?;
    let mut mesh = chart.configure_mesh();
    plain_mesh(&mut mesh);
    mesh.x_labels(10)
        .y_label_formatter(&|value| match highest < 0.1 && *value != 0.0 {
            true => format!("{value:.0e}"),
            false => format!("{value:.2}"),
        })
        .x_desc("epoch")
        .draw()?;
    if let Some(epoch) = marked.filter(|epoch| (1..=last_epoch).contains(epoch)) {
        let line = [(epoch, 0.0), (epoch, highest)];
        chart.draw_series(DashedLineSeries::new(line, 4, 4, GREY.into()))?;
    }
    for (points, colour) in series.iter().zip(COLOURS) {
        chart.draw_series(LineSeries::new(
            points.iter().copied(),
            colour.stroke_width(2),
        ))?;
        chart.draw_series(
            points
                .iter()
                .map(|point| Circle::new(*point, 3, colour.filled())),
        )?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(i32, f64)]) -> [Series; 1] {
        [Series {
            name: "train <loss>".into(),
            points: points.to_vec(),
        }]
    }

    #[test]
    fn a_chart_has_a_dot_for_each_finite_value() {
        let points = [(1, 2.0), (2, f64::NAN), (3, 1.0)];
        let html = figure("Loss", &series(&points), Range::FromZero, Some(3)).0;
        assert_eq!(html.matches("<circle").count(), 2, "{html}");
        assert!(
            html.contains("viewBox=\"0 0 560 300\"") && !html.contains("width=\"560\""),
            "{html}"
        );
        assert!(html.contains("train &lt;loss&gt;"));
    }

    #[test]
    fn one_epoch_and_none_and_zeros_are_drawn() {
        assert_eq!(
            figure("Loss", &series(&[(1, 0.0)]), Range::FromZero, None)
                .0
                .matches("<circle")
                .count(),
            1
        );
        assert_eq!(figure("Loss", &series(&[]), Range::FromZero, None).0, "");
        assert_eq!(
            figure("Loss", &series(&[(1, f64::NAN)]), Range::Fraction, None).0,
            ""
        );
    }
}
