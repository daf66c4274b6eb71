//! How a range is measured, under the names that SageMaker gives.
//!
//! Input: a value between two ends. Output: its place between 0 and 1, and back.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// From this ratio of its ends on, a range that nothing is said of is logarithmic: a learning rate from 0.001 to 0.1.
const LOGARITHMIC_FROM: f64 = 100.0;

/// What is uniform along a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Scaling {
    /// Logarithmic where both ends are above 0 and the ratio is at least 100, else linear
    Auto,
    /// The value itself
    Linear,
    /// Its logarithm: as many values from 0.001 to 0.01 as from 0.01 to 0.1
    #[value(alias = "log")]
    Logarithmic,
    /// The logarithm of 1 minus the value, for ranges within 0 and below 1: as many values from 0.9 to 0.99 as from 0.99 to 0.999
    #[value(name = "reverse-logarithmic", aliases = ["reverse-log", "reverselogarithmic"])]
    ReverseLogarithmic,
}

impl Scaling {
    /// `Auto` decided for a range; otherwise itself.
    pub fn of_range(self, min: f64, max: f64) -> Self {
        match self {
            Scaling::Auto if min > 0.0 && max / min >= LOGARITHMIC_FROM => Scaling::Logarithmic,
            Scaling::Auto => Scaling::Linear,
            said => said,
        }
    }

    /// Why a range cannot be measured in this way; `None` where it can.
    pub fn objection(self, min: f64, max: f64) -> Option<&'static str> {
        match self {
            Scaling::Logarithmic if min <= 0.0 => Some("logarithmic scaling needs a range above 0"),
            Scaling::ReverseLogarithmic if min < 0.0 || max >= 1.0 => {
                Some("reverse-logarithmic scaling needs a range from at least 0 to below 1")
            }
            _ => None,
        }
    }

    /// What is uniform.
    fn measure(self, value: f64) -> f64 {
        match self {
            Scaling::Auto | Scaling::Linear => value,
            Scaling::Logarithmic => value.ln(),
            Scaling::ReverseLogarithmic => -(-value).ln_1p(),
        }
    }

    fn value(self, measure: f64) -> f64 {
        match self {
            Scaling::Auto | Scaling::Linear => measure,
            Scaling::Logarithmic => measure.exp(),
            Scaling::ReverseLogarithmic => -(-measure).exp_m1(),
        }
    }

    /// The place of `value` between `min`, which is 0, and `max`, which is 1.
    pub fn to_unit(self, value: f64, min: f64, max: f64) -> f64 {
        let (low, high) = (self.measure(min), self.measure(max));
        ((self.measure(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// The value at the place `unit` between `min` and `max`.
    pub fn from_unit(self, unit: f64, min: f64, max: f64) -> f64 {
        let (low, high) = (self.measure(min), self.measure(max));
        self.value(low + unit * (high - low)).clamp(min, max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_range() {
        for (scaling, min, max, middle) in [
            (Scaling::Linear, 0.0, 10.0, 5.0),
            (Scaling::Logarithmic, 1e-4, 1e-2, 1e-3),
            // 1 minus the ends: 0.1 and 0.001, whose geometric mean is 0.01.
            (Scaling::ReverseLogarithmic, 0.9, 0.999, 0.99),
            (Scaling::ReverseLogarithmic, 0.0, 0.99, 0.9),
        ] {
            let found = scaling.from_unit(0.5, min, max);
            assert!((found - middle).abs() < 1e-12, "{scaling:?}: {found}");
            assert!((scaling.to_unit(middle, min, max) - 0.5).abs() < 1e-12);
            assert_eq!(scaling.to_unit(min, min, max), 0.0);
            assert!((scaling.from_unit(1.0, min, max) - max).abs() < 1e-15);
        }
        let quarter = Scaling::Logarithmic.from_unit(0.25, 1e-4, 1.0);
        assert!((quarter - 1e-3).abs() < 1e-12, "{quarter}");
    }

    #[test]
    fn auto_follows_the_ratio_of_the_ends() {
        let auto = |min, max| Scaling::Auto.of_range(min, max);
        assert_eq!(auto(1e-4, 1e-1), Scaling::Logarithmic);
        assert_eq!(auto(8.0, 64.0), Scaling::Linear);
        assert_eq!(auto(0.0, 1e-1), Scaling::Linear);
        assert_eq!(Scaling::Linear.of_range(1e-4, 1e-1), Scaling::Linear);
    }

    #[test]
    fn ranges_that_cannot_be_measured_are_refused() {
        assert!(Scaling::Logarithmic.objection(0.0, 1.0).is_some());
        assert!(Scaling::ReverseLogarithmic.objection(0.5, 1.0).is_some());
        assert!(Scaling::ReverseLogarithmic.objection(-0.1, 0.5).is_some());
        assert!(Scaling::ReverseLogarithmic.objection(0.0, 0.5).is_none());
        assert!(Scaling::Linear.objection(-1.0, 1.0).is_none());
    }
}
