//! The confusion matrix as a picture.
//!
//! Input: counts. Output: an SVG with a square for each cell that is not empty, darker the larger its share of the true
//! class; where there are too many classes for their names, a second one of those that are confused most. Drawn by hand,
//! because colours have to follow the page's light or dark style and each square carries its text.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Confusion, html::Html};

/// With more classes than this their names do not fit at the sides.
const MOST_NAMED_CLASSES: usize = 24;
/// Where names do not fit, each tenth class has its number.
const NUMBERED: usize = 10;
/// Characters of a name that are shown at a side.
const LONGEST_LABEL: usize = 22;
/// The palest square that still counts as seen.
const PALEST: f64 = 0.15;
/// From here on a square is so strong that text on it takes the page's background colour.
const STRONG: f64 = 0.6;

/// Where things are, in units that are pixels on a wide screen.
struct Layout {
    /// Those that are shown, in ascending order.
    classes: Vec<usize>,
    cell: usize,
    /// Room at the left and at the top.
    margin: usize,
    /// Room at the right, for what leans over.
    overhang: usize,
    font: usize,
    is_named: bool,
}

impl Layout {
    fn named(confusion: &Confusion, classes: Vec<usize>) -> Self {
        let length = |class: &usize| short(confusion.class(*class)).chars().count();
        // A character is about six tenths of the font's size wide.
        let length = classes.iter().map(length).max().unwrap_or(0) * 7 + 8;
        Self {
            classes,
            cell: 26,
            margin: length,
            overhang: length / 2,
            font: 12,
            is_named: true,
        }
    }

    fn numbered(count: usize) -> Self {
        Self {
            classes: (0..count).collect(),
            cell: (720 / count).max(3),
            margin: 40,
            overhang: 24,
            font: 13,
            is_named: false,
        }
    }

    fn side(&self) -> usize {
        self.classes.len() * self.cell
    }

    /// Where text next to the middle of a class's cells has its base line.
    fn base_line(&self, place: usize) -> usize {
        place * self.cell + (self.cell + self.font * 3 / 4) / 2
    }
}

/// The matrix; nothing without classes.
pub(super) fn figure(confusion: &Confusion) -> Html {
    let classes = confusion.counts.len();
    let caption = format!(
        "Rows are true classes, columns are predictions, on the {} split. Green is right, orange is wrong; the stronger, \
         the larger the share of the true class.",
        confusion.split
    );
    match classes {
        0 => Html::default(),
        1..=MOST_NAMED_CLASSES => {
            let layout = Layout::named(confusion, (0..classes).collect());
            drawn(confusion, &layout, &caption)
        }
        _ => {
            let numbers = " Classes are numbered in the order of the network's outputs; a square names its two when the pointer rests on it.";
            let all = drawn(confusion, &Layout::numbered(classes), &(caption + numbers));
            let chosen = most_confused(confusion);
            if chosen.is_empty() {
                return all;
            }
            let caption = format!(
                "The {} classes with most mistakes among them.",
                chosen.len()
            );
            all.and(drawn(
                confusion,
                &Layout::named(confusion, chosen),
                &caption,
            ))
        }
    }
}

/// As many classes as can be named, of the pairs that are confused most, in the order of all classes.
fn most_confused(confusion: &Confusion) -> Vec<usize> {
    let mut chosen = BTreeSet::new();
    for (truth, predicted, _) in confusion.mistakes() {
        let pair = [truth, predicted];
        let more = pair.iter().filter(|class| !chosen.contains(*class)).count();
        if chosen.len() + more <= MOST_NAMED_CLASSES {
            chosen.extend(pair);
        }
    }
    chosen.into_iter().collect()
}

fn drawn(confusion: &Confusion, layout: &Layout, caption: &str) -> Html {
    let (side, margin, font) = (layout.side(), layout.margin, layout.font);
    let (width, height) = (margin + side + layout.overhang, margin + side + 4);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" style=\"max-width:{width}px\" font-size=\"{font}\" role=\"img\" \
         aria-label=\"confusion matrix\"><g transform=\"translate({margin},{margin})\">\
         <rect class=\"frame\" width=\"{side}\" height=\"{side}\"/>"
    );
    if layout.is_named {
        push_names(&mut svg, confusion, layout);
    } else {
        push_numbers(&mut svg, layout);
    }
    push_cells(&mut svg, confusion, layout);
    svg.push_str("</g></svg>");
    let caption = Html::text(caption).within("figcaption");
    caption.and(Html(svg)).within("figure class=\"heatmap\"")
}

fn short(name: &str) -> String {
    if name.chars().count() <= LONGEST_LABEL {
        return name.into();
    }
    name.chars().take(LONGEST_LABEL - 1).chain(['…']).collect()
}

fn push(svg: &mut String, piece: std::fmt::Arguments) {
    // Writing to a string cannot fail.
    let _ = svg.write_fmt(piece);
}

fn push_names(svg: &mut String, confusion: &Confusion, layout: &Layout) {
    for (place, class) in layout.classes.iter().enumerate() {
        let name = Html::text(&short(confusion.class(*class))).0;
        let at = layout.base_line(place);
        push(
            svg,
            format_args!("<text x=\"-6\" y=\"{at}\" text-anchor=\"end\">{name}</text>"),
        );
        push(
            svg,
            format_args!("<text transform=\"translate({at},-6) rotate(-60)\">{name}</text>"),
        );
    }
}

fn push_numbers(svg: &mut String, layout: &Layout) {
    let side = layout.side();
    for class in (0..layout.classes.len()).step_by(NUMBERED) {
        let (at, number) = (class * layout.cell, class + 1);
        push(
            svg,
            format_args!("<path class=\"grid\" d=\"M{at} 0V{side}M0 {at}H{side}\"/>"),
        );
        let base_line = layout.base_line(class);
        push(
            svg,
            format_args!("<text x=\"-6\" y=\"{base_line}\" text-anchor=\"end\">{number}</text>"),
        );
        push(
            svg,
            format_args!("<text x=\"{at}\" y=\"-6\">{number}</text>"),
        );
    }
}

fn push_cells(svg: &mut String, confusion: &Confusion, layout: &Layout) {
    let cell = layout.cell;
    let place = |class: usize| layout.classes.binary_search(&class).ok();
    for (truth, predicted, count) in confusion.cells() {
        let (Some(row), Some(column)) = (place(truth), place(predicted)) else {
            continue;
        };
        let of_class: u64 = confusion.counts[truth].iter().sum();
        // The root makes single mistakes in large classes visible.
        let strength = (count as f64 / of_class as f64).sqrt().max(PALEST);
        let kind = if truth == predicted { "right" } else { "wrong" };
        let (x, y) = (column * cell, row * cell);
        let (truth_name, predicted_name) = (confusion.class(truth), confusion.class(predicted));
        let title = Html::text(&format!(
            "{truth_name} → {predicted_name}: {count} of {of_class}"
        ))
        .0;
        push(
            svg,
            format_args!(
                "<rect class=\"{kind}\" x=\"{x}\" y=\"{y}\" width=\"{cell}\" height=\"{cell}\" \
                 fill-opacity=\"{strength:.2}\"><title>{title}</title></rect>"
            ),
        );
        if layout.is_named {
            let (middle, base_line) = (x + cell / 2, layout.base_line(row));
            let class = if strength < STRONG {
                "count"
            } else {
                "count strong"
            };
            push(
                svg,
                format_args!(
                    "<text class=\"{class}\" x=\"{middle}\" y=\"{base_line}\">{count}</text>"
                ),
            );
        }
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
        assert_eq!(html.matches("class=\"count").count(), 3, "{html}");
    }

    #[test]
    fn many_classes_are_numbered() {
        let counts = (0..133)
            .map(|row| (0..133).map(|column| u64::from(row == column)).collect())
            .collect();
        let html = figure(&confusion(counts)).0;
        assert!(
            html.contains(">131</text>") && !html.contains("class=\"count"),
            "{html}"
        );
    }

    #[test]
    fn of_many_classes_the_most_confused_are_shown_again_with_their_names() {
        let mut counts = vec![vec![0; 133]; 133];
        for (class, row) in counts.iter_mut().enumerate() {
            row[class] = 5;
        }
        counts[7][99] = 5;
        // Each class is once taken for the next: more pairs than there is room for.
        (0..132).for_each(|class| counts[class][class + 1] += 1);
        let matrix = confusion(counts);
        let html = figure(&matrix).0;
        let (_, second) = html.split_once("</figure>").unwrap();
        assert!(second.contains("The 24 classes"), "{second}");
        assert!(second.contains(">class 7</text>") && second.contains(">class 99</text>"));
        assert!(!second.contains(">class 120</text>"));
        // The share is that of the whole class, not of what is shown of it.
        assert!(second.contains("<title>class 7 → class 99: 5 of 11</title>"));
    }

    #[test]
    fn without_classes_there_is_no_picture() {
        assert_eq!(figure(&confusion(Vec::new())).0, "");
    }
}
