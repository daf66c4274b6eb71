//! The space that a tuning job searches.
//!
//! Input: `batch-size=8,32;learning-rate=0.0001..0.1:log`, or a JSON file (`@FILE`) in the form of SageMaker's `ParameterRanges`. Output:
//! [`ParameterRanges`], in which every name is that of a training flag.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::hyperparameters::known;
use super::{RequestError, beyond};
use crate::config::{Layer, Source};

/// Most values of a categorical parameter, and most parameters.
const MOST: usize = 30;
/// Most characters of a value.
const LONGEST: usize = 256;

/// What is tried, in the form in which SageMaker takes it. All values are texts there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ParameterRanges {
    #[serde(rename = "CategoricalParameterRanges")]
    pub categorical: Vec<Categorical>,
    #[serde(rename = "ContinuousParameterRanges")]
    pub continuous: Vec<Interval>,
    #[serde(rename = "IntegerParameterRanges")]
    pub integer: Vec<Interval>,
}

/// A few values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Categorical {
    pub name: String,
    pub values: Vec<String>,
}

/// All values from one to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Interval {
    pub name: String,
    pub min_value: String,
    pub max_value: String,
    #[serde(default)]
    pub scaling_type: Scaling,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scaling {
    #[default]
    Auto,
    Linear,
    Logarithmic,
    ReverseLogarithmic,
}

/// Reads what was given with `--space` and checks it against the limits of SageMaker and the values of training.
///
/// # Errors
/// A form that is neither, an unknown name, a value that training refuses, more or longer ones than SageMaker takes.
pub fn parse(space: &str) -> Result<ParameterRanges, RequestError> {
    let mut ranges = match space.trim().strip_prefix('@') {
        Some(path) => of_file(Path::new(path))?,
        None if space.contains('=') => of_text(space)?,
        None => of_file(Path::new(space))?,
    };
    let names = ranges.categorical.iter_mut().map(|range| &mut range.name);
    let names = names.chain(ranges.continuous.iter_mut().map(|range| &mut range.name));
    for name in names.chain(ranges.integer.iter_mut().map(|range| &mut range.name)) {
        *name = known("--space", name)?;
    }
    check(&ranges)?;
    Ok(ranges)
}

impl ParameterRanges {
    /// The names, in the order of the form.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let categorical = self.categorical.iter().map(|range| range.name.as_str());
        let intervals = self.continuous.iter().chain(&self.integer);
        categorical.chain(intervals.map(|range| range.name.as_str()))
    }

    /// Names with the values that can be looked at one by one: all of a categorical parameter, the ends of an interval.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        let categorical = self.categorical.iter().flat_map(|range| {
            range
                .values
                .iter()
                .map(|value| (range.name.as_str(), value.as_str()))
        });
        let ends = self
            .continuous
            .iter()
            .chain(&self.integer)
            .flat_map(|range| {
                [&range.min_value, &range.max_value]
                    .map(|value| (range.name.as_str(), value.as_str()))
            });
        categorical.chain(ends)
    }
}

fn of_file(path: &Path) -> Result<ParameterRanges, RequestError> {
    let failed = |message: String| RequestError::File {
        path: path.display().to_string(),
        message,
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        failed(format!("{error}; --space takes a file of ParameterRanges, or NAME=VALUE,VALUE;NAME=LEAST..MOST:log"))
    })?;
    // As a part of a request, too.
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| failed(format!("not JSON: {error}")))?;
    let inner = value.get("ParameterRanges").unwrap_or(&value);
    let expected =
        "expected CategoricalParameterRanges, ContinuousParameterRanges or IntegerParameterRanges";
    serde_json::from_value(inner.clone()).map_err(|error| failed(format!("{error}; {expected}")))
}

fn of_text(space: &str) -> Result<ParameterRanges, RequestError> {
    let mut ranges = ParameterRanges::default();
    for part in space
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let expected = "expected NAME=VALUE,VALUE or NAME=LEAST..MOST";
        let Some((name, values)) = part.split_once('=') else {
            return Err(beyond("--space", part, expected, "such as batch-size=8,32"));
        };
        let name = name.trim().to_owned();
        let Some((least, rest)) = values.split_once("..") else {
            let values = values.split(',').map(|value| value.trim().to_owned());
            ranges.categorical.push(Categorical {
                name,
                values: values.collect(),
            });
            continue;
        };
        let (most, scaling) = rest.split_once(':').unwrap_or((rest, "auto"));
        let range = Interval {
            min_value: least.trim().into(),
            max_value: most.trim().into(),
            scaling_type: scaling_of(part, scaling.trim())?,
            name,
        };
        let list = match is_whole(&range) {
            true => &mut ranges.integer,
            false => &mut ranges.continuous,
        };
        list.push(range);
    }
    Ok(ranges)
}

fn scaling_of(part: &str, name: &str) -> Result<Scaling, RequestError> {
    match name.to_ascii_lowercase().as_str() {
        "auto" => Ok(Scaling::Auto),
        "linear" => Ok(Scaling::Linear),
        "log" | "logarithmic" => Ok(Scaling::Logarithmic),
        "reverse-log" | "reverselogarithmic" => Ok(Scaling::ReverseLogarithmic),
        _ => {
            let limit = format!("there is no scaling {name}");
            Err(beyond(
                "--space",
                part,
                limit,
                "choose auto, linear, log or reverse-log",
            ))
        }
    }
}

/// Whether a parameter takes whole numbers only: its ends are whole, and training refuses what lies between two of them.
fn is_whole(range: &Interval) -> bool {
    let (Ok(least), Ok(_)) = (
        range.min_value.parse::<i64>(),
        range.max_value.parse::<i64>(),
    ) else {
        return false;
    };
    let between = (range.name.clone(), format!("{}", least as f64 + 0.5));
    Layer::from_pairs(Source::CommandLine, [between]).is_err()
}

fn check(ranges: &ParameterRanges) -> Result<(), RequestError> {
    let count = ranges.names().count();
    if count == 0 {
        let limit = "it names no parameter";
        return Err(beyond("--space", "''", limit, "such as 'batch-size=8,32'"));
    }
    if count > MOST {
        let limit = format!("SageMaker takes {MOST} parameters");
        return Err(beyond("--space", count, limit, "leave some out"));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = ranges.names().find(|name| !seen.insert(*name)) {
        let fix = "name it once; batch_size and mini-batch-size mean the same";
        return Err(beyond("--space", twice, "it is there twice", fix));
    }
    for range in &ranges.categorical {
        check_categorical(range)?;
    }
    for range in ranges.continuous.iter().chain(&ranges.integer) {
        check_interval(range)?;
    }
    for (name, value) in ranges.values() {
        Layer::from_pairs(Source::CommandLine, [(name.to_owned(), value.to_owned())])?;
    }
    Ok(())
}

fn check_categorical(range: &Categorical) -> Result<(), RequestError> {
    let wrong = |limit: String, fix: &str| Err(beyond("--space", &range.name, limit, fix));
    let count = range.values.len();
    let mut seen = BTreeSet::new();
    if count == 0 || range.values.iter().any(String::is_empty) {
        return wrong("a value is empty".into(), "give values such as 8,32");
    }
    if count > MOST {
        return wrong(
            format!("it has {count} values, and SageMaker takes {MOST}"),
            "give a range such as 1..64",
        );
    }
    if range
        .values
        .iter()
        .any(|value| value.chars().count() > LONGEST)
    {
        return wrong(
            format!("a value is longer than {LONGEST} characters"),
            "shorten it",
        );
    }
    match range
        .values
        .iter()
        .find(|value| !seen.insert(value.as_str()))
    {
        Some(twice) => wrong(format!("{twice} is there twice"), "give each value once"),
        None => Ok(()),
    }
}

fn check_interval(range: &Interval) -> Result<(), RequestError> {
    let shown = format!("{}={}..{}", range.name, range.min_value, range.max_value);
    let wrong = |limit: &str, fix: &str| Err(beyond("--space", &shown, limit, fix));
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let (Some(least), Some(most)) = (number(&range.min_value), number(&range.max_value)) else {
        return wrong(
            "a range goes from one number to another",
            "list other values with commas",
        );
    };
    if least >= most {
        return wrong(
            "the first number is not below the second",
            "swap them, or give one value as -p",
        );
    }
    match range.scaling_type {
        Scaling::Logarithmic if least <= 0.0 => wrong(
            "a logarithmic scale begins above 0",
            "raise the first number or choose linear",
        ),
        Scaling::ReverseLogarithmic if least < 0.0 || most >= 1.0 => wrong(
            "a reverse logarithmic scale lies between 0 and below 1",
            "change the numbers or choose linear",
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(space: &str, texts: &[&str]) {
        let error = parse(space).unwrap_err().to_string();
        for text in texts {
            assert!(error.contains(text), "{text:?} in {error:?}");
        }
    }

    #[test]
    fn lists_and_ranges() {
        let ranges =
            parse("batch_size=8,32; lr=0.0001..0.1:log;epochs=5..20;momentum=0..0.9;mixup=0..1")
                .unwrap();
        let json = serde_json::to_value(&ranges).unwrap();
        let interval = |name: &str, least: &str, most: &str, scaling: &str| serde_json::json!({"Name": name, "MinValue": least, "MaxValue": most, "ScalingType": scaling});
        assert_eq!(
            json,
            serde_json::json!({
                "CategoricalParameterRanges": [{"Name": "batch-size", "Values": ["8", "32"]}],
                "ContinuousParameterRanges": [
                    interval("learning-rate", "0.0001", "0.1", "Logarithmic"),
                    interval("momentum", "0", "0.9", "Auto"),
                    interval("mixup", "0", "1", "Auto"),
                ],
                "IntegerParameterRanges": [interval("epochs", "5", "20", "Auto")]
            })
        );
        // What was printed can be given again, alone or inside of a request.
        for form in [json.clone(), serde_json::json!({"ParameterRanges": json})] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), form.to_string()).unwrap();
            let path = file.path().to_str().unwrap();
            assert_eq!(parse(path).unwrap(), ranges);
            assert_eq!(parse(&format!("@{path}")).unwrap(), ranges);
        }
    }

    #[test]
    fn what_sagemaker_or_training_refuses() {
        refused("bach-size=8", &["bach-size", "did you mean 'batch-size'"]);
        refused("batch-size=8,many", &["--batch-size", "many"]);
        refused("batch-size=8,8", &["8 is there twice"]);
        refused("batch-size=8,", &["a value is empty"]);
        refused(
            "lr=0.1,0.2;learning-rate=0.3,0.4",
            &["learning-rate: it is there twice"],
        );
        refused("lr=0.1..0.01", &["not below"]);
        refused("lr=0..0.1:log", &["above 0"]);
        refused(
            "momentum=0.5..0.9:cubic",
            &["no scaling cubic", "reverse-log"],
        );
        refused("mixup=0.5..1:reverse-log", &["below 1"]);
        refused("optimizer=adam..sgd", &["from one number to another"]);
        refused("batch-size=8;epochs", &["epochs: expected NAME="]);
        let many: Vec<String> = (1..=31).map(|n| n.to_string()).collect();
        refused(
            &format!("batch-size={}", many.join(",")),
            &["31 values", "takes 30"],
        );
        refused(";", &["ParameterRanges"]);
        refused("nowhere.json", &["nowhere.json", "ParameterRanges"]);
    }
}
