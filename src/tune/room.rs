//! How many trials fit into memory at once.
//!
//! Input: a configuration and the memory that is free. Output: a number of trials, at least 1.

use crate::config::TrainConfig;
use crate::model::Architecture;

/// Of a process without a network, its threads' stacks and buffers included.
const PROCESS: u64 = 150_000_000;
/// Copies of the weights while everything is trained: itself, gradients, two moments, the best so far, and one being written.
const COPIES_TRAINED: u64 = 6;
/// The same with a frozen backbone.
const COPIES_FROZEN: u64 = 3;
/// Feature maps of one image of 224 x 224 pixels in ResNet18: kept for the gradients, and passing by. Measured as the slope of
/// peak memory over the batch size.
const IMAGE_TRAINED: u64 = 22_000_000;
const IMAGE_PASSING: u64 = 6_000_000;
/// The share of the free memory that trials may take.
const SHARE: f64 = 0.9;

/// What a trial takes at its peak, roughly; the cache of decoded images, which follows what is free, left out.
pub fn need_bytes(config: &TrainConfig) -> u64 {
    // Bytes of the weights, and feature maps in units of those of ResNet18.
    let (weights, maps) = match config.model.unwrap_or(Architecture::Resnet18) {
        Architecture::Resnet18 => (47_000_000, 1.0),
        Architecture::Resnet34 => (87_000_000, 1.5),
        Architecture::Resnet50 => (102_000_000, 4.0),
    };
    let once = config.features_are_constant();
    let (copies, image, batch) = match (config.freeze, once) {
        (true, true) => (COPIES_FROZEN, IMAGE_PASSING, 32),
        (true, false) => (COPIES_FROZEN, IMAGE_PASSING, config.batch_size as u64),
        (false, _) => (COPIES_TRAINED, IMAGE_TRAINED, config.batch_size as u64),
    };
    let area = (f64::from(config.image_size) / 224.0).powi(2);
    PROCESS + copies * weights + (batch as f64 * image as f64 * area * maps) as u64
}

/// Trials at once, of `asked`, where each needs `need` bytes and `available` are free; unknown memory is taken as enough.
pub fn slots(asked: usize, available: Option<u64>, need: u64) -> usize {
    let fit = available.map_or(asked, |bytes| {
        (bytes as f64 * SHARE / need.max(1) as f64) as usize
    });
    asked.min(fit).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layer, Source, resolve};

    fn need(pairs: &[(&str, &str)]) -> u64 {
        let pairs = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        let layer = Layer::from_pairs(Source::CommandLine, pairs).unwrap();
        need_bytes(&resolve(&[layer]).unwrap().config)
    }

    #[test]
    fn what_is_measured_is_allowed_for() {
        // Peaks of the program's benchmarks: 518 MB of a frozen run, 1.0 GB of training everything with batches of 32.
        let frozen = need(&[]);
        assert!((450_000_000..700_000_000).contains(&frozen), "{frozen}");
        let trained = need(&[("freeze", "false")]);
        assert!(
            (1_000_000_000..1_400_000_000).contains(&trained),
            "{trained}"
        );
        assert!(need(&[("freeze", "false"), ("batch-size", "8")]) < trained);
        assert!(need(&[("freeze", "false"), ("model", "resnet50")]) > 2 * trained);
    }

    #[test]
    fn no_more_trials_than_fit_but_always_one() {
        let gigabyte = 1_000_000_000;
        assert_eq!(slots(4, Some(8 * gigabyte), gigabyte), 4);
        assert_eq!(slots(4, Some(3 * gigabyte), gigabyte), 2);
        assert_eq!(slots(4, Some(gigabyte / 2), gigabyte), 1);
        assert_eq!(slots(3, None, gigabyte), 3);
    }
}
