//! What the epochs of a trial mean: whether it should end, and what it came to.
//!
//! Input: the `results.csv` of the trials and the study's journal. Output: the epoch to stop with, and an [`Outcome`].

use std::process::ExitStatus;

use super::journal::{Outcome, Status};
use super::objective::Epoch;
use super::run::Runner;
use super::stopping::Curve;
use super::study::Study;
use super::trial::Running;

impl Runner<'_> {
    /// The first epoch beyond `judged` with which a trial should end; its own last epoch ends it anyway.
    pub(super) fn stop_of(&self, number: usize, rows: &[Epoch], judged: usize) -> Option<usize> {
        let objective = self.study.definition.objective;
        let losses: Vec<f64> = rows.iter().map(|row| objective.loss(row.value)).collect();
        let (epochs, _) = (self.plan)(&self.study.trials.get(&number)?.values);
        let others = self.other_losses(number);
        let curves: Vec<Curve> = others
            .iter()
            .map(|(losses, has_ended)| Curve {
                losses,
                has_ended: *has_ended,
            })
            .collect();
        let rule = self.study.definition.early_stopping;
        let before_last = losses.len().min(epochs.saturating_sub(1));
        rule.first_stop(&losses[..before_last], judged, &curves)
    }

    /// The losses of all trials but one, and whether they have ended. Failed ones say nothing about values.
    fn other_losses(&self, number: usize) -> Vec<(Vec<f64>, bool)> {
        let objective = self.study.definition.objective;
        let ended = self
            .study
            .ended()
            .filter(|(trial, outcome)| trial.number != number && outcome.status != Status::Failed);
        let ended = ended.map(|(_, outcome)| (outcome.epochs.clone(), true));
        let running = self.running.iter().filter(|other| other.number != number);
        let running = running.map(|other| {
            let rows = self.epochs(other.number);
            (rows.iter().map(|row| row.value).collect(), false)
        });
        let values = ended.chain(running);
        values
            .map(|(values, has_ended): (Vec<f64>, bool)| {
                let losses = values.into_iter().map(|value| objective.loss(value));
                (losses.collect(), has_ended)
            })
            .collect()
    }

    pub(super) fn epochs(&self, number: usize) -> Vec<Epoch> {
        let results = self.study.trial_folder(number).join("results.csv");
        self.study.definition.objective.epochs(&results)
    }

    /// What a trial came to, whose process has ended.
    pub(super) fn outcome(&self, trial: &Running, status: ExitStatus, seconds: f64) -> Outcome {
        let number = trial.number;
        let rows = self.epochs(number);
        let known = self.study.trials.get(&number);
        let (_, report_best) = known.map_or((0, true), |known| (self.plan)(&known.values));
        // Epochs that came with the last words, and those that were done before the signal arrived, do not count.
        let stopped = trial
            .stopped_with
            .or_else(|| self.stop_of(number, &rows, trial.judged));
        let counted = stopped.unwrap_or(rows.len()).min(rows.len());
        let epochs: Vec<f64> = rows[..counted].iter().map(|row| row.value).collect();
        let value = self
            .study
            .definition
            .objective
            .of_trial(&epochs, report_best);
        let (status, reason) = match (status.success(), value) {
            (true, Some(_)) if stopped.is_some() => (Status::Stopped, None),
            (true, Some(_)) => (Status::Completed, None),
            (true, None) => (
                Status::Failed,
                Some("it ended without an epoch".to_string()),
            ),
            (false, _) => (Status::Failed, Some(trial.reason(status))),
        };
        Outcome {
            status,
            value,
            epochs,
            seconds: seconds + known.map_or(0.0, |known| known.seconds_before),
            at: crate::files::now_utc(),
            reason,
            peak_memory_bytes: rows.iter().filter_map(|row| row.peak_memory_bytes).max(),
        }
    }
}

/// What the search is told of an outcome.
pub(super) fn loss(study: &Study, outcome: &Outcome) -> f64 {
    let value = outcome.value.filter(|_| outcome.status != Status::Failed);
    value.map_or(f64::INFINITY, |value| {
        study.definition.objective.loss(value)
    })
}
