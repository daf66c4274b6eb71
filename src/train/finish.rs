//! The end of a run: test figures, model directory and report of the best weights.
//!
//! Input: the state after training. Output: `model/`, `confusion.csv`, `report.html`, the last metric lines, and words.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::checkpoint::{Progress, TrainState};
use super::feature_pass::{FeaturePass, Store, feature_batches, forget_features};
use super::feeds::{Feeds, Loaders};
use super::fit::Ended;
use super::inside::Seen;
use super::pictures::{self, Pictures};
use super::run::{Run, TrainError};
use super::{Stop, summary};
use crate::artifact::{self, Manifest};
use crate::data::{DecodeLimits, ImageFolder, Skipped, quick_look};
use crate::eval::{Scores, evaluate};
use crate::feed::{FeatureSource, ImageSource, Source};
use crate::model::ResNet;
use crate::sinks::{BestMetric, EvaluationStep, Event, Sinks, TestMetrics};

/// When the last example photo is begun after a signal; with [`HURRIED_LIMITS`] it is done within two seconds.
const HURRIED: Duration = Duration::from_millis(1500);
/// What is decoded in a fraction of a second.
const HURRIED_LIMITS: DecodeLimits = DecodeLimits {
    max_pixels: 16_000_000,
    max_alloc_bytes: 64 << 20,
    max_file_bytes: 16 << 20,
};

/// What training came to, besides its state.
pub struct Trained<'a> {
    pub ended: Ended,
    /// Epochs that an earlier process did.
    pub epochs_before: usize,
    pub feeds: Option<&'a Feeds>,
    pub seen: Seen,
}

/// Figures of the test split.
struct Tested {
    scores: Scores,
    metrics: TestMetrics,
    skipped: Vec<Skipped>,
}

impl Run {
    /// Tests and writes the best weights. Without feeds, or after a signal, only what matters most is done: SageMaker leaves two minutes,
    /// and the model counts more than the test split.
    pub fn conclude(
        &self,
        state: TrainState,
        trained: Trained,
        loaders: &Loaders,
        sinks: &mut Sinks,
    ) -> Result<Ended, TrainError> {
        let Trained {
            mut ended,
            epochs_before,
            feeds,
            seen,
        } = trained;
        let best = state
            .best_model
            .clone()
            .unwrap_or_else(|| state.evaluated());
        if state.progress.best.best.is_none() {
            tracing::warn!(
                "no epoch was finished: the model that is written has not been measured"
            );
        }
        // Who told a rule to end the training has time for the test split.
        let hurried = matches!(ended, Ended::Stopped(stop) if stop != Stop::Rule);
        let test = match hurried {
            true => None,
            false => self.test(&best, loaders, feeds, sinks)?,
        };
        if let (None, Some(_), false) = (&test, &self.splits.test, hurried) {
            tracing::warn!(
                "the test split was not evaluated to its end, so its figures are left out"
            );
            ended = Ended::Stopped(self.stop.requested().unwrap_or(Stop::Interrupt));
        }
        self.report_best(&state.progress, epochs_before, sinks);
        sinks.emit(&Event::RunEnded);

        let metrics = exported_metrics(&state.progress, test.as_ref().map(|t| &t.scores));
        let mut manifest = Manifest::new(
            best.config().clone(),
            self.splits.train.classes.clone(),
            loaders.preprocess().clone(),
            Some(self.splits.origin.clone()),
            metrics,
            self.resolved.settings.clone(),
        );
        manifest.examples = self.save_examples(hurried);
        artifact::save(self.folder.model(), &best, manifest)?;

        let mut skipped: Vec<Skipped> = Vec::new();
        for source in feeds.iter().flat_map(|f| [&f.train, &f.valid]) {
            skipped.extend(source.skipped());
        }
        let valid_scores = match (&test, &state.best_scores, feeds) {
            (None, None, Some(feeds)) if !hurried => self.validate_again(&best, feeds)?,
            _ => state.best_scores.clone(),
        };
        summary::warn_of_unreadable_classes(&self.splits, &skipped);
        let (split, scores) = match &test {
            Some(test) => {
                skipped.extend(test.skipped.iter().cloned());
                ("test", Some(&test.scores))
            }
            None => ("validation", valid_scores.as_ref()),
        };
        let pictures = match hurried {
            true => Pictures::default(),
            false => self.pictures(loaders, scores, split, &skipped),
        };
        let findings = summary::Findings {
            args: &self.args,
            settings: &self.resolved.settings,
            device: &self.device,
            splits: &self.splits,
            progress: &state.progress,
            ended,
            split,
            scores,
            test: test.as_ref().map(|t| &t.metrics),
            skipped: &skipped,
            seen: &seen,
            pictures: &pictures,
        };
        findings.write(self.folder.path())?;
        if !hurried {
            forget_features(self.folder.weights());
        }
        findings.announce(&self.folder, self.is_job);
        Ok(ended)
    }

    /// What the report shows besides figures; `scores` are those of `split`.
    fn pictures(
        &self,
        loaders: &Loaders,
        scores: Option<&Scores>,
        split: &str,
        skipped: &[Skipped],
    ) -> Pictures {
        let folder = match (&self.splits.test, split) {
            (Some(test), "test") => test,
            _ => &self.splits.valid,
        };
        let workers = self.config.workers;
        let wrong = scores.map_or(&[][..], |scores| &scores.mistakes);
        Pictures {
            mistakes: pictures::mistakes(folder, loaders.preprocess(), wrong, workers),
            training: pictures::training(loaders, &self.splits.train, skipped),
            look: Some(quick_look(&self.splits, workers)),
        }
    }

    /// Puts example photos into the model directory and says how many of each class. They matter little: nothing that goes
    /// wrong with them ends the run, and after a signal they get a moment only.
    fn save_examples(&self, hurried: bool) -> Vec<usize> {
        let started = Instant::now();
        let limits = || match hurried || self.stop.requested().is_some() {
            false => Some(DecodeLimits::default()),
            true => (started.elapsed() < HURRIED).then_some(HURRIED_LIMITS),
        };
        let (folder, train) = (self.folder.model(), &self.splits.train);
        let (wanted, workers) = (self.config.examples, self.config.workers);
        let saved = artifact::save_examples(folder, train, wanted, workers, &limits);
        let saved = saved.unwrap_or_else(|error| {
            let path = folder.join(artifact::EXAMPLES);
            tracing::warn!(
                "{}: {error}; the model has no example photos, --examples 0 asks for none",
                path.display()
            );
            Default::default()
        });
        if saved.cut_short {
            tracing::info!("stopped while example photos were collected: some classes have none");
        } else if let Some((class, why)) = &saved.failed {
            tracing::warn!("no example photo of class {class:?}, and maybe others: {why}");
        }
        saved.counts
    }

    /// Figures of the test split; `None` where there is none, or a signal came in between.
    fn test(
        &self,
        model: &ResNet,
        loaders: &Loaders,
        feeds: Option<&Feeds>,
        sinks: &mut Sinks,
    ) -> Result<Option<Tested>, TrainError> {
        let Some(folder) = &self.splits.test else {
            return Ok(None);
        };
        let started = Instant::now();
        let Some(source) = self.test_source(folder, model, loaders, feeds, sinks)? else {
            return Ok(None);
        };
        let steps = source.batches();
        let top_k = self.config.top_k;
        let scores = evaluate(
            model,
            source.as_ref(),
            folder.classes.len(),
            top_k,
            |batch| {
                let (split, step) = ("test", batch.done);
                sinks.emit(&Event::Evaluating(EvaluationStep { split, step, steps }));
                self.stop.requested().is_none()
            },
        )?;
        let Some(scores) = scores else {
            return Ok(None);
        };
        let metrics = TestMetrics {
            loss: scores.loss(),
            accuracy: scores.accuracy(),
            top_k: (top_k > 1).then(|| scores.top_k()),
            images: scores.images() as usize,
            seconds: started.elapsed().as_secs_f64(),
        };
        sinks.emit(&Event::TestEnded(metrics.clone()));
        Ok(Some(Tested {
            scores,
            metrics,
            skipped: source.skipped(),
        }))
    }

    /// The test images; where features are shared, theirs. `None` where a signal came while they were computed.
    fn test_source(
        &self,
        folder: &ImageFolder,
        model: &ResNet,
        loaders: &Loaders,
        feeds: Option<&Feeds>,
        sinks: &mut Sinks,
    ) -> Result<Option<Box<dyn Source>>, TrainError> {
        let device = self.device.device.clone();
        let network = feeds.and_then(|feeds| feeds.backbone.as_ref());
        // Rounding gives the backbone of a moving average other bits, and so other features, in every run.
        let (Some(network), store @ Store::Shared(_), None) =
            (network, self.store(), self.config.ema_decay)
        else {
            let (loader, preprocess) = (loaders.once(folder), loaders.preprocess().clone());
            return Ok(Some(Box::new(ImageSource::new(loader, preprocess, device))));
        };
        let pass = FeaturePass {
            loaders,
            model,
            network,
            device: &self.device,
            stop: &self.stop,
            store,
        };
        let steps = feature_batches(folder);
        let table = pass.table("test", folder, |step| {
            let split = "features";
            sinks.emit(&Event::Evaluating(EvaluationStep { split, step, steps }));
        })?;
        let batch_size = self.config.batch_size;
        Ok(table.map(|table| {
            let source = FeatureSource::new(table, batch_size, None, device);
            Box::new(source) as Box<dyn Source>
        }))
    }

    /// For a resumed run that found no better epoch: its scores were not kept, but the features or pixels are at hand.
    fn validate_again(&self, model: &ResNet, feeds: &Feeds) -> Result<Option<Scores>, TrainError> {
        let num_classes = self.splits.train.classes.len();
        let source = feeds.valid.as_ref();
        Ok(evaluate(
            model,
            source,
            num_classes,
            self.config.top_k,
            |_| true,
        )?)
    }

    /// SageMaker scores a trial by the last value it printed, which is the last epoch's and not the best one's; and a job that was
    /// started again and had no epoch left to do has printed none.
    fn report_best(&self, progress: &Progress, epochs_before: usize, sinks: &mut Sinks) {
        let epochs = progress.history.len();
        let last = if epochs > epochs_before { epochs } else { 0 };
        if let Some(best) = progress
            .best
            .best
            .as_ref()
            .filter(|best| best.epoch != last)
            && self.config.report_best
        {
            sinks.emit(&Event::Best(BestMetric {
                metric: "validation:accuracy".to_string(),
                value: best.accuracy,
                epoch: best.epoch,
            }));
        }
    }
}

/// What the manifest says of the exported weights.
fn exported_metrics(progress: &Progress, test: Option<&Scores>) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::new();
    if let Some(best) = &progress.best.best {
        metrics.insert("validation:accuracy".into(), best.accuracy);
        metrics.insert("validation:loss".into(), best.loss);
        metrics.insert("epoch".into(), best.epoch as f64);
    }
    if let Some(test) = test {
        metrics.insert("test:accuracy".into(), test.accuracy());
        metrics.insert("test:loss".into(), test.loss());
    }
    metrics
}
