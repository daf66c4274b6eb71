//! What makes a trial good.
//!
//! Input: the rows of a run's `results.csv`. Output: the objective's value of each epoch, and of the trial: the last one that
//! SageMaker would read from the metric lines.

use std::fmt;
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A metric that trials are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Metric {
    /// Share of the validation images that are right
    #[value(name = "validation:accuracy")]
    Accuracy,
    /// Mean loss of the validation images
    #[value(name = "validation:loss")]
    Loss,
}

/// Which way is better, as SageMaker writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Direction {
    #[value(name = "Maximize")]
    Maximize,
    #[value(name = "Minimize")]
    Minimize,
}

/// A metric and which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    pub metric: Metric,
    pub direction: Direction,
}

/// One epoch of a trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    pub value: f64,
    pub peak_memory_bytes: Option<u64>,
}

impl Objective {
    /// `metric`, in the direction that it has by nature unless one is given.
    pub fn new(metric: Metric, direction: Option<Direction>) -> Self {
        let natural = match metric {
            Metric::Accuracy => Direction::Maximize,
            Metric::Loss => Direction::Minimize,
        };
        Objective {
            metric,
            direction: direction.unwrap_or(natural),
        }
    }

    /// A value that is lower where the objective is better.
    pub fn loss(self, value: f64) -> f64 {
        match self.direction {
            Direction::Minimize => value,
            Direction::Maximize => -value,
        }
    }

    /// The value of a trial with these epochs: that of the last one, except that an accuracy is reported again from the best
    /// epoch, whose weights are kept, unless `report_best` is off.
    pub fn of_trial(self, epochs: &[f64], report_best: bool) -> Option<f64> {
        match self.metric {
            Metric::Accuracy if report_best => epochs.iter().copied().reduce(f64::max),
            _ => epochs.last().copied(),
        }
    }

    /// The epochs in a `results.csv`; none where there is no file yet. A row that is not whole is left out.
    pub fn epochs(self, results: &Path) -> Vec<Epoch> {
        let text = std::fs::read_to_string(results).unwrap_or_default();
        let mut lines = text.split_inclusive('\n');
        let header = lines.next().unwrap_or_default();
        let column = |name: &str| header.trim_end().split(',').position(|cell| cell == name);
        let name = match self.metric {
            Metric::Accuracy => "valid_accuracy",
            Metric::Loss => "valid_loss",
        };
        let (Some(value), memory) = (column(name), column("peak_memory_bytes")) else {
            return Vec::new();
        };
        let rows = lines.filter(|line| line.ends_with('\n'));
        let epochs = rows.map_while(|line| {
            let cells: Vec<&str> = line.trim_end().split(',').collect();
            Some(Epoch {
                value: cells.get(value)?.parse().ok()?,
                peak_memory_bytes: memory.and_then(|m| cells.get(m)?.parse().ok()),
            })
        });
        epochs.collect()
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |v| v.get_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_what_the_last_metric_line_says() {
        let epochs = [0.5, 0.8, 0.7];
        let accuracy = Objective::new(Metric::Accuracy, None);
        assert_eq!(accuracy.of_trial(&epochs, true), Some(0.8));
        assert_eq!(accuracy.of_trial(&epochs, false), Some(0.7));
        assert_eq!(accuracy.loss(0.8), -0.8);
        let loss = Objective::new(Metric::Loss, None);
        assert_eq!(loss.of_trial(&epochs, true), Some(0.7));
        assert_eq!((loss.of_trial(&[], true), loss.loss(0.7)), (None, 0.7));
        let turned = Objective::new(Metric::Loss, Some(Direction::Maximize));
        assert_eq!(turned.loss(0.7), -0.7);
    }

    #[test]
    fn half_a_row_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let objective = Objective::new(Metric::Accuracy, None);
        assert!(objective.epochs(Path::new("/no/such/file")).is_empty());
        let text = "epoch,valid_loss,valid_accuracy,peak_memory_bytes\n1,2.5,0.25,1000\n2,1.5,0.5,\n3,1.0,0.7";
        std::fs::write(file.path(), text).unwrap();
        let epoch = |value, peak_memory_bytes| Epoch {
            value,
            peak_memory_bytes,
        };
        assert_eq!(
            objective.epochs(file.path()),
            [epoch(0.25, Some(1000)), epoch(0.5, None)]
        );
        let losses = Objective::new(Metric::Loss, None).epochs(file.path());
        assert_eq!(losses[1].value, 1.5);
    }
}
