//! The table of jobs, as SageMaker's analytics of a tuning job have it.
//!
//! Input: a study. Output: [`Table`], the best job first, as text for people or as CSV.

use super::journal::{Outcome, Status, Trial};
use super::study::Study;

/// Rows of texts below their column names.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// All trials that ended: best first, then those without a value.
pub fn ranked(study: &Study) -> Vec<(&Trial, &Outcome)> {
    let objective = study.definition.objective;
    let mut jobs: Vec<_> = study.ended().collect();
    // A stable sort: equal values stay in the order of trials.
    let key = |outcome: &Outcome| match (outcome.status, outcome.value) {
        (Status::Failed, _) | (_, None) => f64::INFINITY,
        (_, Some(value)) => objective.loss(value),
    };
    jobs.sort_by(|a, b| key(a.1).total_cmp(&key(b.1)));
    jobs
}

impl Table {
    pub fn of(study: &Study) -> Self {
        let names = study
            .definition
            .space
            .dimensions
            .iter()
            .map(|d| d.name.clone());
        let mut names: Vec<String> = names.collect();
        names.sort();
        let fixed = [
            "TrainingJobName",
            "TrainingJobStatus",
            "FinalObjectiveValue",
            "TrainingStartTime",
            "TrainingEndTime",
            "TrainingElapsedTimeSeconds",
            "FailureReason",
        ];
        let row = |(trial, outcome): (&Trial, &Outcome)| {
            let mut row: Vec<String> = names
                .iter()
                .map(|name| trial.values.get(name).cloned().unwrap_or_default())
                .collect();
            row.extend([
                study.job_name(trial.number),
                format!("{:?}", outcome.status),
                outcome
                    .value
                    .map_or(String::new(), |value| value.to_string()),
                trial.started.clone(),
                outcome.at.clone(),
                format!("{:.1}", outcome.seconds),
                outcome.reason.clone().unwrap_or_default(),
            ]);
            row
        };
        let rows = ranked(study).into_iter().map(row).collect();
        let columns = names.iter().cloned().chain(fixed.map(str::to_string));
        Table {
            columns: columns.collect(),
            rows,
        }
    }

    pub fn csv(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
            cells.join(",") + "\n"
        };
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.columns) + &rows
    }

    /// For a terminal: without times of day and reasons, values with four decimals.
    pub fn text(&self) -> String {
        let hidden = ["TrainingStartTime", "TrainingEndTime", "FailureReason"];
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|index| !hidden.contains(&self.columns[*index].as_str()))
            .collect();
        let cell = |row: &[String], index: usize| match self.columns[index].as_str() {
            "FinalObjectiveValue" => row[index]
                .parse::<f64>()
                .map_or(row[index].clone(), |value| format!("{value:.4}")),
            _ => row[index].clone(),
        };
        let rows = self
            .rows
            .iter()
            .map(|row| shown.iter().map(|i| cell(row, *i)).collect());
        let head = shown
            .iter()
            .map(|index| self.columns[*index].clone())
            .collect();
        let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
        let width = |column: usize| {
            let cells = lines.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..shown.len()).map(width).collect();
        let line = |cells: &Vec<String>| {
            let cells = cells.iter().zip(&widths);
            let cells: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            cells.join("  ").trim_end().to_string() + "\n"
        };
        lines.iter().map(line).collect()
    }
}

/// A cell of CSV.
fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            columns: ["lr", "FinalObjectiveValue", "FailureReason"]
                .map(String::from)
                .into(),
            rows: vec![
                vec!["0.1".into(), "0.71234567".into(), String::new()],
                vec!["0.25".into(), String::new(), "bad, \"very\"".into()],
            ],
        }
    }

    #[test]
    fn cells_are_quoted_where_they_must() {
        assert_eq!(
            table().csv(),
            "lr,FinalObjectiveValue,FailureReason\n0.1,0.71234567,\n0.25,,\"bad, \"\"very\"\"\"\n"
        );
    }

    #[test]
    fn columns_stand_below_each_other() {
        assert_eq!(
            table().text(),
            "lr    FinalObjectiveValue\n0.1   0.7123\n0.25\n"
        );
    }
}
