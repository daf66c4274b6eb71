//! The page: sections in the order in which a reader asks.
//!
//! Input: a [`Report`]. Output: a whole HTML document.

use super::{
    ClassScore, Report,
    chart::{self, Range, Series},
    gallery::gallery,
    heatmap,
    html::{Column, Html, section, table},
    inside,
    quantity::{bytes, duration, fixed, percent, significant},
};
use crate::sinks::EpochMetrics;

const STYLE: &str = include_str!("style.css");
/// Mistakes worth a line.
const MOST_CONFUSED: usize = 15;
/// Skipped files that are listed; a folder full of them needs no full list.
const MOST_SKIPPED: usize = 200;

/// The document.
pub(super) fn render(report: &Report) -> String {
    let body: Html = [
        header(report),
        section("Epochs", epochs(report)),
        section("What the rules found", inside::rules(&report.rules)),
        section(
            "Where the time went",
            inside::profile(report.profile.as_ref()),
        ),
        section("Mistakes", mistakes(report)),
        section(
            "Calibration",
            inside::calibration(report.calibration.as_ref()),
        ),
        section("Classes", classes(&report.per_class)),
        section("Data", splits(report).and(inside::data(report))),
        section("Training images", inside::training(report)),
        section("Skipped files", skipped(report)),
        section("Configuration", configuration(report)),
        section("Environment", environment(report)),
        section("Make it again", command(&report.command)),
    ]
    .into_iter()
    .collect();
    document(&report.title, body)
}

/// A whole document around the body of a page.
pub(super) fn document(title: &str, body: Html) -> String {
    let title = Html::text(title).0;
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{}\n</body>\n</html>\n",
        body.within("main").0
    )
}

/// The epoch whose weights were kept; the last one if the caller does not say.
fn kept(report: &Report) -> Option<&EpochMetrics> {
    let best = report
        .best_epoch
        .and_then(|best| report.epochs.iter().find(|epoch| epoch.epoch == best));
    best.or(report.epochs.last())
}

fn header(report: &Report) -> Html {
    heading(&report.title, &report.created, figures(report))
}

/// The top of a page: its title, when it was made, and the figures to see first, as name and value.
pub(super) fn heading(title: &str, created: &str, figures: Vec<(String, String)>) -> Html {
    let title = Html::text(title).within("h1");
    let created = Html::text(created).within("p class=\"note\"");
    let figures: Html = figures
        .into_iter()
        .map(|(name, value)| {
            Html::text(&name)
                .within("dt")
                .and(Html::text(&value).within("dd"))
                .within("div")
        })
        .collect();
    title
        .and(created)
        .and(figures.within("dl class=\"figures\""))
}

/// The figures to see first, as name and value.
fn figures(report: &Report) -> Vec<(String, String)> {
    let mut figures = Vec::new();
    if let Some(test) = &report.test {
        figures.push(("Test accuracy".into(), percent(test.accuracy)));
        figures.extend(
            test.top_k
                .map(|(k, accuracy)| (format!("Test top-{k}"), percent(accuracy))),
        );
    }
    if let Some(epoch) = kept(report) {
        figures.push((
            format!("Validation accuracy, epoch {}", epoch.epoch),
            percent(epoch.valid_accuracy),
        ));
        figures.extend(
            epoch
                .valid_top_k
                .map(|(k, accuracy)| (format!("Validation top-{k}"), percent(accuracy))),
        );
    }
    if !report.epochs.is_empty() {
        let seconds = report.epochs.iter().map(|epoch| epoch.seconds).sum();
        figures.push(("Training time".into(), duration(seconds)));
    }
    let peak = report
        .epochs
        .iter()
        .filter_map(|epoch| epoch.peak_memory_bytes)
        .max();
    figures.extend(peak.map(|peak| ("Peak memory".into(), bytes(peak))));
    figures
}

fn epochs(report: &Report) -> Html {
    let epochs = &report.epochs;
    if epochs.is_empty() {
        return Html::default();
    }
    let marked = report.best_epoch.and_then(|best| i32::try_from(best).ok());
    let losses = [
        series("train", epochs, |epoch| Some(epoch.train_loss)),
        series("validation", epochs, |epoch| Some(epoch.valid_loss)),
    ];
    let mut accuracies = vec![
        series("train", epochs, |epoch| Some(epoch.train_accuracy)),
        series("validation", epochs, |epoch| Some(epoch.valid_accuracy)),
    ];
    if let Some((k, _)) = epochs.iter().find_map(|epoch| epoch.valid_top_k) {
        let name = format!("validation top-{k}");
        accuracies.push(series(&name, epochs, |epoch| {
            epoch.valid_top_k.map(|(_, accuracy)| accuracy)
        }));
    }
    let rates = [series("at the end of the epoch", epochs, |epoch| {
        Some(epoch.learning_rate)
    })];
    let charts = chart::figure("Loss", &losses, Range::FromZero, marked)
        .and(chart::figure(
            "Accuracy",
            &accuracies,
            Range::Fraction,
            marked,
        ))
        .and(chart::figure(
            "Learning rate",
            &rates,
            Range::FromZero,
            None,
        ))
        .within("div class=\"charts\"");
    let note = report.best_epoch.map_or_else(Html::default, |best| {
        Html::text(&format!(
            "The weights of epoch {best} were kept as the best; a dashed line marks it."
        ))
        .within("p class=\"note\"")
    });
    charts.and(note).and(epoch_table(epochs))
}

fn series(
    name: &str,
    epochs: &[EpochMetrics],
    value: impl Fn(&EpochMetrics) -> Option<f64>,
) -> Series {
    let point = |epoch: &EpochMetrics| Some((i32::try_from(epoch.epoch).ok()?, value(epoch)?));
    Series {
        name: name.into(),
        points: epochs.iter().filter_map(point).collect(),
    }
}

fn epoch_table(epochs: &[EpochMetrics]) -> Html {
    let columns = [
        Column::Number("epoch"),
        Column::Number("train loss"),
        Column::Number("train acc."),
        Column::Number("valid loss"),
        Column::Number("valid acc."),
        Column::Number("valid top-k"),
        Column::Number("learning rate"),
        Column::Number("train img/s"),
        Column::Number("valid img/s"),
        Column::Number("time"),
    ];
    let row = |epoch: &EpochMetrics| {
        [
            epoch.epoch.to_string(),
            fixed(epoch.train_loss, 4),
            percent(epoch.train_accuracy),
            fixed(epoch.valid_loss, 4),
            percent(epoch.valid_accuracy),
            percent(epoch.valid_top_k.map_or(f64::NAN, |(_, accuracy)| accuracy)),
            significant(epoch.learning_rate),
            fixed(epoch.train_images_per_second, 1),
            fixed(epoch.valid_images_per_second, 1),
            duration(epoch.seconds),
        ]
    };
    table(columns, epochs.iter().map(row))
}

fn mistakes(report: &Report) -> Html {
    let Some(confusion) = &report.confusion else {
        return Html::default();
    };
    let pairs = confusion
        .most_confused(MOST_CONFUSED)
        .into_iter()
        .map(|pair| {
            [
                pair.truth.to_owned(),
                pair.predicted.to_owned(),
                pair.count.to_string(),
            ]
        });
    let columns = [
        Column::Text("true class"),
        Column::Text("taken for"),
        Column::Number("images"),
    ];
    let sure = match report.mistakes.is_empty() {
        true => Html::default(),
        false => Html::text("The mistakes that the model was surest of, as it saw them:")
            .within("p class=\"note\""),
    };
    heatmap::figure(confusion)
        .and(table(columns, pairs))
        .and(sure)
        .and(gallery(&report.mistakes))
}

/// The scores, the worst class first: it is the one to look at.
fn classes(scores: &[ClassScore]) -> Html {
    let mut scores: Vec<&ClassScore> = scores.iter().collect();
    // An undefined score is worse than any other.
    let f1 = |score: &ClassScore| if score.f1.is_finite() { score.f1 } else { -1.0 };
    scores.sort_by(|one, other| f1(one).total_cmp(&f1(other)));
    let columns = [
        Column::Text("class"),
        Column::Number("precision"),
        Column::Number("recall"),
        Column::Number("F1"),
        Column::Number("images"),
    ];
    let row = |score: &&ClassScore| {
        [
            score.class.clone(),
            percent(score.precision),
            percent(score.recall),
            fixed(score.f1, 3),
            score.support.to_string(),
        ]
    };
    let table = table(columns, scores.iter().map(row));
    if table.0.is_empty() {
        table
    } else {
        table.within("div class=\"tall\"")
    }
}

fn splits(report: &Report) -> Html {
    let columns = [
        Column::Text("split"),
        Column::Number("images"),
        Column::Number("smallest class"),
        Column::Number("largest class"),
    ];
    let rows = report.splits.iter().map(|split| {
        [
            split.split.clone(),
            split.images.to_string(),
            split.fewest_per_class.to_string(),
            split.most_per_class.to_string(),
        ]
    });
    table(columns, rows)
}

fn skipped(report: &Report) -> Html {
    let rows = report
        .skipped
        .iter()
        .take(MOST_SKIPPED)
        .map(|file| [file.path.clone(), file.reason.clone()]);
    let listed = table([Column::Text("file"), Column::Text("reason")], rows);
    let more = report.skipped.len().saturating_sub(MOST_SKIPPED);
    if more == 0 {
        return listed;
    }
    listed.and(Html::text(&format!("… and {more} more.")).within("p class=\"note\""))
}

fn configuration(report: &Report) -> Html {
    let columns = [
        Column::Text("setting"),
        Column::Text("value"),
        Column::Text("from"),
    ];
    let rows = report.configuration.iter();
    table(
        columns,
        rows.map(|row| [row.name.clone(), row.value.clone(), row.source.clone()]),
    )
}

fn environment(report: &Report) -> Html {
    let rows = report
        .environment
        .iter()
        .map(|(name, value)| [name.clone(), value.clone()]);
    table([Column::Text("what"), Column::Text("value")], rows)
}

pub(super) fn command(words: &[String]) -> Html {
    if words.is_empty() {
        return Html::default();
    }
    let line: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    Html::text(&line.join(" ")).within("pre")
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("--epochs=3"), "--epochs=3");
        assert_eq!(quoted("my dogs"), "'my dogs'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
