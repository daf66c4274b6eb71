//! The learning rate over time.
//!
//! Input: the configuration, steps per epoch, and the number of a step. Output: the rate of that step. A pure function
//! of the step, so a resumed run needs no state for it.

use crate::config::{LrSchedulerKind, TrainConfig};

/// Warm-up, then constant, stepwise or cosine.
#[derive(Clone, Debug)]
pub struct Schedule {
    kind: LrSchedulerKind,
    peak: f64,
    warmup_steps: f64,
    total_steps: f64,
    steps_per_epoch: f64,
    step_epochs: f64,
    step_factor: f64,
}

impl Schedule {
    /// `steps_per_epoch` counts optimizer steps.
    pub fn new(config: &TrainConfig, steps_per_epoch: usize) -> Self {
        let steps_per_epoch = steps_per_epoch.max(1) as f64;
        Schedule {
            kind: config.lr_scheduler,
            peak: config.learning_rate,
            warmup_steps: (config.warmup_epochs * steps_per_epoch).round(),
            total_steps: config.epochs as f64 * steps_per_epoch,
            steps_per_epoch,
            step_epochs: config.lr_scheduler_step.max(1) as f64,
            step_factor: config.lr_scheduler_factor,
        }
    }

    /// The rate of the optimizer step with this number, from 0. Warm-up never gives 0: that would waste a step.
    pub fn learning_rate(&self, step: usize) -> f64 {
        let step = step as f64;
        if step < self.warmup_steps {
            return self.peak * (step + 1.0) / (self.warmup_steps + 1.0);
        }
        match self.kind {
            LrSchedulerKind::Constant => self.peak,
            LrSchedulerKind::Step => {
                let epoch = (step / self.steps_per_epoch).floor();
                self.peak * self.step_factor.powf((epoch / self.step_epochs).floor())
            }
            LrSchedulerKind::Cosine => {
                let span = (self.total_steps - self.warmup_steps).max(1.0);
                let done = ((step - self.warmup_steps) / span).clamp(0.0, 1.0);
                self.peak * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layer, Source, resolve};

    fn schedule(pairs: &[(&str, &str)], steps_per_epoch: usize) -> Schedule {
        let pairs = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        let layer = Layer::from_pairs(Source::CommandLine, pairs).unwrap();
        Schedule::new(&resolve(&[layer]).unwrap().config, steps_per_epoch)
    }

    #[test]
    fn cosine_falls_from_the_peak_towards_zero() {
        // PyTorch: CosineAnnealingLR(T_max=10) from 1.0 gives 1, 0.9755, 0.9045, … 0.5 at step 5.
        let s = schedule(&[("epochs", "10"), ("learning-rate", "1")], 1);
        assert_eq!(s.learning_rate(0), 1.0);
        assert!((s.learning_rate(1) - 0.975_528).abs() < 1e-6);
        assert!((s.learning_rate(5) - 0.5).abs() < 1e-12);
        assert!(s.learning_rate(9) > 0.0 && s.learning_rate(9) < 0.03);
    }

    #[test]
    fn step_divides_at_whole_epochs() {
        let pairs = [
            ("epochs", "4"),
            ("lr", "1"),
            ("lr-scheduler", "step"),
            ("lr-scheduler-step", "2"),
        ];
        let s = schedule(&pairs, 3);
        assert_eq!(s.learning_rate(5), 1.0);
        assert!((s.learning_rate(6) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn warm_up_rises_linearly_to_the_peak() {
        let s = schedule(
            &[
                ("epochs", "2"),
                ("lr", "1"),
                ("lr-scheduler", "constant"),
                ("warmup-epochs", "1"),
            ],
            4,
        );
        let rates: Vec<f64> = (0..6).map(|step| s.learning_rate(step)).collect();
        assert_eq!(rates, [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]);
    }
}
