//! Defaults that depend on something else, each with its reason.
//!
//! Input: what is already resolved, or the machine. Output: a value and the words for its origin.

use super::resolve::typed;
use super::{OptimizerKind, Source};
use crate::data::Augmentation;

/// The zoo's file that training takes when nothing is said.
pub const DEFAULT_WEIGHTS: &str = "auto";

/// Peak rates that suit the optimizer and what is trained; the text says which case it is.
pub fn learning_rate(optimizer: OptimizerKind, freeze: bool, pretrained: bool) -> (f64, String) {
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
pub fn cache_mb() -> (usize, String) {
    match crate::memory::available_bytes() {
        Some(bytes) => (
            (bytes / 4 / 1_000_000) as usize,
            "a quarter of the free memory".into(),
        ),
        None => (1000, "free memory unknown".into()),
    }
}

/// Whether only the head is trained. Features of random weights say nothing, so only pretrained ones can be frozen. Frozen
/// is the default because a good linear head on ImageNet features is within reach of full fine-tuning at a small part of
/// its cost, and cannot be got wrong.
pub fn freeze(pretrained: bool) -> (bool, Source) {
    match pretrained {
        true => (true, Source::Default),
        false => (false, Source::Derived("with weights=none".into())),
    }
}

/// Epochs, warm-up epochs and augmentation. A head on features that are computed once can have many epochs. A pretrained
/// backbone is easily torn apart by the first steps of a new head's gradients, hence the warm-up.
pub fn of_freeze(freeze: bool) -> (usize, f64, Augmentation) {
    match freeze {
        true => (20, 0.0, Augmentation::None),
        false => (10, 0.5, Augmentation::Crop),
    }
}
