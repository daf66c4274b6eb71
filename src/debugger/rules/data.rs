//! Rules about the data: ClassImbalance, Confusion, CheckInputImages.

use std::collections::BTreeMap;

use fancy_regex::Regex;

use super::spec::{Options, expression_of};
use super::{Need, Rule, Verdict, matching};
use crate::debugger::tensor::{HostTensor, ModeKey, StepRecord};

/// Where labels and predictions of a step are.
struct Pairs {
    labels: Regex,
    predictions: Regex,
    argmax: bool,
}

impl Pairs {
    fn new(options: &Options) -> Result<Self, String> {
        Ok(Pairs {
            labels: expression_of(options, "labels_regex", ".*labels")?,
            predictions: expression_of(options, "predictions_regex", ".*predictions")?,
            argmax: options.boolean("argmax", false)?,
        })
    }

    fn labels(&self, step: &StepRecord) -> Option<Vec<usize>> {
        let tensor = matching(step, &self.labels).find_map(|entry| entry.value.as_ref());
        tensor.map(|tensor| classes(tensor, false))
    }

    fn predictions(&self, step: &StepRecord) -> Option<Vec<usize>> {
        let tensor = matching(step, &self.predictions).find_map(|entry| entry.value.as_ref());
        tensor.map(|tensor| classes(tensor, self.argmax))
    }
}

/// The class of each sample: the values themselves, or the position of the largest of each row.
fn classes(tensor: &HostTensor, argmax: bool) -> Vec<usize> {
    match (argmax, tensor.shape.len()) {
        (true, 2) => tensor.argmax_of_rows(),
        _ => tensor.to_f64().iter().map(|x| *x as usize).collect(),
    }
}

/// Classes that are much rarer than others, or nearly always mistaken.
///
/// Judged after each validation, once `samples` were seen. Counts of classes are compared from twenty labels per class on: fewer differ
/// by chance. Mistakes are those of validation where there is any: at its beginning every training mistakes everything.
pub struct ClassImbalance {
    imbalance: f64,
    misprediction: f64,
    samples: usize,
    pairs: Pairs,
    /// All labels of training.
    labels: Counts,
    /// Labels that came with predictions, mistakes marked: of training, and of the last validation.
    train: Counts,
    eval: Counts,
    in_eval: bool,
}

/// Samples a class must have on average before classes are compared.
const SAMPLES_PER_CLASS: usize = 20;

/// Samples of each class, and how many of them were marked.
#[derive(Default)]
struct Counts {
    classes: BTreeMap<usize, (usize, usize)>,
    samples: usize,
}

impl Counts {
    fn add(&mut self, class: usize, marked: bool) {
        let (samples, marks) = self.classes.entry(class).or_default();
        *samples += 1;
        *marks += usize::from(marked);
        self.samples += 1;
    }

    fn is_enough(&self, samples: usize) -> bool {
        self.samples >= samples.max(SAMPLES_PER_CLASS * self.classes.len())
    }
}

impl ClassImbalance {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(ClassImbalance {
            imbalance: options.number("threshold_imbalance", 10.0)?,
            misprediction: options.number("threshold_misprediction", 0.7)?,
            samples: options.count("samples", 500)?,
            pairs: Pairs::new(options)?,
            labels: Counts::default(),
            train: Counts::default(),
            eval: Counts::default(),
            in_eval: false,
        })
    }

    fn uneven(&self) -> Option<String> {
        let counts = self.labels.classes.iter().map(|(class, (n, _))| (class, n));
        let (rare, fewest) = counts.clone().min_by_key(|(_, n)| **n)?;
        let (usual, most) = counts.max_by_key(|(_, n)| **n)?;
        let ratio = *most as f64 / *fewest as f64;
        (ratio > self.imbalance).then(|| {
            format!(
                "of {} labels class {usual} has {most} and class {rare} {fewest}: {ratio:.0} times as many",
                self.labels.samples
            )
        })
    }

    fn mistaken(&self, counts: &Counts) -> Option<String> {
        let shares = counts.classes.iter();
        let shares = shares.map(|(class, (n, wrong))| (class, *wrong as f64 / *n as f64));
        let (class, share) = shares.max_by(|a, b| a.1.total_cmp(&b.1))?;
        (share > self.misprediction).then(|| {
            format!(
                "class {class} is mistaken for others in {:.0} % of its samples",
                100.0 * share
            )
        })
    }

    fn judge(&self) -> Verdict {
        let uneven = self
            .uneven()
            .filter(|_| self.labels.is_enough(self.samples));
        let counts = match self.eval.samples {
            0 => &self.train,
            _ => &self.eval,
        };
        let mistaken = || {
            self.mistaken(counts)
                .filter(|_| counts.samples >= self.samples)
        };
        match uneven.or_else(mistaken) {
            Some(finding) => Verdict::found(None, finding),
            None => Verdict::Fine,
        }
    }
}

impl Rule for ClassImbalance {
    fn name(&self) -> &'static str {
        "ClassImbalance"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("threshold_imbalance", self.imbalance.to_string()),
            ("threshold_misprediction", self.misprediction.to_string()),
            ("samples", self.samples.to_string()),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![
            Need::every_step(self.pairs.labels.as_str()),
            Need::every_validation_step(self.pairs.predictions.as_str()),
        ]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        let Some(labels) = self.pairs.labels(step) else {
            return Verdict::Unrelated;
        };
        let is_eval = step.mode == ModeKey::Eval;
        // A validation has ended: it is judged as a whole, and what an earlier one saw says little of the network by now.
        let ended = self.in_eval && !is_eval;
        let verdict = if ended { self.judge() } else { Verdict::Fine };
        if !self.in_eval && is_eval {
            self.eval = Counts::default();
        }
        self.in_eval = is_eval;
        if !is_eval {
            labels
                .iter()
                .for_each(|label| self.labels.add(*label, false));
        }
        let predictions = self.pairs.predictions(step).unwrap_or_default();
        let counts = if is_eval {
            &mut self.eval
        } else {
            &mut self.train
        };
        for (label, prediction) in labels.iter().zip(predictions) {
            counts.add(*label, *label != prediction);
        }
        verdict
    }

    fn end(&mut self) -> Verdict {
        match self.labels.samples + self.eval.samples {
            0 => Verdict::Unrelated,
            _ => self.judge(),
        }
    }

    fn advice(&self) -> &'static str {
        "--class-weights balanced gives rare classes their share of the loss; more photos of them are better still"
    }
}

/// A confusion matrix that is not nearly diagonal, over each validation.
///
/// Each predicted class must be right in `min_diag` of its predictions, and no other class may make up more than `max_off_diag` of
/// them. Amazon's page divides a diagonal element by the sum of the diagonal, which no matrix of two classes could pass.
pub struct Confusion {
    min_diag: f64,
    max_off_diag: f64,
    pairs: Pairs,
    /// Images of each label and prediction.
    counts: BTreeMap<(usize, usize), usize>,
}

impl Confusion {
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(Confusion {
            min_diag: options.number("min_diag", 0.9)?,
            max_off_diag: options.number("max_off_diag", 0.1)?,
            pairs: Pairs::new(options)?,
            counts: BTreeMap::new(),
        })
    }

    fn judge(&mut self) -> Verdict {
        let counts = std::mem::take(&mut self.counts);
        if counts.is_empty() {
            return Verdict::Unrelated;
        }
        let mut predicted: BTreeMap<usize, usize> = BTreeMap::new();
        for ((_, prediction), count) in &counts {
            *predicted.entry(*prediction).or_default() += count;
        }
        for (class, total) in &predicted {
            let right = counts.get(&(*class, *class)).copied().unwrap_or(0);
            let share = right as f64 / *total as f64;
            if share < self.min_diag {
                let finding = format!(
                    "of {total} images taken for class {class} {right} are right, {:.0} %",
                    100.0 * share
                );
                return Verdict::found(None, finding);
            }
        }
        for ((label, prediction), count) in &counts {
            let total = predicted[prediction];
            let share = *count as f64 / total as f64;
            if label != prediction && share > self.max_off_diag {
                let finding = format!(
                    "of {total} images taken for class {prediction} {count} are of class {label}, {:.0} %",
                    100.0 * share
                );
                return Verdict::found(None, finding);
            }
        }
        Verdict::Fine
    }
}

impl Rule for Confusion {
    fn name(&self) -> &'static str {
        "Confusion"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("min_diag", self.min_diag.to_string()),
            ("max_off_diag", self.max_off_diag.to_string()),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![
            Need::every_validation_step(self.pairs.labels.as_str()),
            Need::every_validation_step(self.pairs.predictions.as_str()),
        ]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        if step.mode != ModeKey::Eval {
            return self.judge();
        }
        let (Some(labels), Some(predictions)) =
            (self.pairs.labels(step), self.pairs.predictions(step))
        else {
            return Verdict::Unrelated;
        };
        for pair in labels.into_iter().zip(predictions) {
            *self.counts.entry(pair).or_default() += 1;
        }
        Verdict::Fine
    }

    fn end(&mut self) -> Verdict {
        self.judge()
    }

    fn advice(&self) -> &'static str {
        "look at the confused pairs in the report: wrong labels, two names for one thing, or classes that need more photos"
    }
}

/// Input images whose mean lies far from zero: they were not normalised, or they show nothing.
pub struct CheckInputImages {
    threshold_mean: f64,
    threshold_samples: usize,
    channel: usize,
    pattern: Regex,
    /// Sum of the means of each channel.
    sums: Vec<f64>,
    samples: usize,
}

impl CheckInputImages {
    pub fn new(options: &Options) -> Result<Self, String> {
        let channel = options.count("channel", 1)?;
        match channel {
            0 => Err("CheckInputImages: channel is the position of the colours in [N, C, H, W], at least 1".into()),
            _ => Ok(CheckInputImages {
                threshold_mean: options.number("threshold_mean", 0.2)?,
                threshold_samples: options.count("threshold_samples", 500)?,
                channel,
                pattern: expression_of(options, "regex", ".*hybridsequential0_input_0|^ResNet_input_0$")?,
                sums: Vec::new(),
                samples: 0,
            }),
        }
    }

    fn add(&mut self, tensor: &HostTensor) {
        let shape = &tensor.shape;
        let Some(channels) = shape.get(self.channel).copied() else {
            return;
        };
        let inner: usize = shape[self.channel + 1..].iter().product();
        if inner == 0 || channels == 0 {
            return;
        }
        self.sums.resize(channels, 0.0);
        for (run, values) in tensor.to_f64().chunks_exact(inner).enumerate() {
            self.sums[run % channels] += values.iter().sum::<f64>() / inner as f64;
        }
        self.samples += shape[..self.channel].iter().product::<usize>();
    }

    fn judge(&self) -> Verdict {
        let means: Vec<f64> = self
            .sums
            .iter()
            .map(|sum| sum / self.samples as f64)
            .collect();
        let far = means.iter().all(|mean| mean.abs() > self.threshold_mean);
        let shown: Vec<String> = means.iter().map(|mean| format!("{mean:.2}")).collect();
        match far {
            false => Verdict::Fine,
            true => Verdict::found(
                None,
                format!(
                    "over {} images the channels' means are {}, all further than {} from zero",
                    self.samples,
                    shown.join(", "),
                    self.threshold_mean
                ),
            ),
        }
    }
}

impl Rule for CheckInputImages {
    fn name(&self) -> &'static str {
        "CheckInputImages"
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("threshold_mean", self.threshold_mean.to_string()),
            ("threshold_samples", self.threshold_samples.to_string()),
            ("channel", self.channel.to_string()),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::of(self.pattern.as_str())]
    }

    fn step(&mut self, step: &StepRecord) -> Verdict {
        if step.mode == ModeKey::Eval || self.samples >= self.threshold_samples {
            return Verdict::Unrelated;
        }
        let found = matching(step, &self.pattern).find_map(|entry| entry.value.clone());
        let Some(images) = found else {
            return Verdict::Unrelated;
        };
        self.add(&images);
        match self.samples >= self.threshold_samples {
            true => self.judge(),
            false => Verdict::Fine,
        }
    }

    /// A short run never shows as many images as asked for; those it showed count.
    fn end(&mut self) -> Verdict {
        match self.samples > 0 && self.samples < self.threshold_samples {
            true => self.judge(),
            false => Verdict::Unrelated,
        }
    }

    fn advice(&self) -> &'static str {
        "look at the images in the report: all black, all white or of one colour? Photos of one kind may lie off the mean of ImageNet \
         without harm"
    }
}
