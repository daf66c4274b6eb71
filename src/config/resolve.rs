//! Folding layers into one checked configuration.
//!
//! Input: [`Layer`]s, first wins. Output: [`Resolved`]: the [`TrainConfig`] and a [`Setting`] per value.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::defaults::{self, DEFAULT_WEIGHTS};
use super::values::{Interval, Toggle};
use super::{
    ClassWeights, ConfigError, DebuggerChoice, Layer, LrSchedulerKind, OptimizerKind, Precision,
    RulesAction, Source,
};
use crate::cli::TrainFlags;
use crate::data::Augmentation;
use crate::debugger::rules::RuleList;
use crate::device::DeviceRequest;
use crate::model::Architecture;

/// Everything that shapes a training run except where data comes from and results go.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    pub epochs: usize,
    pub batch_size: usize,
    pub learning_rate: f64,
    pub optimizer: OptimizerKind,
    pub momentum: f64,
    pub weight_decay: f64,
    pub lr_scheduler: LrSchedulerKind,
    pub warmup_epochs: f64,
    pub lr_scheduler_step: usize,
    pub lr_scheduler_factor: f64,
    pub freeze: bool,
    pub label_smoothing: f64,
    pub class_weights: ClassWeights,
    pub augmentation: Augmentation,
    /// Alpha of mixup's Beta distribution; `None` for off.
    pub mixup: Option<f64>,
    /// Decay of the weights' moving average; `None` for off.
    pub ema_decay: Option<f64>,
    /// Largest global norm of the gradients; `None` for no clipping.
    pub grad_clip: Option<f64>,
    pub grad_accumulation: usize,
    /// Epochs without improvement before stopping; `None` for never.
    pub early_stopping_patience: Option<usize>,
    pub early_stopping_min_epochs: usize,
    pub image_size: u32,
    /// `None`: whatever the weights hold.
    pub model: Option<Architecture>,
    /// A file, a zoo name, or `none`.
    pub weights: String,
    /// A file or a list, see [`crate::data::class_list`]; `None`: those of the training data.
    pub classes: Option<String>,
    pub top_k: usize,
    /// `None`: all of them.
    pub max_train_samples: Option<usize>,
    /// Example photos of each class in the model directory.
    pub examples: usize,
    pub seed: u64,
    pub workers: usize,
    pub precision: Precision,
    pub checkpoint_interval: Interval,
    pub report_best: bool,
    pub debugger: DebuggerChoice,
    /// Steps between two looks inside; `None`: a tenth of an epoch.
    pub debugger_save_interval: Option<usize>,
    pub rules: RuleList,
    pub rules_action: RulesAction,
    pub profiler: bool,
    pub device: DeviceRequest,
    pub cache_mb: usize,
    pub strict: bool,
}

impl TrainConfig {
    /// Features can be computed once where neither the backbone nor the pixels change from epoch to epoch.
    pub fn features_are_constant(&self) -> bool {
        self.freeze && self.augmentation == Augmentation::None && self.mixup.is_none()
    }
}

/// One resolved value as it would be typed, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub name: String,
    pub value: String,
    pub source: String,
}

/// A configuration and the origin of each value.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub config: TrainConfig,
    pub settings: Vec<Setting>,
}

/// Looks a value up through the layers and notes where it was found.
struct Fold<'a> {
    layers: &'a [Layer],
    settings: Vec<Setting>,
}

impl Fold<'_> {
    fn pick<T: Clone>(
        &mut self,
        name: &str,
        field: impl Fn(&TrainFlags) -> &Option<T>,
        default: T,
        origin: Source,
        show: impl Fn(&T) -> String,
    ) -> T {
        let said = self
            .layers
            .iter()
            .find_map(|l| field(&l.flags).clone().map(|v| (v, l.source.clone())));
        let (value, source) = said.unwrap_or((default, origin));
        self.settings.push(Setting {
            name: name.into(),
            value: show(&value),
            source: source.to_string(),
        });
        value
    }

    /// A value whose text is its `Display`.
    fn value<T: Clone + ToString>(
        &mut self,
        name: &str,
        field: impl Fn(&TrainFlags) -> &Option<T>,
        default: T,
        origin: Source,
    ) -> T {
        self.pick(name, field, default, origin, T::to_string)
    }

    /// A value with a plain default.
    fn plain<T: Clone + ToString>(
        &mut self,
        name: &str,
        field: impl Fn(&TrainFlags) -> &Option<T>,
        default: T,
    ) -> T {
        self.value(name, field, default, Source::Default)
    }

    /// One of a list of names.
    fn choice<T: Clone + ValueEnum>(
        &mut self,
        name: &str,
        field: impl Fn(&TrainFlags) -> &Option<T>,
        default: T,
        origin: Source,
    ) -> T {
        self.pick(name, field, default, origin, typed)
    }

    fn toggle(
        &mut self,
        name: &str,
        field: impl Fn(&TrainFlags) -> &Option<Toggle>,
        default: bool,
        origin: Source,
    ) -> bool {
        self.value(name, field, Toggle(default), origin).0
    }
}

/// The name of a choice as it is typed.
pub(super) fn typed<T: ValueEnum>(value: &T) -> String {
    value
        .to_possible_value()
        .map(|v| v.get_name().to_string())
        .unwrap_or_default()
}

/// Folds layers, first wins, and checks what only the whole can tell.
///
/// # Errors
/// [`ConfigError::Conflict`] where two settings contradict each other.
pub fn resolve(layers: &[Layer]) -> Result<Resolved, ConfigError> {
    let mut fold = Fold {
        layers,
        settings: Vec::new(),
    };
    let config = fold.config();
    check(&config)?;
    Ok(Resolved {
        config,
        settings: fold.settings,
    })
}

impl Fold<'_> {
    /// Every setting in the order in which it is shown; first those that others' defaults depend on.
    fn config(&mut self) -> TrainConfig {
        use Source::{Default, Derived};
        let f = self;
        let weights = f.plain("weights", |x| &x.weights, DEFAULT_WEIGHTS.to_string());
        let model = f.architecture();
        let pretrained = !weights.eq_ignore_ascii_case("none");
        let (frozen, why) = defaults::freeze(pretrained);
        let freeze = f.toggle("freeze", |x| &x.freeze, frozen, why);
        let with_freeze = || Derived(format!("with freeze={freeze}"));
        let (count, warmup, augmented) = defaults::of_freeze(freeze);
        let epochs = f.value("epochs", |x| &x.epochs, count, with_freeze());
        let batch_size = f.plain("batch-size", |x| &x.batch_size, 32);
        let optimizer = f.choice("optimizer", |x| &x.optimizer, OptimizerKind::Adamw, Default);
        let (rate, why) = defaults::learning_rate(optimizer, freeze, pretrained);
        let third = (epochs / 3).max(1);
        let with_epochs = Derived(format!("with epochs={epochs}"));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (cache_mb, cache_why) = defaults::cache_mb();
        TrainConfig {
            weights,
            model,
            freeze,
            epochs,
            batch_size,
            optimizer,
            learning_rate: f.value("learning-rate", |x| &x.learning_rate, rate, Derived(why)),
            momentum: f.plain("momentum", |x| &x.momentum, 0.9),
            weight_decay: f.plain("weight-decay", |x| &x.weight_decay, 1e-4),
            lr_scheduler: f.choice(
                "lr-scheduler",
                |x| &x.lr_scheduler,
                LrSchedulerKind::Cosine,
                Default,
            ),
            warmup_epochs: f.value("warmup-epochs", |x| &x.warmup_epochs, warmup, with_freeze()),
            lr_scheduler_step: f.value(
                "lr-scheduler-step",
                |x| &x.lr_scheduler_step,
                third,
                with_epochs,
            ),
            lr_scheduler_factor: f.plain("lr-scheduler-factor", |x| &x.lr_scheduler_factor, 0.1),
            label_smoothing: f.plain("label-smoothing", |x| &x.label_smoothing, 0.0),
            class_weights: f.choice(
                "class-weights",
                |x| &x.class_weights,
                ClassWeights::None,
                Default,
            ),
            augmentation: f.choice(
                "augmentation",
                |x| &x.augmentation,
                augmented,
                with_freeze(),
            ),
            mixup: above_zero(f.plain("mixup", |x| &x.mixup, 0.0)),
            ema_decay: above_zero(f.plain("ema-decay", |x| &x.ema_decay, 0.0)),
            grad_clip: above_zero(f.plain("grad-clip", |x| &x.grad_clip, 0.0)),
            grad_accumulation: f.plain("grad-accumulation", |x| &x.grad_accumulation, 1),
            early_stopping_patience: some(f.plain(
                "early-stopping-patience",
                |x| &x.early_stopping_patience,
                0,
            )),
            early_stopping_min_epochs: f.plain(
                "early-stopping-min-epochs",
                |x| &x.early_stopping_min_epochs,
                1,
            ),
            image_size: f.plain("image-size", |x| &x.image_size, 224),
            classes: f.classes(),
            top_k: f.plain("top-k", |x| &x.top_k, 5),
            max_train_samples: some(f.plain("max-train-samples", |x| &x.max_train_samples, 0)),
            examples: f.plain("examples", |x| &x.examples, 2),
            seed: f.plain("seed", |x| &x.seed, 42),
            workers: f.value(
                "workers",
                |x| &x.workers,
                cores,
                Derived(format!("{cores} cores")),
            ),
            precision: f.choice("precision", |x| &x.precision, Precision::Auto, Default),
            checkpoint_interval: f.plain(
                "checkpoint-interval",
                |x| &x.checkpoint_interval,
                Interval::Seconds(30),
            ),
            report_best: f.toggle("report-best", |x| &x.report_best, true, Default),
            debugger: f.plain("debugger", |x| &x.debugger, DebuggerChoice::Off),
            debugger_save_interval: some(f.plain(
                "debugger-save-interval",
                |x| &x.debugger_save_interval,
                0,
            )),
            rules: f.plain("rules", |x| &x.rules, RuleList::usual()),
            rules_action: f.choice(
                "rules-action",
                |x| &x.rules_action,
                RulesAction::Warn,
                Default,
            ),
            profiler: f.toggle("profiler", |x| &x.profiler, true, Default),
            device: f.plain("device", |x| &x.device, DeviceRequest::Auto),
            cache_mb: f.value("cache-mb", |x| &x.cache_mb, cache_mb, Derived(cache_why)),
            strict: f.toggle("strict", |x| &x.strict, false, Default),
        }
    }

    /// What was asked for; otherwise the training data says.
    fn classes(&mut self) -> Option<String> {
        let classes = self.plain("classes", |x| &x.classes, OF_THE_DATA.into());
        (classes != OF_THE_DATA).then_some(classes)
    }

    /// What was asked for; otherwise it is known once the weights are read.
    fn architecture(&mut self) -> Option<Architecture> {
        let asked = self.layers.iter().any(|layer| layer.flags.model.is_some());
        if asked {
            return Some(self.choice(
                "model",
                |x| &x.model,
                Architecture::Resnet18,
                Source::Default,
            ));
        }
        let unknown = |_: &Option<Architecture>| "as the weights say".to_string();
        self.pick("model", |_| &None, None, Source::Default, unknown)
    }
}

/// How the absence of a class list is shown, and typed.
const OF_THE_DATA: &str = "auto";

/// 0 means off.
fn above_zero(x: f64) -> Option<f64> {
    (x > 0.0).then_some(x)
}

/// 0 means none.
fn some(n: usize) -> Option<usize> {
    (n > 0).then_some(n)
}

fn check(config: &TrainConfig) -> Result<(), ConfigError> {
    let conflict = |text: String| Err(ConfigError::Conflict(text));
    if config.freeze && config.weights.eq_ignore_ascii_case("none") {
        return conflict(
            "--freeze true with --weights none would train a head on random features: give --weights FILE or --freeze false".into(),
        );
    }
    if config.warmup_epochs > config.epochs as f64 {
        return conflict(format!(
            "--warmup-epochs {} is longer than --epochs {}: lower the first or raise the second",
            config.warmup_epochs, config.epochs
        ));
    }
    if config.epochs > 100_000 || config.batch_size > 1_000_000 {
        return conflict(format!(
            "--epochs {} with --batch-size {} is out of reach",
            config.epochs, config.batch_size
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
