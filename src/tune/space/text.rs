//! The space as it is typed.
//!
//! Input: `batch-size=8,32;learning-rate=1e-4..1e-1:log`. Output: a [`Space`]. Parts are separated by `;` or line breaks; a part is
//! a name and a list of values, or two ends with `..` between them and maybe `:` and a scaling. A range of a whole-number setting
//! is one of whole numbers.

use clap::ValueEnum;

use super::{Dimension, Domain, Space, SpaceError, is_whole, name_of};
use crate::tune::scaling::Scaling;

pub(super) fn parse(typed: &str) -> Result<Space, SpaceError> {
    let parts = typed.split([';', '\n']).map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    Space::of(parts.map(dimension).collect::<Result<_, _>>()?)
}

fn dimension(part: &str) -> Result<Dimension, SpaceError> {
    let wrong = |message: String| SpaceError::Part {
        part: part.to_string(),
        message,
    };
    let Some((name, said)) = part.split_once('=') else {
        return Err(wrong(
            "expected NAME=VALUES, such as batch-size=8,32 or learning-rate=1e-4..1e-1:log".into(),
        ));
    };
    let name = name_of(name.trim_start_matches("--").trim())?;
    let domain = match said.split_once("..") {
        Some((low, rest)) => range(&name, low, rest).map_err(wrong)?,
        None => Domain::Categorical(list(said).map_err(wrong)?),
    };
    Ok(Dimension { name, domain })
}

fn list(said: &str) -> Result<Vec<String>, String> {
    let values = said.split(',').map(str::trim);
    let values: Vec<String> = values.map(str::to_string).collect();
    match values.iter().any(String::is_empty) {
        true => Err("a value is missing: expected a list such as 8,32".into()),
        false => Ok(values),
    }
}

fn range(name: &str, low: &str, rest: &str) -> Result<Domain, String> {
    let (high, scaling) = match rest.split_once(':') {
        Some((high, scaling)) => (high, scaling_of(scaling.trim())?),
        None => (rest, Scaling::Auto),
    };
    let end = |text: &str| {
        let text = text.trim();
        let found = text.parse::<f64>().ok().filter(|value| value.is_finite());
        found.ok_or_else(|| format!("{text:?} is no number: expected a range such as 1e-4..1e-1"))
    };
    let (min, max) = (end(low)?, end(high)?);
    if !is_whole(name) {
        let scaling = scaling.of_range(min, max);
        return Ok(Domain::Continuous { min, max, scaling });
    }
    let whole = |value: f64| {
        let is_whole = value.fract() == 0.0 && value.abs() <= f64::from(u32::MAX);
        is_whole
            .then_some(value as i64)
            .ok_or_else(|| format!("{name} is a whole number, {value} is none"))
    };
    Ok(Domain::Integer {
        min: whole(min)?,
        max: whole(max)?,
        scaling: scaling.of_range(min, max),
    })
}

/// A scaling by its name here or in SageMaker.
fn scaling_of(text: &str) -> Result<Scaling, String> {
    Scaling::from_str(text, true)
        .map_err(|_| format!("{text:?} is no scaling: expected linear, log, reverse-log or auto"))
}

/// How a scaling is typed behind a range.
pub(super) fn suffix(scaling: Scaling) -> &'static str {
    match scaling {
        Scaling::Auto => "",
        Scaling::Linear => ":linear",
        Scaling::Logarithmic => ":log",
        Scaling::ReverseLogarithmic => ":reverse-log",
    }
}
