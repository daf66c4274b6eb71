//! The events of a run: plain data, in the order in which a run says them.
//!
//! `RunStarted (Step* Evaluating* EpochEnded)* Evaluating* TestEnded? Best? RunEnded`

use serde::{Deserialize, Serialize};

/// One thing the training loop says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Once, before the first step.
    RunStarted(RunStarted),
    /// After each optimizer step.
    Step(StepMetrics),
    /// After each evaluated batch; only a progress display cares.
    Evaluating(EvaluationStep),
    /// After training and validation of an epoch.
    EpochEnded(EpochMetrics),
    /// After evaluation on the test split.
    TestEnded(TestMetrics),
    /// At the end, where the best epoch is to be reported again because the last one is not the best: a SageMaker tuning
    /// job scores a trial by the last value it printed. The loop decides whether to say this.
    Best(BestMetric),
    /// Once, whether the run finished or was stopped.
    RunEnded,
}

/// What a run sets out to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunStarted {
    /// The resolved configuration.
    pub config: serde_json::Value,
    /// Class names in the order of their indices.
    pub classes: Vec<String>,
    /// Images of each split, such as `("train", 6680)`.
    pub counts: Vec<(String, usize)>,
    /// Epochs the run is to have in all.
    pub epochs: usize,
    /// First epoch to come, from 1; above 1 when the run resumes.
    pub first_epoch: usize,
    /// Optimizer steps already taken; above 0 when the run resumes.
    pub global_step: usize,
    /// The epochs before the first one.
    pub history: Vec<EpochMetrics>,
}

/// One optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepMetrics {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Steps taken in this epoch, from 1.
    pub step: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
    /// Steps taken in the run, from 1.
    pub global_step: usize,
    /// Mean loss of the step's images; on a GPU, which is not waited for, that of the epoch so far. `None` where no step has ended there.
    pub loss: Option<f64>,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Images trained per second, over this step.
    pub images_per_second: f64,
}

/// One evaluated batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationStep {
    /// `validation` or `test`.
    pub split: &'static str,
    /// Batches done, from 1.
    pub step: usize,
    /// Batches of the split.
    pub steps: usize,
}

/// The figures of an epoch. Losses are means over images, accuracies are fractions from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Optimizer steps taken in the run when the epoch ended.
    pub global_step: usize,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Training loss.
    pub train_loss: f64,
    /// Training accuracy, top-1.
    pub train_accuracy: f64,
    /// Validation loss.
    pub valid_loss: f64,
    /// Validation accuracy, top-1.
    pub valid_accuracy: f64,
    /// `(k, accuracy)` for the top-k validation accuracy.
    pub valid_top_k: Option<(usize, f64)>,
    /// Training throughput.
    pub train_images_per_second: f64,
    /// Validation throughput.
    pub valid_images_per_second: f64,
    /// Wall time of the epoch, validation included.
    pub seconds: f64,
    /// Peak resident memory of the process so far, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// The figures of the test split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestMetrics {
    /// Mean loss over the images.
    pub loss: f64,
    /// Top-1 accuracy from 0 to 1.
    pub accuracy: f64,
    /// `(k, accuracy)` for the top-k accuracy.
    pub top_k: Option<(usize, f64)>,
    /// Images evaluated.
    pub images: usize,
    /// Wall time.
    pub seconds: f64,
}

/// The best value of the metric by which epochs are ranked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestMetric {
    /// The metric's name as printed, such as `validation:accuracy`.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// The epoch that reached it, from 1.
    pub epoch: usize,
}

/// Figures for the tests of the sinks.
#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    pub(crate) fn epoch(epoch: usize) -> EpochMetrics {
        EpochMetrics {
            epoch,
            epochs: 3,
            global_step: epoch * 94,
            learning_rate: 1e-5,
            train_loss: 0.912,
            train_accuracy: 0.771,
            valid_loss: 0.8012345,
            valid_accuracy: 0.783,
            valid_top_k: Some((5, 0.9375)),
            train_images_per_second: 52.149,
            valid_images_per_second: 151.0,
            seconds: 61.25,
            peak_memory_bytes: Some(1_234_567_890),
        }
    }

    pub(crate) fn test() -> TestMetrics {
        TestMetrics {
            loss: 0.75,
            accuracy: 0.8,
            top_k: Some((5, 0.95)),
            images: 120,
            seconds: 2.0,
        }
    }

    pub(crate) fn started(first_epoch: usize) -> RunStarted {
        RunStarted {
            config: serde_json::json!({"epochs": 3}),
            classes: vec!["ant".into(), "bee".into()],
            counts: vec![("train".into(), 752)],
            epochs: 3,
            first_epoch,
            global_step: (first_epoch - 1) * 94,
            history: (1..first_epoch).map(epoch).collect(),
        }
    }

    pub(crate) fn step(step: usize) -> StepMetrics {
        StepMetrics {
            epoch: 1,
            epochs: 3,
            step,
            steps_per_epoch: 94,
            global_step: step,
            loss: Some(1.234),
            learning_rate: 0.001,
            images_per_second: 52.1,
        }
    }
}
