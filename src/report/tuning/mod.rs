//! The page about a search for hyperparameters.
//!
//! Input: a [`Tuning`], plain data. Output: a whole HTML document without scripts and references to other files.

mod coordinates;
mod objective;

use super::html::{Html, bars, section};
use super::page::{self, quoted};
use super::quantity::{duration, fixed};

/// What a search tried and found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tuning {
    /// Headline.
    pub title: String,
    /// When it ended, as text.
    pub created: String,
    /// The metric that trials were compared by.
    pub objective: String,
    /// Whether more of it is better.
    pub maximize: bool,
    /// The hyperparameters that varied.
    pub axes: Vec<Axis>,
    /// The trials, the best first.
    pub trials: Vec<TuningTrial>,
    /// The number of the best one.
    pub best: Option<usize>,
    /// Settings that were the same in every trial.
    pub fixed: Vec<(String, String)>,
    /// How the search went about.
    pub search: Vec<(String, String)>,
    /// The command that made the study, program first.
    pub command: Vec<String>,
    /// The command that trains with the best hyperparameters.
    pub next: String,
}

/// A hyperparameter that varied.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub name: String,
    /// The share of the objective's variance that it explains on its own, from 0 to 1, where that can be told.
    pub importance: Option<f64>,
    /// Places between 0 and 1 and the values there.
    pub ticks: Vec<(f64, String)>,
}

/// One training of the search.
#[derive(Debug, Clone, PartialEq)]
pub struct TuningTrial {
    /// From 1.
    pub number: usize,
    pub name: String,
    /// In SageMaker's words.
    pub status: String,
    pub has_failed: bool,
    pub value: Option<f64>,
    pub epochs: usize,
    pub seconds: f64,
    /// Its values in the order of the axes, and their places between 0 and 1.
    pub values: Vec<String>,
    pub places: Vec<f64>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// The document.
pub(super) fn render(tuning: &Tuning) -> String {
    let body: Html = [
        header(tuning),
        section("Trials", objective::figure(tuning)),
        section("What went with what", coordinates::figure(tuning)),
        section("What mattered", importance(tuning)),
        section("Jobs", jobs(tuning)),
        section("Settings of every trial", pairs(&tuning.fixed)),
        section("Search", pairs(&tuning.search)),
        section("Train with the best", line(&tuning.next)),
        section("Make it again", page::command(&tuning.command)),
    ]
    .into_iter()
    .collect();
    page::document(&tuning.title, body)
}

fn header(tuning: &Tuning) -> Html {
    let best = tuning.best_trial();
    let mut figures = Vec::new();
    if let Some(value) = best.and_then(|trial| trial.value) {
        figures.push((format!("Best {}", tuning.objective), fixed(value, 4)));
    }
    for (axis, value) in tuning.axes.iter().zip(best.iter().flat_map(|t| &t.values)) {
        figures.push((axis.name.clone(), value.clone()));
    }
    let failed = tuning
        .trials
        .iter()
        .filter(|trial| trial.has_failed)
        .count();
    let trials = match failed {
        0 => tuning.trials.len().to_string(),
        _ => format!("{}, {failed} failed", tuning.trials.len()),
    };
    figures.push(("Trials".into(), trials));
    let seconds = tuning.trials.iter().map(|trial| trial.seconds).sum();
    figures.push(("Training time".into(), duration(seconds)));
    page::heading(&tuning.title, &tuning.created, figures)
}

/// Bars, the longest first.
fn importance(tuning: &Tuning) -> Html {
    let known = tuning
        .axes
        .iter()
        .filter_map(|axis| Some((&axis.name, axis.importance?)));
    let mut known: Vec<(&String, f64)> = known.collect();
    known.sort_by(|a, b| b.1.total_cmp(&a.1));
    if known.is_empty() {
        return Html::text("There are too few trials to tell.").within("p class=\"note\"");
    }
    let valued = tuning
        .trials
        .iter()
        .filter(|trial| !trial.has_failed)
        .count();
    let note = format!(
        "The share of the variance of {} that each setting explains on its own over {valued} trials: trials are grouped by the \
         value of a list or by equal parts of a range, and what groups would explain by chance is taken off (adjusted eta \
         squared). The rest is due to combinations and chance. With few trials this is a hint, no proof.",
        tuning.objective
    );
    bars(known).and(Html::text(&note).within("p class=\"note\""))
}

/// The table, whose columns are those of the study.
fn jobs(tuning: &Tuning) -> Html {
    let cell = |tag: &str, text: &str| Html::text(text).within(tag);
    let number = |tag: &str, text: &str| cell(&format!("{tag} class=\"number\""), text);
    let mut head = cell("th", "job").and(cell("th", "status"));
    head = head.and(number("th", &tuning.objective));
    head = head.and(
        tuning
            .axes
            .iter()
            .map(|axis| number("th", &axis.name))
            .collect(),
    );
    head = head.and(number("th", "epochs")).and(number("th", "time"));
    let rows: Html = tuning
        .trials
        .iter()
        .map(|trial| {
            let status = match &trial.reason {
                None => trial.status.clone(),
                Some(reason) => format!("{}: {reason}", trial.status),
            };
            let value = fixed(trial.value.unwrap_or(f64::NAN), 4);
            let mut row = cell("td", &trial.name).and(cell("td", &status));
            row = row.and(number("td", &value));
            row = row.and(
                trial
                    .values
                    .iter()
                    .map(|value| number("td", value))
                    .collect(),
            );
            row = row.and(number("td", &trial.epochs.to_string()));
            row.and(number("td", &duration(trial.seconds))).within("tr")
        })
        .collect();
    if rows.0.is_empty() {
        return rows;
    }
    let table = head.within("tr").within("thead").and(rows.within("tbody"));
    table.within("table").within("div class=\"scroll tall\"")
}

fn pairs(pairs: &[(String, String)]) -> Html {
    let rows = pairs
        .iter()
        .map(|(name, value)| [name.clone(), value.clone()]);
    let columns = ["setting", "value"].map(super::html::Column::Text);
    super::html::table(columns, rows)
}

fn line(text: &str) -> Html {
    match text.is_empty() {
        true => Html::default(),
        false => Html::text(text).within("pre"),
    }
}

/// A command as a shell takes it.
pub fn shell_line(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

impl Tuning {
    fn best_trial(&self) -> Option<&TuningTrial> {
        let best = self.best?;
        self.trials.iter().find(|trial| trial.number == best)
    }
}

#[cfg(test)]
mod tests;
