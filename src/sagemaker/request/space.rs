//! The space that a tuning job searches, as SageMaker takes it.
//!
//! Input: a [`Space`], read and checked as `tune` reads it. Output: [`ParameterRanges`] within the limits of the service. A scaling that
//! is not said is decided here as `tune` decides it, so that a search means the same on a laptop and on SageMaker.

use serde::Serialize;

use super::{RequestError, beyond};
use crate::tune::{Dimension, Domain, Scaling, Space};

/// Most values of a categorical parameter, and most parameters.
const MOST: usize = 30;
/// Most characters of a value.
const LONGEST: usize = 256;

/// What is tried, in the form in which SageMaker takes it. All values are texts there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ParameterRanges {
    #[serde(rename = "CategoricalParameterRanges")]
    categorical: Vec<Categorical>,
    #[serde(rename = "ContinuousParameterRanges")]
    continuous: Vec<Interval>,
    #[serde(rename = "IntegerParameterRanges")]
    integer: Vec<Interval>,
}

/// A few values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Categorical {
    name: String,
    values: Vec<String>,
}

/// All values from one to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Interval {
    name: String,
    min_value: String,
    max_value: String,
    scaling_type: &'static str,
}

impl ParameterRanges {
    /// # Errors
    /// More or longer values than SageMaker takes.
    pub fn of(space: &Space) -> Result<Self, RequestError> {
        let count = space.dimensions.len();
        if count > MOST {
            let limit = format!("SageMaker takes {MOST} parameters");
            return Err(beyond("--space", count, limit, "leave some out"));
        }
        let mut ranges = ParameterRanges::default();
        for Dimension { name, domain } in &space.dimensions {
            let interval = |scaling: Scaling, [min_value, max_value]: [String; 2]| Interval {
                name: name.clone(),
                min_value,
                max_value,
                scaling_type: scaling_type(scaling),
            };
            // Rust writes numbers without an exponent, as SageMaker asks for.
            match domain {
                Domain::Categorical(values) => {
                    check_values(name, values)?;
                    ranges.categorical.push(Categorical {
                        name: name.clone(),
                        values: values.clone(),
                    });
                }
                Domain::Continuous { min, max, scaling } => ranges
                    .continuous
                    .push(interval(*scaling, [min.to_string(), max.to_string()])),
                Domain::Integer { min, max, scaling } => ranges
                    .integer
                    .push(interval(*scaling, [min.to_string(), max.to_string()])),
            }
        }
        Ok(ranges)
    }
}

fn scaling_type(scaling: Scaling) -> &'static str {
    match scaling {
        Scaling::Auto => "Auto",
        Scaling::Linear => "Linear",
        Scaling::Logarithmic => "Logarithmic",
        Scaling::ReverseLogarithmic => "ReverseLogarithmic",
    }
}

fn check_values(name: &str, values: &[String]) -> Result<(), RequestError> {
    let count = values.len();
    if count > MOST {
        let limit = format!("it has {count} values, and SageMaker takes {MOST}");
        return Err(beyond("--space", name, limit, "give a range such as 1..64"));
    }
    if values.iter().any(|value| value.chars().count() > LONGEST) {
        let limit = format!("a value is longer than {LONGEST} characters");
        return Err(beyond("--space", name, limit, "shorten it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ranges(space: &str) -> Result<ParameterRanges, RequestError> {
        ParameterRanges::of(&Space::parse(space)?)
    }

    #[test]
    fn lists_and_ranges() {
        let space =
            "batch_size=8,32; lr=1e-4..0.1;epochs=5..20;momentum=0.5..0.9:reverse-log;mixup=0..1";
        let interval = |name: &str, least: &str, most: &str, scaling: &str| json!({"Name": name, "MinValue": least, "MaxValue": most, "ScalingType": scaling});
        let expected = json!({
            "CategoricalParameterRanges": [{"Name": "batch-size", "Values": ["8", "32"]}],
            "ContinuousParameterRanges": [
                interval("learning-rate", "0.0001", "0.1", "Logarithmic"),
                interval("momentum", "0.5", "0.9", "ReverseLogarithmic"),
                interval("mixup", "0", "1", "Linear"),
            ],
            "IntegerParameterRanges": [interval("epochs", "5", "20", "Linear")]
        });
        let found = serde_json::to_value(ranges(space).unwrap()).unwrap();
        assert_eq!(found, expected);
        // What was printed can be given again, alone or inside of a request, and `tune` searches the same.
        for form in [found.clone(), json!({"ParameterRanges": found})] {
            let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
            std::fs::write(file.path(), form.to_string()).unwrap();
            let path = file.path().to_str().unwrap();
            for typed in [path.to_owned(), format!("@{path}")] {
                let again = serde_json::to_value(ranges(&typed).unwrap()).unwrap();
                assert_eq!(again, expected);
            }
        }
    }

    #[test]
    fn more_than_sagemaker_takes() {
        let refused = |space: &str, text: &str| {
            let error = ranges(space).unwrap_err().to_string();
            assert!(error.contains(text), "{text:?} in {error:?}");
        };
        let many: Vec<String> = (1..=31).map(|n| n.to_string()).collect();
        let many = format!("batch-size={}", many.join(","));
        refused(&many, "31 values, and SageMaker takes 30");
        let long = "x".repeat(257);
        refused(&format!("classes={long}"), "longer than 256");
        refused("bach-size=8,32", "did you mean 'batch-size'?");
    }
}
