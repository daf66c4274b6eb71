//! The space in SageMaker's own form.
//!
//! Input: a JSON file with `ContinuousParameterRanges`, `IntegerParameterRanges` and `CategoricalParameterRanges`, on their own, below
//! `ParameterRanges`, or in a whole tuning-job request. Output: a [`Space`].

use std::path::Path;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::Value;

use super::{Dimension, Domain, Space, SpaceError, name_of};
use crate::config::plain_text;
use crate::tune::scaling::Scaling;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Ranges {
    #[serde(default)]
    continuous_parameter_ranges: Vec<Range>,
    #[serde(default)]
    integer_parameter_ranges: Vec<Range>,
    #[serde(default)]
    categorical_parameter_ranges: Vec<Categories>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Range {
    name: String,
    /// A string in SageMaker's form; a number is understood, too.
    min_value: Value,
    max_value: Value,
    #[serde(default)]
    scaling_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Categories {
    name: String,
    values: Vec<Value>,
}

pub(super) fn read(path: &Path) -> Result<Space, SpaceError> {
    let failed = |message: String| SpaceError::File {
        path: path.to_owned(),
        message,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let json: Value =
        serde_json::from_str(&text).map_err(|error| failed(format!("not JSON: {error}")))?;
    let inner = ["HyperParameterTuningJobConfig", "ParameterRanges"]
        .iter()
        .fold(&json, |value, key| value.get(key).unwrap_or(value));
    let ranges: Ranges = serde_json::from_value(inner.clone()).map_err(|error| {
        failed(format!(
            "not SageMaker's ParameterRanges ({error}); expected lists ContinuousParameterRanges, IntegerParameterRanges \
             and CategoricalParameterRanges"
        ))
    })?;
    let mut dimensions = Vec::new();
    for range in &ranges.continuous_parameter_ranges {
        dimensions.push(range.continuous().map_err(failed)?);
    }
    for range in &ranges.integer_parameter_ranges {
        dimensions.push(range.integer().map_err(failed)?);
    }
    for categories in ranges.categorical_parameter_ranges {
        let values = categories.values.into_iter().map(plain_text);
        dimensions.push(Dimension {
            name: categories.name,
            domain: Domain::Categorical(values.collect()),
        });
    }
    for dimension in &mut dimensions {
        dimension.name = name_of(&dimension.name)?;
    }
    Space::of(dimensions)
}

impl Range {
    fn continuous(&self) -> Result<Dimension, String> {
        let (min, max) = (self.end(&self.min_value)?, self.end(&self.max_value)?);
        let scaling = self.scaling()?.of_range(min, max);
        Ok(Dimension {
            name: self.name.clone(),
            domain: Domain::Continuous { min, max, scaling },
        })
    }

    fn integer(&self) -> Result<Dimension, String> {
        let (low, high) = (self.end(&self.min_value)?, self.end(&self.max_value)?);
        let scaling = self.scaling()?.of_range(low, high);
        if scaling == Scaling::ReverseLogarithmic {
            return Err(format!(
                "{}: reverse-logarithmic scaling is for continuous ranges",
                self.name
            ));
        }
        if low.fract() != 0.0 || high.fract() != 0.0 || low.abs().max(high.abs()) > 1e15 {
            return Err(format!(
                "{}: the ends of an integer range must be whole numbers",
                self.name
            ));
        }
        let (min, max) = (low as i64, high as i64);
        Ok(Dimension {
            name: self.name.clone(),
            domain: Domain::Integer { min, max, scaling },
        })
    }

    fn end(&self, value: &Value) -> Result<f64, String> {
        let text = plain_text(value.clone());
        let number = text.trim().parse::<f64>().ok();
        number
            .filter(|number| number.is_finite())
            .ok_or_else(|| format!("{}: {text:?} is no number", self.name))
    }

    fn scaling(&self) -> Result<Scaling, String> {
        let Some(said) = &self.scaling_type else {
            return Ok(Scaling::Auto);
        };
        Scaling::from_str(said, true).map_err(|_| {
            format!(
                "{}: ScalingType {said:?}: expected Auto, Linear, Logarithmic or ReverseLogarithmic",
                self.name
            )
        })
    }
}
