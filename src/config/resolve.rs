//! Folding layers into one checked configuration.
//!
//! Input: [`Layer`]s, first wins. Output: [`Resolved`]: the [`TrainConfig`] and a [`Setting`] per value. The defaults
//! live here, each beside its reason.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::values::Toggle;
use super::{ClassWeights, ConfigError, Layer, LrSchedulerKind, OptimizerKind, Precision, Source};
use crate::cli::TrainFlags;
use crate::data::Augmentation;
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
    pub top_k: usize,
    /// `None`: all of them.
    pub max_train_samples: Option<usize>,
    pub seed: u64,
    pub workers: usize,
    pub precision: Precision,
    pub report_best: bool,
    pub device: DeviceRequest,
    pub cache_mb: usize,
    pub strict: bool,
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
fn typed<T: ValueEnum>(value: &T) -> String {
    value
        .to_possible_value()
        .map(|v| v.get_name().to_string())
        .unwrap_or_default()
}

fn derived(frozen: bool) -> Source {
    Source::Derived(format!("with freeze={frozen}"))
}

/// Folds layers, first wins, and checks what only the whole can tell.
///
/// # Errors
/// [`ConfigError::Conflict`] where two settings contradict each other.
pub fn resolve(layers: &[Layer]) -> Result<Resolved, ConfigError> {
    use Source::Default;
    let mut fold = Fold {
        layers,
        settings: Vec::new(),
    };
    let f = &mut fold;

    let weights = f.plain("weights", |x| &x.weights, DEFAULT_WEIGHTS.to_string());
    let model_text =
        |m: &Option<Architecture>| m.as_ref().map_or("as the weights say".into(), typed);
    let model = match layers.iter().any(|l| l.flags.model.is_some()) {
        true => f
            .pick(
                "model",
                |x| &x.model,
                Architecture::Resnet18,
                Default,
                typed,
            )
            .into(),
        false => f.pick("model", |_| &None, None, Default, model_text),
    };
    // Features of random weights say nothing, so only pretrained ones can be frozen. Frozen is the default because on
    // dog breeds, flowers and the like ImageNet's features with a good linear head are within a few points of full
    // fine-tuning at a fiftieth of its cost, and it cannot be got wrong.
    let pretrained = !weights.eq_ignore_ascii_case("none");
    let freeze_origin = if pretrained {
        Default
    } else {
        Source::Derived("with weights=none".into())
    };
    let freeze = f.toggle("freeze", |x| &x.freeze, pretrained, freeze_origin);
    let epochs = f.value(
        "epochs",
        |x| &x.epochs,
        if freeze { 20 } else { 10 },
        derived(freeze),
    );
    let batch_size = f.plain("batch-size", |x| &x.batch_size, 32);
    let optimizer = f.pick(
        "optimizer",
        |x| &x.optimizer,
        OptimizerKind::Adamw,
        Default,
        typed,
    );
    let (rate, why) = default_learning_rate(optimizer, freeze, pretrained);
    let learning_rate = f.value(
        "learning-rate",
        |x| &x.learning_rate,
        rate,
        Source::Derived(why),
    );
    let momentum = f.plain("momentum", |x| &x.momentum, 0.9);
    let weight_decay = f.plain("weight-decay", |x| &x.weight_decay, 1e-4);
    let lr_scheduler = f.pick(
        "lr-scheduler",
        |x| &x.lr_scheduler,
        LrSchedulerKind::Cosine,
        Default,
        typed,
    );
    // A pretrained backbone is easily torn apart by the first steps of a new head's gradients.
    let warmup_epochs = f.value(
        "warmup-epochs",
        |x| &x.warmup_epochs,
        if freeze { 0.0 } else { 0.5 },
        derived(freeze),
    );
    let step = (epochs / 3).max(1);
    let lr_scheduler_step = f.value(
        "lr-scheduler-step",
        |x| &x.lr_scheduler_step,
        step,
        Source::Derived(format!("with epochs={epochs}")),
    );
    let lr_scheduler_factor = f.plain("lr-scheduler-factor", |x| &x.lr_scheduler_factor, 0.1);
    let label_smoothing = f.plain("label-smoothing", |x| &x.label_smoothing, 0.0);
    let class_weights = f.pick(
        "class-weights",
        |x| &x.class_weights,
        ClassWeights::None,
        Default,
        typed,
    );
    let augmented = if freeze {
        Augmentation::None
    } else {
        Augmentation::Crop
    };
    let augmentation = f.pick(
        "augmentation",
        |x| &x.augmentation,
        augmented,
        derived(freeze),
        typed,
    );
    let mixup = above_zero(f.plain("mixup", |x| &x.mixup, 0.0));
    let ema_decay = above_zero(f.plain("ema-decay", |x| &x.ema_decay, 0.0));
    let grad_clip = above_zero(f.plain("grad-clip", |x| &x.grad_clip, 0.0));
    let grad_accumulation = f.plain("grad-accumulation", |x| &x.grad_accumulation, 1);
    let patience = f.plain("early-stopping-patience", |x| &x.early_stopping_patience, 0);
    let early_stopping_min_epochs = f.plain(
        "early-stopping-min-epochs",
        |x| &x.early_stopping_min_epochs,
        1,
    );
    let image_size = f.plain("image-size", |x| &x.image_size, 224);
    let top_k = f.plain("top-k", |x| &x.top_k, 5);
    let max_train_samples = f.plain("max-train-samples", |x| &x.max_train_samples, 0);
    let seed = f.plain("seed", |x| &x.seed, 42);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = f.value(
        "workers",
        |x| &x.workers,
        cores,
        Source::Derived(format!("{cores} cores")),
    );
    let precision = f.pick(
        "precision",
        |x| &x.precision,
        Precision::Float32,
        Default,
        typed,
    );
    let report_best = f.toggle("report-best", |x| &x.report_best, true, Default);
    let device = f.plain("device", |x| &x.device, DeviceRequest::Auto);
    let (cache_default, cache_why) = default_cache_mb();
    let cache_mb = f.value(
        "cache-mb",
        |x| &x.cache_mb,
        cache_default,
        Source::Derived(cache_why),
    );
    let strict = f.toggle("strict", |x| &x.strict, false, Default);

    let config = TrainConfig {
        epochs,
        batch_size,
        learning_rate,
        optimizer,
        momentum,
        weight_decay,
        lr_scheduler,
        warmup_epochs,
        lr_scheduler_step,
        lr_scheduler_factor,
        freeze,
        label_smoothing,
        class_weights,
        augmentation,
        mixup,
        ema_decay,
        grad_clip,
        grad_accumulation,
        early_stopping_patience: (patience > 0).then_some(patience),
        early_stopping_min_epochs,
        image_size,
        model,
        weights,
        top_k,
        max_train_samples: (max_train_samples > 0).then_some(max_train_samples),
        seed,
        workers,
        precision,
        report_best,
        device,
        cache_mb,
        strict,
    };
    check(&config)?;
    Ok(Resolved {
        config,
        settings: fold.settings,
    })
}

/// The zoo's file that training takes when nothing is said.
pub const DEFAULT_WEIGHTS: &str = "auto";

fn above_zero(x: f64) -> Option<f64> {
    (x > 0.0).then_some(x)
}

/// Peak rates that suit the optimizer and what is trained; the text says which case it is.
fn default_learning_rate(
    optimizer: OptimizerKind,
    freeze: bool,
    pretrained: bool,
) -> (f64, String) {
    let rate = match (optimizer, freeze, pretrained) {
        (OptimizerKind::Sgd, true, _) => 0.01,
        (OptimizerKind::Sgd, false, true) => 0.01,
        (OptimizerKind::Sgd, false, false) => 0.05,
        (OptimizerKind::Rmsprop, ..) => 1e-4,
        // A head alone takes ten times what a whole pretrained network stands.
        (_, true, _) => 1e-3,
        (_, false, true) => 1e-4,
        (_, false, false) => 1e-3,
    };
    let weights = if pretrained { "pretrained" } else { "random" };
    (
        rate,
        format!("{}, freeze={freeze}, {weights} weights", typed(&optimizer)),
    )
}

/// A quarter of the memory that is free now, in megabytes; 1,000 where that cannot be told.
fn default_cache_mb() -> (usize, String) {
    match crate::memory::available_bytes() {
        Some(bytes) => (
            (bytes / 4 / 1_000_000) as usize,
            "a quarter of the free memory".into(),
        ),
        None => (1000, "free memory unknown".into()),
    }
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
mod tests {
    use super::*;

    fn layer(source: Source, pairs: &[(&str, &str)]) -> Layer {
        Layer::from_pairs(
            source,
            pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())),
        )
        .unwrap()
    }

    fn source_of<'a>(resolved: &'a Resolved, name: &str) -> &'a str {
        &resolved
            .settings
            .iter()
            .find(|s| s.name == name)
            .unwrap()
            .source
    }

    #[test]
    fn the_first_layer_that_speaks_wins() {
        let layers = [
            layer(Source::CommandLine, &[("epochs", "3")]),
            layer(
                Source::HyperparametersFile("h.json".into()),
                &[("epochs", "7"), ("batch-size", "8")],
            ),
            layer(Source::Environment, &[("batch-size", "16"), ("seed", "1")]),
        ];
        let resolved = resolve(&layers).unwrap();
        assert_eq!(
            (
                resolved.config.epochs,
                resolved.config.batch_size,
                resolved.config.seed
            ),
            (3, 8, 1)
        );
        assert_eq!(source_of(&resolved, "epochs"), "command line");
        assert_eq!(source_of(&resolved, "batch-size"), "h.json");
        assert_eq!(source_of(&resolved, "seed"), "environment");
        assert_eq!(source_of(&resolved, "momentum"), "default");
    }

    #[test]
    fn defaults_follow_what_is_trained() {
        let frozen = resolve(&[]).unwrap().config;
        assert!(
            frozen.freeze
                && frozen.learning_rate == 1e-3
                && frozen.augmentation == Augmentation::None
        );
        let full = resolve(&[layer(Source::CommandLine, &[("freeze", "false")])])
            .unwrap()
            .config;
        assert!(
            !full.freeze && full.learning_rate == 1e-4 && full.augmentation == Augmentation::Crop
        );
        let scratch = resolve(&[layer(Source::CommandLine, &[("weights", "none")])])
            .unwrap()
            .config;
        assert!(!scratch.freeze && scratch.learning_rate == 1e-3);
    }

    #[test]
    fn contradictions_name_both_flags() {
        let error = resolve(&[layer(
            Source::CommandLine,
            &[("weights", "none"), ("freeze", "true")],
        )])
        .unwrap_err();
        assert!(error.to_string().contains("--freeze") && error.to_string().contains("--weights"));
        let error = resolve(&[layer(
            Source::CommandLine,
            &[("epochs", "1"), ("warmup-epochs", "2")],
        )])
        .unwrap_err();
        assert!(error.to_string().contains("--warmup-epochs 2"), "{error}");
    }

    #[test]
    fn every_setting_can_be_typed_back() {
        // A resumed run reads its settings from args.json through the same parser.
        let all = layer(
            Source::CommandLine,
            &[
                ("model", "resnet50"),
                ("freeze", "false"),
                ("mixup", "0.2"),
                ("device", "cpu"),
            ],
        );
        let first = resolve(&[all]).unwrap();
        let pairs = first
            .settings
            .iter()
            .map(|s| (s.name.clone(), s.value.clone()));
        let again =
            resolve(&[Layer::from_pairs(Source::Resumed("run".into()), pairs).unwrap()]).unwrap();
        assert_eq!(first.config, again.config);
    }
}
