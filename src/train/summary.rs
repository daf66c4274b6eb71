//! What a run says about itself in words: the data at the start, the result at the end, and the report.
//!
//! Input: the run's figures. Output: lines for people on stderr, and `confusion.csv` and `report.html` in the run folder.

use std::path::Path;

use super::Stop;
use super::checkpoint::Progress;
use super::fit::Ended;
use super::inside::Seen;
use super::pictures::Pictures;
use super::run::TrainError;
use crate::config::Setting;
use crate::data::{ImageFolder, Skipped, SplitOrigin, Splits, unreadable_classes};
use crate::debugger::rules::Status;
use crate::device::Selected;
use crate::eval::{Scores, write_confusion};
use crate::report::{self, ClassScore, Confusion, Report, SkippedFile, SplitRow};
use crate::run_folder::{RunArgs, RunFolder};
use crate::sinks::TestMetrics;

/// Says what was found in the data set.
pub fn announce_data(splits: &Splits) {
    let test = splits.test.as_ref().map_or(0, ImageFolder::len);
    tracing::info!(
        "data: {} classes; {} images to train on, {} to validate, {test} to test",
        splits.train.classes.len(),
        splits.train.len(),
        splits.valid.len(),
    );
    if splits.origin != SplitOrigin::Folders {
        tracing::info!("data: {}", splits.origin);
    }
}

/// A class without a single readable image was neither learned nor measured, whatever the figures say.
pub fn warn_of_unreadable_classes(splits: &Splits, skipped: &[Skipped]) {
    for (split, folder) in [("train", &splits.train), ("valid", &splits.valid)] {
        for class in unreadable_classes(folder, skipped) {
            tracing::warn!(
                "no image of class {class:?} in {split} could be read: the figures do not cover it"
            );
        }
    }
}

/// Says how to go on after Ctrl-C. Without a checkpoint nothing was trained yet.
pub fn announce_interrupted(folder: &RunFolder, is_job: bool, progress: &Progress) {
    match folder.has_checkpoint() {
        true if is_job => tracing::warn!(
            "interrupted in epoch {} after {} batches; the job goes on from {} when it is started again",
            progress.epoch + 1,
            progress.batch,
            folder.weights().display()
        ),
        true => tracing::warn!(
            "interrupted in epoch {} after {} batches; go on with: sagemaker-burn train --resume {}",
            progress.epoch + 1,
            progress.batch,
            quoted(&folder.path().display().to_string())
        ),
        false => {
            tracing::warn!("interrupted before the first training step; start again when you like")
        }
    }
}

/// Everything that the end of a run can tell.
pub struct Findings<'a> {
    pub args: &'a RunArgs,
    pub settings: &'a [Setting],
    pub device: &'a Selected,
    pub splits: &'a Splits,
    pub progress: &'a Progress,
    pub ended: Ended,
    /// The split that `scores` come from.
    pub split: &'a str,
    pub scores: Option<&'a Scores>,
    pub test: Option<&'a TestMetrics>,
    pub skipped: &'a [Skipped],
    pub seen: &'a Seen,
    pub pictures: &'a Pictures,
}

impl Findings<'_> {
    /// Writes `confusion.csv` and `report.html`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), TrainError> {
        if let Some(scores) = self.scores {
            let path = folder.join("confusion.csv");
            let written = write_confusion(&path, &scores.confusion, &self.splits.train.classes);
            written.map_err(|source| TrainError::Write { path, source })?;
        }
        let path = folder.join("report.html");
        report::write(&path, &self.report(folder))
            .map_err(|source| TrainError::Write { path, source })
    }

    fn report(&self, folder: &Path) -> Report {
        let name = folder
            .file_name()
            .unwrap_or(folder.as_os_str())
            .to_string_lossy();
        let network = self.setting("model").unwrap_or("network");
        Report {
            title: format!(
                "{name}: {network} on {} classes",
                self.splits.train.classes.len()
            ),
            created: crate::files::now_utc(),
            configuration: self.settings.to_vec(),
            splits: self.split_rows(),
            epochs: self.progress.history.clone(),
            best_epoch: self.progress.best.best.as_ref().map(|best| best.epoch),
            test: self.test.cloned(),
            confusion: self.scores.map(|scores| Confusion {
                split: self.split.to_string(),
                classes: self.splits.train.classes.clone(),
                counts: scores.confusion.rows(),
            }),
            per_class: self
                .scores
                .map(|scores| self.class_scores(scores))
                .unwrap_or_default(),
            skipped: self.skipped_files(),
            environment: self.environment(),
            command: self.args.command.clone(),
            calibration: self.scores.map(|scores| scores.calibration.clone()),
            mistakes: self.pictures.mistakes.clone(),
            training: self.pictures.training.clone(),
            augmentation: self.setting("augmentation").unwrap_or_default().to_string(),
            class_sizes: self.class_sizes(),
            look: self.pictures.look.clone(),
            rules: self.seen.rules.clone(),
            profile: self.seen.profile.clone(),
        }
    }

    fn setting(&self, name: &str) -> Option<&str> {
        let setting = self.settings.iter().find(|setting| setting.name == name);
        setting.map(|setting| setting.value.as_str())
    }

    fn class_sizes(&self) -> Vec<(String, usize)> {
        let train = &self.splits.train;
        train
            .classes
            .iter()
            .cloned()
            .zip(train.class_counts())
            .collect()
    }

    fn split_rows(&self) -> Vec<SplitRow> {
        let folders = [
            ("train", Some(&self.splits.train)),
            ("valid", Some(&self.splits.valid)),
        ];
        let folders = folders
            .into_iter()
            .chain([("test", self.splits.test.as_ref())]);
        let row = |(split, folder): (&str, Option<&ImageFolder>)| {
            let counts = folder?.class_counts();
            Some(SplitRow {
                split: split.to_string(),
                images: counts.iter().sum(),
                fewest_per_class: counts.iter().copied().min().unwrap_or(0),
                most_per_class: counts.iter().copied().max().unwrap_or(0),
            })
        };
        folders.filter_map(row).collect()
    }

    fn class_scores(&self, scores: &Scores) -> Vec<ClassScore> {
        let classes = self.splits.train.classes.iter().zip(scores.per_class());
        classes
            .map(|(class, s)| ClassScore {
                class: class.clone(),
                precision: s.precision,
                recall: s.recall,
                f1: s.f1,
                support: s.support,
            })
            .collect()
    }

    fn skipped_files(&self) -> Vec<SkippedFile> {
        let file = |s: &Skipped| SkippedFile {
            path: s.path.display().to_string(),
            reason: s.reason.clone(),
        };
        self.skipped.iter().map(file).collect()
    }

    fn environment(&self) -> Vec<(String, String)> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut rows = vec![
            (
                "sagemaker-burn".to_string(),
                env!("CARGO_PKG_VERSION").to_string(),
            ),
            ("Burn".to_string(), crate::BURN_VERSION.to_string()),
            (
                "device".to_string(),
                format!("{} ({})", self.device.name, self.device.why),
            ),
            ("cores".to_string(), cores.to_string()),
            (
                "platform".to_string(),
                format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            ),
            ("data".to_string(), self.args.data.display().to_string()),
        ];
        if let Some(bytes) = crate::memory::peak_bytes() {
            rows.push((
                "peak memory".to_string(),
                format!("{:.0} MB", bytes as f64 / 1e6),
            ));
        }
        rows
    }

    /// Says how it went and what can be done next. None of these lines may look like a metric line.
    pub fn announce(&self, folder: &RunFolder, is_job: bool) {
        let epochs = self.progress.history.len();
        match self.ended {
            Ended::Completed => tracing::info!("\ndone after {epochs} epochs"),
            Ended::EarlyStopped => {
                tracing::info!("\nstopped early after {epochs} epochs: no better one came")
            }
            Ended::Stopped(Stop::Terminate) => {
                tracing::info!("\nstopped by SIGTERM after {epochs} epochs")
            }
            Ended::Stopped(Stop::Rule) => {
                tracing::info!("\nstopped by a rule after {epochs} epochs")
            }
            Ended::Stopped(Stop::Interrupt) => {
                tracing::info!("\ninterrupted after {epochs} epochs")
            }
        }
        if let Some(best) = &self.progress.best.best {
            tracing::info!(
                "  best epoch {}: {:.1} % of the validation images are right",
                best.epoch,
                best.accuracy * 100.0
            );
        }
        if let Some(test) = self.test {
            tracing::info!(
                "  test: {:.1} % of {} images are right",
                test.accuracy * 100.0,
                test.images
            );
        }
        if !self.skipped.is_empty() {
            tracing::info!(
                "  {} broken images were left out; the report lists them",
                self.skipped.len()
            );
        }
        let fired = self
            .seen
            .rules
            .iter()
            .filter(|rule| rule.status == Status::IssuesFound);
        for rule in fired {
            tracing::info!("  rule {}: {}", rule.rule, rule.finding);
        }
        if let Some(profile) = &self.seen.profile {
            tracing::info!("  time: {}", profile.sentence);
        }
        let shown = folder.path().display();
        tracing::info!("  model   {}", folder.model().display());
        tracing::info!("  report  {shown}/report.html");
        if is_job {
            return;
        }
        tracing::info!("\nnext:");
        if let Some(example) = self.example() {
            tracing::info!(
                "  sagemaker-burn predict --model {shown}/model {}",
                quoted(&example.display().to_string())
            );
        }
        let data = quoted(&self.args.data.display().to_string());
        tracing::info!("  sagemaker-burn eval {shown}/model --data {data}");
        tracing::info!("  sagemaker-burn serve --model {shown}/model");
        tracing::info!("  sagemaker-burn export --model {shown}/model --output classifier.onnx");
    }

    /// A photo that the network was not trained on.
    fn example(&self) -> Option<&Path> {
        let folder = self.splits.test.as_ref().unwrap_or(&self.splits.valid);
        folder.samples.first()?.file()
    }
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    match path.chars().all(plain) {
        true => path.to_string(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awkward_paths_are_quoted_for_the_shell() {
        assert_eq!(quoted("a/b-1.jpg"), "a/b-1.jpg");
        assert_eq!(quoted("my dog's.jpg"), r"'my dog'\''s.jpg'");
    }
}
