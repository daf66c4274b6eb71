//! The confusion matrix as a picture.
//!
//! Input: counts. Output: an SVG with a square for each cell that is not empty, darker the larger its share of the true
//! class. Drawn by hand, because colours have to follow the page's light or dark style and each square carries its text.

use std::fmt::Write;

use super::{Confusion, html::Html};

/// Side of a cell, in units of the picture.
const CELL: usize = 10;
/// With more classes than this their names do not fit at the sides.
const MOST_NAMED_CLASSES: usize = 24;
/// Where names do not fit, each tenth class has its number.
const NUMBERED: usize = 10;
/// The palest square that still counts as seen.
const PALEST: f64 = 0.15;

/// The matrix; nothing without classes.
pub(super) fn figure(confusion: &Confusion) -> Html {
    let classes = confusion.counts.len();
    if classes == 0 {
        return Html::default();
    }
    let side = classes * CELL;
    let text = if classes <= MOST_NAMED_CLASSES {
        Labels::Names
    } else {
        Labels::Numbers
    };
    // Room for the names, which are slanted at the top.
    let margin = match text {
        Labels::Names => (longest_name(confusion) * 3).clamp(20, 70) + 6,
        Labels::Numbers => side / 12,
    };
    let whole = side + margin + 6;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {whole} {whole}\" role=\"img\" aria-label=\"confusion matrix\">"
    );
    push(
        &mut svg,
        format_args!("<g transform=\"translate({margin},{margin})\">"),
    );
    push(
        &mut svg,
        format_args!("<rect class=\"frame\" width=\"{side}\" height=\"{side}\"/>"),
    );
    push_labels(&mut svg, confusion, &text, side);
    push_cells(&mut svg, confusion);
    svg.push_str("</g></svg>");
    let caption = format!(
        "Rows are true classes, columns are predictions, on the {} split. Green is right, orange is wrong; the stronger, \
         the larger the share of the true class.",
        confusion.split
    );
    Html::text(&caption)
        .within("figcaption")
        .and(Html(svg))
        .within("figure class=\"heatmap\"")
}

enum Labels {
    Names,
    Numbers,
}

fn longest_name(confusion: &Confusion) -> usize {
    confusion
        .classes
        .iter()
        .map(|name| name.chars().count().min(LONGEST_LABEL))
        .max()
        .unwrap_or(0)
}

/// Characters of a name that are shown at a side.
const LONGEST_LABEL: usize = 22;

fn short(name: &str) -> Html {
    if name.chars().count() <= LONGEST_LABEL {
        return Html::text(name);
    }
    let beginning: String = name.chars().take(LONGEST_LABEL - 1).collect();
    Html::text(&(beginning + "…"))
}

fn push(svg: &mut String, piece: std::fmt::Arguments) {
    // Writing to a string cannot fail.
    let _ = svg.write_fmt(piece);
}

fn push_labels(svg: &mut String, confusion: &Confusion, labels: &Labels, side: usize) {
    let classes = confusion.counts.len();
    match labels {
        Labels::Names => {
            for class in 0..classes {
                let name = short(confusion.class(class)).0;
                let middle = class * CELL + CELL / 2;
                push(
                    svg,
                    format_args!(
                        "<text x=\"-3\" y=\"{}\" font-size=\"5.5\" text-anchor=\"end\">{name}</text>",
                        middle + 2
                    ),
                );
                push(
                    svg,
                    format_args!(
                        "<text font-size=\"5.5\" transform=\"translate({},-3) rotate(-60)\">{name}</text>",
                        middle + 2
                    ),
                );
            }
        }
        Labels::Numbers => {
            let font = side / 45;
            for class in (0..classes).step_by(NUMBERED) {
                let at = class * CELL;
                push(
                    svg,
                    format_args!("<path class=\"grid\" d=\"M{at} 0V{side}M0 {at}H{side}\"/>"),
                );
                let (number, below) = (class + 1, at + font);
                push(
                    svg,
                    format_args!(
                        "<text x=\"-4\" y=\"{below}\" font-size=\"{font}\" text-anchor=\"end\">{number}</text>"
                    ),
                );
                push(
                    svg,
                    format_args!("<text x=\"{at}\" y=\"-4\" font-size=\"{font}\">{number}</text>"),
                );
            }
        }
    }
}

fn push_cells(svg: &mut String, confusion: &Confusion) {
    for (truth, predicted, count) in confusion.cells() {
        let of_class: u64 = confusion.counts[truth].iter().sum();
        // The root makes single mistakes in large classes visible.
        let strength = (count as f64 / of_class as f64).sqrt().max(PALEST);
        let kind = if truth == predicted { "right" } else { "wrong" };
        let (x, y) = (predicted * CELL, truth * CELL);
        let title = format!(
            "{} → {}: {count} of {of_class}",
            confusion.class(truth),
            confusion.class(predicted)
        );
        push(
            svg,
            format_args!(
                "<rect class=\"{kind}\" x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{CELL}\" \
                 fill-opacity=\"{strength:.2}\"><title>{}</title></rect>",
                Html::text(&title).0
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confusion(counts: Vec<Vec<u64>>) -> Confusion {
        let classes = (0..counts.len())
            .map(|class| format!("class {class}"))
            .collect();
        Confusion {
            split: "test".into(),
            classes,
            counts,
        }
    }

    #[test]
    fn each_cell_that_is_not_empty_is_a_square_with_its_text() {
        let html = figure(&confusion(vec![vec![3, 1], vec![0, 4]])).0;
        assert_eq!(html.matches("<rect class=\"right\"").count(), 2, "{html}");
        assert_eq!(html.matches("<rect class=\"wrong\"").count(), 1, "{html}");
        assert!(
            html.contains("<title>class 0 → class 1: 1 of 4</title>"),
            "{html}"
        );
        assert!(html.contains("fill-opacity=\"0.50\""), "{html}");
    }

    #[test]
    fn many_classes_are_numbered() {
        let counts = (0..133)
            .map(|row| (0..133).map(|column| u64::from(row == column)).collect())
            .collect();
        let html = figure(&confusion(counts)).0;
        assert!(
            html.contains(">131</text>") && !html.contains(">class 130</text>"),
            "{html}"
        );
    }

    #[test]
    fn without_classes_there_is_no_picture() {
        assert_eq!(figure(&confusion(Vec::new())).0, "");
    }
}
