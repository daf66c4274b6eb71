//! Reductions: a tensor as one number.
//!
//! Input: a name such as `abs_mean` or `l2_norm`, and values. Output: a [`Reduction`] and its value, computed in float64.

use std::fmt;
use std::str::FromStr;

/// What values are reduced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Min,
    Max,
    Mean,
    Std,
    Variance,
    Sum,
    Prod,
    L1,
    L2,
}

use Operation::*;

const OPERATIONS: [(Operation, &str); 9] = [
    (Min, "min"),
    (Max, "max"),
    (Mean, "mean"),
    (Std, "std"),
    (Variance, "variance"),
    (Sum, "sum"),
    (Prod, "prod"),
    (L1, "l1"),
    (L2, "l2"),
];

/// A reduction of the values, or of their absolute values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reduction {
    pub operation: Operation,
    pub abs: bool,
}

impl Reduction {
    pub const ABS_MEAN: Reduction = Reduction {
        operation: Mean,
        abs: true,
    };

    /// The name in the names of tensors: `abs_l2`.
    pub fn tensor_prefix(self) -> String {
        let name = OPERATIONS
            .iter()
            .find(|(operation, _)| *operation == self.operation)
            .map_or("", |(_, name)| name);
        format!("{}{name}", if self.abs { "abs_" } else { "" })
    }

    /// The reduction that the name of a tensor begins with.
    pub fn of_tensor_prefix(prefix: &str) -> Option<Self> {
        let (abs, name) = match prefix.strip_prefix("abs_") {
            Some(name) => (true, name),
            None => (false, prefix),
        };
        let found = OPERATIONS.iter().find(|(_, known)| *known == name);
        found.map(|(operation, _)| Reduction {
            operation: *operation,
            abs,
        })
    }

    /// The reduction of values, of which there is at least one. The variance is that of the values themselves, as numpy's.
    pub fn of(self, values: impl Iterator<Item = f64> + Clone) -> f64 {
        let values = || values.clone().map(|x| if self.abs { x.abs() } else { x });
        let (sum, count) = values().fold((0.0, 0usize), |(sum, count), x| (sum + x, count + 1));
        let mean = sum / count as f64;
        let variance = || values().map(|x| (x - mean).powi(2)).sum::<f64>() / count as f64;
        // numpy's min and max are NaN where a value is.
        let extreme = |pick: fn(f64, f64) -> f64| {
            let or_nan = |a: f64, b: f64| match a.is_nan() || b.is_nan() {
                true => f64::NAN,
                false => pick(a, b),
            };
            values().reduce(or_nan).unwrap_or(f64::NAN)
        };
        match self.operation {
            Min => extreme(f64::min),
            Max => extreme(f64::max),
            Mean => mean,
            Std => variance().sqrt(),
            Variance => variance(),
            Sum => sum,
            Prod => values().product(),
            L1 => values().map(f64::abs).sum(),
            L2 => values().map(|x| x * x).sum::<f64>().sqrt(),
        }
    }
}

/// As configuration files spell it: norms end in `_norm`.
impl FromStr for Reduction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (prefix, is_norm) = match text.strip_suffix("_norm") {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        Self::of_tensor_prefix(prefix)
            .filter(|reduction| matches!(reduction.operation, L1 | L2) == is_norm)
            .ok_or_else(|| {
                format!(
                    "there is no reduction '{text}'; known are min, max, mean, std, variance, sum, prod, l1_norm and l2_norm, each \
                     also with abs_ before it"
                )
            })
    }
}

impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tensor_prefix())?;
        match self.operation {
            L1 | L2 => f.write_str("_norm"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> f64 {
        name.parse::<Reduction>()
            .unwrap()
            .of([-2.0, 1.0, 4.0].into_iter())
    }

    #[test]
    fn values_are_those_of_numpy() {
        // numpy: a = np.array([-2., 1., 4.])
        for (name, expected) in [
            ("min", -2.0),
            ("max", 4.0),
            ("mean", 1.0),
            ("std", 6f64.sqrt()),
            ("variance", 6.0),
            ("sum", 3.0),
            ("prod", -8.0),
            ("l1_norm", 7.0),
            ("l2_norm", 21f64.sqrt()),
            ("abs_mean", 7.0 / 3.0),
            ("abs_min", 1.0),
            ("abs_l1_norm", 7.0),
        ] {
            assert!((value(name) - expected).abs() < 1e-12, "{name}");
        }
        let max: Reduction = "max".parse().unwrap();
        assert!(max.of([1.0, f64::NAN, 2.0].into_iter()).is_nan());
    }

    #[test]
    fn names_round_trip_and_wrong_ones_are_refused() {
        for name in ["abs_l2_norm", "variance", "abs_prod"] {
            assert_eq!(name.parse::<Reduction>().unwrap().to_string(), name);
        }
        for wrong in ["l1", "mean_norm", "median", ""] {
            assert!(wrong.parse::<Reduction>().is_err(), "{wrong}");
        }
        let error = "median".parse::<Reduction>().unwrap_err();
        assert!(
            error.contains("median") && error.contains("variance"),
            "{error}"
        );
    }
}
