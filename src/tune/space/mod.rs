//! The search space: which hyperparameters vary, and over what.
//!
//! Input: `--space`, as text ([`text`]) or in SageMaker's own form ([`ranges`]). Output: a [`Space`] whose names and values
//! training accepts. Points of it are texts by name, as they are typed; samplers see each value as a place between 0 and 1.

mod ranges;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::scaling::Scaling;
use crate::config::{Layer, Source, canonical_name};

/// The values of a trial by name, as they are typed.
pub type Values = BTreeMap<String, String>;

/// A space with more combinations counts as one without an end.
pub const MOST_COMBINATIONS: usize = 100_000;

/// What is wrong with `--space`.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SpaceError {
    #[error("--space: {part:?}: {message}")]
    Part { part: String, message: String },
    #[error("--space {path}: {message}")]
    File { path: PathBuf, message: String },
    #[error("{0}")]
    Value(String),
    #[error("--space: {0} stands there twice: put all its values into one list")]
    Twice(String),
    #[error(
        "--space names nothing to search; write for example 'batch-size=8,32;learning-rate=1e-4..1e-2:log'"
    )]
    Empty,
}

/// What a hyperparameter may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Domain {
    /// One of a list.
    Categorical(Vec<String>),
    /// A number between two ends, both included.
    Continuous {
        min: f64,
        max: f64,
        scaling: Scaling,
    },
    /// A whole number between two ends, both included.
    Integer {
        min: i64,
        max: i64,
        scaling: Scaling,
    },
}

/// A hyperparameter that varies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// As its flag has it, without the dashes in front.
    pub name: String,
    pub domain: Domain,
}

/// All of them, in the order in which they were said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Space {
    pub dimensions: Vec<Dimension>,
}

impl Space {
    /// Reads what was typed: text, or `@FILE` with JSON, where the name of a `.json` file needs no `@`.
    ///
    /// # Errors
    /// [`SpaceError`], naming the part, the hyperparameter or the file.
    pub fn parse(typed: &str) -> Result<Self, SpaceError> {
        let path = typed.trim();
        match path.strip_prefix('@') {
            Some(path) => ranges::read(path.trim().as_ref()),
            None if path.ends_with(".json") && !path.contains('=') => ranges::read(path.as_ref()),
            None => text::parse(typed),
        }
    }

    /// The names, in the order in which they were said.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let dimensions = self.dimensions.iter();
        dimensions.map(|dimension| dimension.name.as_str())
    }

    /// A space of `dimensions`, each checked as training checks it.
    fn of(dimensions: Vec<Dimension>) -> Result<Self, SpaceError> {
        if dimensions.is_empty() {
            return Err(SpaceError::Empty);
        }
        for (index, dimension) in dimensions.iter().enumerate() {
            dimension.check()?;
            let before = &dimensions[..index];
            if before.iter().any(|other| other.name == dimension.name) {
                return Err(SpaceError::Twice(dimension.name.clone()));
            }
        }
        Ok(Space { dimensions })
    }

    /// How many combinations there are; `None` where a range has no end of them or there are too many to list.
    pub fn combinations(&self) -> Option<usize> {
        let count = |product: usize, dimension: &Dimension| {
            let count = product.checked_mul(dimension.count()?)?;
            (count <= MOST_COMBINATIONS).then_some(count)
        };
        self.dimensions.iter().try_fold(1, count)
    }

    /// Whether there is anything else than lists.
    pub fn has_ranges(&self) -> bool {
        let mut domains = self.dimensions.iter().map(|dimension| &dimension.domain);
        domains.any(|domain| !matches!(domain, Domain::Categorical(_)))
    }

    /// The combination `index` of a space that has an end; the last dimension changes fastest.
    pub fn combination(&self, index: usize) -> Values {
        let mut rest = index;
        let mut values = Values::new();
        for dimension in self.dimensions.iter().rev() {
            let count = dimension.count().unwrap_or(1).max(1);
            values.insert(dimension.name.clone(), dimension.nth(rest % count));
            rest /= count;
        }
        values
    }

    /// The values at places between 0 and 1, one for each dimension.
    pub fn at(&self, units: &[f64]) -> Values {
        let dimensions = self.dimensions.iter().zip(units);
        dimensions
            .map(|(dimension, unit)| (dimension.name.clone(), dimension.at(*unit)))
            .collect()
    }

    /// Combinations that show whether settings go together: all where there are few, else each value on its own beside the
    /// first of all others.
    pub fn probes(&self) -> Vec<Values> {
        const FEW: usize = 200;
        match self.combinations() {
            Some(count) if count <= FEW => {
                (0..count).map(|index| self.combination(index)).collect()
            }
            _ => {
                let first = self.at(&vec![0.0; self.dimensions.len()]);
                let each = self.dimensions.iter().flat_map(|dimension| {
                    let first = &first;
                    dimension.ends().into_iter().map(move |value| {
                        let mut values = first.clone();
                        values.insert(dimension.name.clone(), value);
                        values
                    })
                });
                each.collect()
            }
        }
    }
}

impl Dimension {
    /// How many values there are; `None` for a continuous range.
    fn count(&self) -> Option<usize> {
        match &self.domain {
            Domain::Categorical(values) => Some(values.len()),
            Domain::Integer { min, max, .. } => usize::try_from(max.abs_diff(*min))
                .ok()
                .and_then(|steps| steps.checked_add(1)),
            Domain::Continuous { .. } => None,
        }
    }

    fn nth(&self, index: usize) -> String {
        match &self.domain {
            Domain::Categorical(values) => values.get(index).cloned().unwrap_or_default(),
            Domain::Integer { min, .. } => (min + index as i64).to_string(),
            Domain::Continuous { min, .. } => number(*min),
        }
    }

    /// The value at the place `unit` between 0 and 1.
    pub fn at(&self, unit: f64) -> String {
        match &self.domain {
            Domain::Categorical(values) => {
                let index = (unit * values.len() as f64) as usize;
                self.nth(index.min(values.len().saturating_sub(1)))
            }
            Domain::Continuous { min, max, scaling } => {
                number(rounded(scaling.from_unit(unit, *min, *max)).clamp(*min, *max))
            }
            Domain::Integer { min, max, scaling } => {
                // Half a step beyond the ends, so that these are as likely as all others.
                let (low, high) = (*min as f64 - 0.5, *max as f64 + 0.5);
                let value = scaling.from_unit(unit, low, high).round() as i64;
                value.clamp(*min, *max).to_string()
            }
        }
    }

    /// The place of a value between 0 and 1, in the middle of what it stands for; `None` for one that is not in the domain.
    pub fn unit(&self, text: &str) -> Option<f64> {
        match &self.domain {
            Domain::Categorical(values) => {
                let index = values.iter().position(|value| value == text)?;
                Some((index as f64 + 0.5) / values.len() as f64)
            }
            Domain::Continuous { min, max, scaling } => {
                let value = text.parse::<f64>().ok()?;
                Some(scaling.to_unit(value, *min, *max))
            }
            Domain::Integer { min, max, scaling } => {
                let value = text.parse::<f64>().ok()?;
                Some(scaling.to_unit(value, *min as f64 - 0.5, *max as f64 + 0.5))
            }
        }
    }

    /// All values of a list, the ends of a range.
    fn ends(&self) -> Vec<String> {
        match &self.domain {
            Domain::Categorical(values) => values.clone(),
            Domain::Continuous { min, max, .. } => vec![number(*min), number(*max)],
            Domain::Integer { min, max, .. } => vec![min.to_string(), max.to_string()],
        }
    }

    /// Whether training accepts the name and the values, and the range can be measured.
    fn check(&self) -> Result<(), SpaceError> {
        let part = |message: String| SpaceError::Part {
            part: self.to_string(),
            message,
        };
        if let Domain::Categorical(values) = &self.domain {
            let twice = values.iter().enumerate();
            let twice = twice.filter(|(index, value)| values[..*index].contains(value));
            if let Some((_, value)) = twice.into_iter().next() {
                return Err(part(format!("{value} stands in the list twice")));
            }
            if values.is_empty() {
                return Err(part("the list is empty".into()));
            }
        }
        if let Domain::Continuous { .. } = self.domain
            && is_whole(&self.name)
        {
            return Err(part(format!(
                "{} is a whole number: give an integer range or a list",
                self.name
            )));
        }
        for value in self.ends() {
            Layer::of_known(Source::Space, &self.name, &value)
                .map_err(|error| SpaceError::Value(error.to_string()))?;
        }
        let (min, max, scaling) = match self.domain {
            Domain::Categorical(_) => return Ok(()),
            Domain::Continuous { min, max, scaling } => (min, max, scaling),
            // The half steps beyond the ends are measured, too.
            Domain::Integer { min, max, scaling } => (min as f64 - 0.5, max as f64 + 0.5, scaling),
        };
        if min >= max || matches!(self.domain, Domain::Integer { min, max, .. } if min >= max) {
            return Err(part(
                "the lower end must come first, and the ends differ".into(),
            ));
        }
        match scaling.objection(min, max) {
            Some(objection) => Err(part(objection.into())),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.domain {
            Domain::Categorical(values) => write!(f, "{name}={}", values.join(",")),
            Domain::Continuous { min, max, scaling } => write!(
                f,
                "{name}={}..{}{}",
                number(*min),
                number(*max),
                text::suffix(*scaling)
            ),
            Domain::Integer { min, max, scaling } => {
                write!(f, "{name}={min}..{max}{}", text::suffix(*scaling))
            }
        }
    }
}

impl fmt::Display for Space {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.dimensions.iter().map(Dimension::to_string).collect();
        f.write_str(&parts.join(";"))
    }
}

/// The name as its flag has it.
fn name_of(typed: &str) -> Result<String, SpaceError> {
    canonical_name(typed).map_err(|message| SpaceError::Value(format!("--space: {message}")))
}

/// Whether a hyperparameter takes whole numbers only, as its own flag says.
fn is_whole(name: &str) -> bool {
    let takes = |text: &str| Layer::of_known(Source::Space, name, text).is_ok();
    // No setting is a number of which only fractions between 64 and 65 are refused.
    takes("64") && !takes("64.5")
}

/// Six digits: no training tells more of them apart, and people have to read them.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// Plain decimals, as metric lines and clients of SageMaker write numbers.
fn number(value: f64) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests;
