//! Which rules look at a run, as it is typed.
//!
//! Input: `all`, `none`, or a list such as `VanishingGradient;Overfit:patience=3,ratio_threshold=0.2`. Output: [`RuleList`], and from it the
//! rules. Names may be written as Amazon's Python SDK does: `vanishing_gradient`.

use std::fmt;
use std::str::FromStr;

use fancy_regex::Regex;
use serde_json::{Map, Value};

use super::Rule;
use super::activations::{DeadRelu, SaturatedActivation};
use super::data::{CheckInputImages, ClassImbalance, Confusion};
use super::initialization::PoorWeightInitialization;
use super::losses::{LossNotDecreasing, Overfit, Overtraining};
use super::similar::SimilarAcrossRuns;
use super::stalled::StalledTraining;
use super::updates::{UnchangedTensor, WeightUpdateRatio};
use super::values::{AllZero, ExplodingTensor, TensorVariance, VanishingGradient};
use crate::debugger::parameters::Parameters;

type Make = fn(&Options) -> Result<Box<dyn Rule>, String>;

/// A rule's name, the names of its parameters besides [`COMMON`], and how it is made.
struct Known {
    name: &'static str,
    parameters: &'static [&'static str],
    make: Make,
}

/// Parameters by which a rule's tensors are chosen.
const COMMON: [&str; 1] = ["tensor_regex"];

macro_rules! known {
    ($($rule:ident: $($parameter:ident)*;)*) => {
        &[$(Known {
            name: stringify!($rule),
            parameters: &[$(stringify!($parameter)),*],
            make: |options| Ok(Box::new($rule::new(options)?)),
        }),*]
    };
}

const KNOWN: &[Known] = known! {
    VanishingGradient: threshold;
    ExplodingTensor: only_nan;
    LossNotDecreasing: num_steps diff_percent increase_threshold_percent;
    Overfit: start_step patience ratio_threshold;
    Overtraining: patience_train patience_validation delta;
    PoorWeightInitialization: threshold distribution_range patience steps activation_inputs_regex gradients_regex losses_regex;
    DeadRelu: threshold_inactivity threshold_layer;
    SaturatedActivation: threshold_tanh_min threshold_tanh_max threshold_sigmoid_min threshold_sigmoid_max threshold_inactivity threshold_layer;
    AllZero: threshold;
    UnchangedTensor: num_steps rtol atol equal_nan;
    TensorVariance: max_threshold min_threshold;
    WeightUpdateRatio: num_steps large_threshold small_threshold epsilon;
    ClassImbalance: threshold_imbalance threshold_misprediction samples argmax labels_regex predictions_regex;
    Confusion: min_diag max_off_diag argmax labels_regex predictions_regex;
    CheckInputImages: threshold_mean threshold_samples channel regex;
    SimilarAcrossRuns: other_trials;
    StalledTraining: threshold stop_training_on_fire;
};

/// Rules that look at every run unless others are asked for: those that say nothing of a run in which nothing is wrong. The others
/// fire on healthy fine-tunings, too (a loss that has converged, a gap between training and validation), cost time at every step, or need
/// to be told something.
const USUAL: &str = "VanishingGradient;ExplodingTensor;Overtraining;DeadRelu;AllZero;UnchangedTensor;\
    ClassImbalance:threshold_misprediction=1;CheckInputImages:threshold_mean=1;StalledTraining";

/// A rule and what was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSpec {
    pub name: String,
    pub parameters: Vec<(String, String)>,
}

/// Rules as they were typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleList {
    text: String,
    pub rules: Vec<RuleSpec>,
}

impl RuleList {
    /// Those of every run.
    pub fn usual() -> Self {
        let list = Self::parse(USUAL).unwrap_or_default();
        RuleList {
            text: "usual".into(),
            rules: list,
        }
    }

    /// No rules.
    pub fn none() -> Self {
        RuleList {
            text: "none".into(),
            rules: Vec::new(),
        }
    }

    /// Makes the rules.
    ///
    /// # Errors
    /// A run to compare with that cannot be read.
    pub fn build(&self) -> Result<Vec<Box<dyn Rule>>, String> {
        self.rules.iter().map(build).collect()
    }

    fn parse(text: &str) -> Result<Vec<RuleSpec>, String> {
        let items = text
            .split(';')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        items.map(RuleSpec::from_str).collect()
    }

    /// All that need no parameter.
    fn all() -> Vec<RuleSpec> {
        let known = KNOWN
            .iter()
            .filter(|known| known.name != "SimilarAcrossRuns");
        known
            .map(|known| RuleSpec {
                name: known.name.to_string(),
                parameters: Vec::new(),
            })
            .collect()
    }
}

impl FromStr for RuleList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rules = match text.trim().to_ascii_lowercase().as_str() {
            "none" | "false" | "off" => return Ok(Self::none()),
            "usual" | "true" | "on" => return Ok(Self::usual()),
            "all" => Self::all(),
            _ => Self::parse(text)?,
        };
        match rules.is_empty() {
            true => Err("name a rule, or say all, usual or none".into()),
            false => Ok(RuleList {
                text: text.trim().to_string(),
                rules,
            }),
        }
    }
}

impl fmt::Display for RuleList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `VanishingGradient`, `vanishing_gradient` and `VanishingGradientRule` are one.
fn plain(name: &str) -> String {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = name.to_ascii_lowercase();
    name.strip_suffix("rule").unwrap_or(&name).to_string()
}

fn known(name: &str) -> Result<&'static Known, String> {
    KNOWN
        .iter()
        .find(|known| plain(known.name) == plain(name))
        .ok_or_else(|| {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            format!("there is no rule '{name}'; known are {}", names.join(", "))
        })
}

impl FromStr for RuleSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let known = known(name.trim())?;
        let pairs = parameters
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty());
        let parse = |pair: &str| {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                format!(
                    "rule {}: '{pair}' is no parameter; write name=value, with commas between",
                    known.name
                )
            })?;
            let key = key.trim().replace('-', "_");
            match known.parameters.contains(&key.as_str()) || COMMON.contains(&key.as_str()) {
                true => Ok((key, value.trim().to_string())),
                false => Err(format!(
                    "rule {} has no parameter '{key}'; it has {}",
                    known.name,
                    [known.parameters, &COMMON].concat().join(", ")
                )),
            }
        };
        let spec = RuleSpec {
            name: known.name.to_string(),
            parameters: pairs.map(parse).collect::<Result<_, String>>()?,
        };
        // A wrong value is told now; what another run holds is looked up when it is needed.
        if !spec.parameters.iter().any(|(key, _)| key == "other_trials") {
            build(&spec)?;
        }
        Ok(spec)
    }
}

/// Makes a rule.
///
/// # Errors
/// A parameter that has another type, or a run to compare with that cannot be read; the rule and the parameter are named.
fn build(spec: &RuleSpec) -> Result<Box<dyn Rule>, String> {
    let known = known(&spec.name)?;
    let values = spec.parameters.iter();
    let values = values.map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    let options = Options(Parameters::new(
        format!("rule {}", known.name),
        values.collect::<Map<_, _>>(),
    ));
    (known.make)(&options)
}

/// The parameters of a rule, with defaults.
pub struct Options(Parameters);

impl Options {
    pub fn text(&self, key: &str) -> Option<String> {
        self.0.text(key).ok().flatten()
    }

    pub fn number(&self, key: &str, default: f64) -> Result<f64, String> {
        let value = self.0.number(key).map_err(|error| error.to_string())?;
        Ok(value.unwrap_or(default))
    }

    pub fn count(&self, key: &str, default: usize) -> Result<usize, String> {
        let value = self.0.count(key).map_err(|error| error.to_string())?;
        Ok(value.unwrap_or(default))
    }

    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, String> {
        let value = self.0.boolean(key).map_err(|error| error.to_string())?;
        Ok(value.unwrap_or(default))
    }
}

/// The expression for the names of the tensors that a rule looks at.
pub fn expression(options: &Options, default: &str) -> Result<Regex, String> {
    expression_of(options, "tensor_regex", default)
}

/// The same by a parameter of another name.
pub fn expression_of(options: &Options, key: &str, default: &str) -> Result<Regex, String> {
    let text = options.text(key).unwrap_or_else(|| default.to_string());
    Regex::new(&text).map_err(|error| {
        options
            .0
            .error(key, format!("'{text}': {error}"))
            .to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let list: RuleList = text.parse().unwrap();
        list.rules.into_iter().map(|rule| rule.name).collect()
    }

    #[test]
    fn lists_in_every_spelling() {
        let both = ["VanishingGradient", "StalledTraining"];
        assert_eq!(names("VanishingGradient;StalledTraining"), both);
        assert_eq!(names(" vanishing_gradient ; StalledTrainingRule;"), both);
        assert_eq!(names("all").len(), KNOWN.len() - 1);
        assert_eq!(names("none"), [""; 0]);
        assert!(names("usual").len() > 5);
        let list: RuleList = "Overfit:patience=3, ratio-threshold=0.2".parse().unwrap();
        assert_eq!(
            list.rules[0].parameters[1],
            ("ratio_threshold".into(), "0.2".into())
        );
        assert_eq!(list.to_string(), "Overfit:patience=3, ratio-threshold=0.2");
    }

    #[test]
    fn every_rule_can_be_made_and_says_what_it_is() {
        for spec in RuleList::all() {
            let rule = build(&spec).unwrap();
            assert_eq!(rule.name(), spec.name);
            assert!(
                !rule.advice().is_empty() && !rule.needs().is_empty(),
                "{}",
                spec.name
            );
            let known = known(&spec.name).unwrap();
            for (name, _) in rule.parameters() {
                assert!(known.parameters.contains(&name), "{} {name}", spec.name);
            }
        }
    }

    #[test]
    fn errors_name_rule_parameter_and_fix() {
        for (text, parts) in [
            ("Overfitting", vec!["Overfitting", "known are", "Overfit"]),
            ("Overfit:patience", vec!["Overfit", "name=value"]),
            ("Overfit:steps=3", vec!["steps", "ratio_threshold"]),
            ("Overfit:patience=long", vec!["patience", "long"]),
            ("AllZero:tensor_regex=(", vec!["tensor_regex", "AllZero"]),
            ("SimilarAcrossRuns", vec!["other_trials"]),
            ("", vec!["usual"]),
        ] {
            let error = text.parse::<RuleList>().unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{part} in {error}");
            }
        }
    }
}
