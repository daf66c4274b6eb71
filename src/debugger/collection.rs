//! Collections: groups of tensors that are saved alike.
//!
//! Input: a name and its parameters. Output: [`Collection`], which says by the name of a tensor whether it belongs.

use fancy_regex::Regex;
use serde_json::{Value, json};

use super::parameters::{ParameterError, Parameters};
use super::reduction::Reduction;
use super::save::SaveConfig;

/// Collections that need no `include_regex`: Amazon's, and those of our tensors that its rules look for.
const KNOWN: [(&str, &str); 14] = [
    ("losses", "[Ll]oss_(?!input).*output"),
    ("weights", "^(?!gradient).*weight"),
    ("biases", "^(?!gradient).*bias"),
    ("gradients", "^gradient"),
    ("all", ".*"),
    ("default", ""),
    ("inputs", "^ResNet_input"),
    ("outputs", "^ResNet_output"),
    ("layers", "_output_"),
    ("labels", "^labels$"),
    ("predictions", "^predictions$"),
    ("metrics", "^scalar/"),
    ("relu_input", ".*relu_input"),
    ("relu_output", ".*relu_output"),
];

/// Collections of single numbers: saved as they are, whatever reductions are asked for.
const SCALARS: [&str; 2] = ["losses", "metrics"];

/// What of a tensor is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub raw: bool,
    pub shape: bool,
    pub reductions: Vec<Reduction>,
    /// Whether TensorBoard gets a histogram of it.
    pub histogram: bool,
}

impl Default for Saved {
    fn default() -> Self {
        Saved {
            raw: true,
            shape: false,
            reductions: Vec::new(),
            histogram: true,
        }
    }
}

impl Saved {
    /// What either asks for.
    pub fn and(mut self, other: &Saved) -> Self {
        self.raw |= other.raw;
        self.shape |= other.shape;
        self.histogram |= other.histogram;
        let more = other
            .reductions
            .iter()
            .filter(|kind| !self.reductions.contains(kind));
        let more: Vec<Reduction> = more.copied().collect();
        self.reductions.extend(more);
        self
    }

    /// What the parameters say of it; `self` where they are silent.
    ///
    /// # Errors
    /// A reduction that is not known, a boolean that is none.
    pub fn overridden(&self, parameters: &Parameters) -> Result<Self, ParameterError> {
        let mut saved = self.clone();
        if let Some(names) = parameters.list("reductions")? {
            let parsed = names.iter().map(|name| name.parse());
            saved.reductions = parsed
                .collect::<Result<_, String>>()
                .map_err(|problem| parameters.error("reductions", format!(": {problem}")))?;
            // As Amazon's reader of this file has it: whoever names reductions gets those alone.
            saved.raw = saved.reductions.is_empty();
        }
        saved.raw = parameters.boolean("save_raw_tensor")?.unwrap_or(saved.raw);
        saved.shape = parameters.boolean("save_shape")?.unwrap_or(saved.shape);
        let histogram = parameters.boolean("save_histogram")?;
        saved.histogram = histogram.unwrap_or(saved.histogram);
        Ok(saved)
    }
}

/// A group of tensors.
#[derive(Clone, Debug)]
pub struct Collection {
    pub name: String,
    patterns: Vec<(String, Regex)>,
    pub saved: Saved,
    pub save: SaveConfig,
}

impl Collection {
    /// A collection without members, saved whole.
    pub fn empty(name: &str, save: SaveConfig) -> Self {
        Collection {
            name: name.to_string(),
            patterns: Vec::new(),
            saved: Saved {
                histogram: !SCALARS.contains(&name),
                ..Saved::default()
            },
            save,
        }
    }

    /// A collection of a known name, saved whole.
    pub fn known(name: &str, save: SaveConfig) -> Option<Self> {
        let (_, pattern) = KNOWN.iter().find(|(known, _)| *known == name)?;
        let mut collection = Self::empty(name, save);
        if !pattern.is_empty() {
            collection.include(pattern).ok()?;
        }
        Some(collection)
    }

    /// As a configuration file describes it; `defaults` holds what the hook says.
    ///
    /// # Errors
    /// A parameter that cannot be used, a name that is not known and has no expression.
    pub fn configured(
        name: &str,
        parameters: &Parameters,
        save: &SaveConfig,
        defaults: &Saved,
    ) -> Result<Self, ParameterError> {
        let save = save.overridden(parameters)?;
        let expressions = parameters.list("include_regex")?.unwrap_or_default();
        let mut collection = match Self::known(name, save.clone()) {
            Some(collection) => collection,
            None if expressions.is_empty() => {
                let known: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
                return Err(parameters.error(
                    "include_regex",
                    format!(
                        "is missing: '{name}' is not one of the known collections {}, so an expression must say which tensors belong to it",
                        known.join(", ")
                    ),
                ));
            }
            None => Self::empty(name, save),
        };
        for expression in &expressions {
            collection
                .include(expression)
                .map_err(|error| parameters.error("include_regex", format!(": {error}")))?;
        }
        if !SCALARS.contains(&name) {
            collection.saved = defaults.overridden(parameters)?;
        }
        Ok(collection)
    }

    /// Adds a regular expression in Python's dialect.
    ///
    /// # Errors
    /// Why it is none.
    pub fn include(&mut self, expression: &str) -> Result<(), String> {
        let regex = Regex::new(expression).map_err(|error| format!("'{expression}': {error}"))?;
        self.patterns.push((expression.to_string(), regex));
        Ok(())
    }

    /// Whether a tensor of this name belongs.
    pub fn contains(&self, tensor: &str) -> bool {
        self.patterns
            .iter()
            // An expression that runs out of steps on a name does not match it.
            .any(|(_, regex)| regex.is_match(tensor).unwrap_or(false))
    }

    /// As `worker_N_collections.json` has it.
    pub fn to_json(&self, tensors: &[&str]) -> Value {
        let reductions: Vec<String> = self
            .saved
            .reductions
            .iter()
            .map(|r| r.to_string())
            .collect();
        let patterns: Vec<&String> = self.patterns.iter().map(|(pattern, _)| pattern).collect();
        json!({
            "name": self.name,
            "include_regex": patterns,
            "tensor_names": tensors,
            "reduction_config": {
                "save_raw_tensor": self.saved.raw,
                "reductions": reductions.join(","),
                "save_shape": self.saved.shape,
            },
            "save_config": self.save.to_json(),
            "save_histogram": self.saved.histogram,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(text: &str) -> Parameters {
        Parameters::new("collection x", serde_json::from_str(text).unwrap())
    }

    fn configured(name: &str, text: &str) -> Result<Collection, ParameterError> {
        let every = SaveConfig::every(1);
        Collection::configured(name, &parameters(text), &every, &Saved::default())
    }

    #[test]
    fn known_collections_hold_what_amazons_do() {
        let holds =
            |collection: &str, tensor: &str| configured(collection, "{}").unwrap().contains(tensor);
        assert!(holds("weights", "ResNet_layer1.0.conv1.weight"));
        assert!(!holds("weights", "gradient/ResNet_fc.weight"));
        assert!(holds("gradients", "gradient/ResNet_fc.weight"));
        assert!(holds("losses", "CrossEntropyLoss_output_0"));
        assert!(!holds("losses", "CrossEntropyLoss_input_0"));
        assert!(holds("relu_output", "layer1.0.relu_output_1"));
        assert!(!holds("default", "anything"));
    }

    #[test]
    fn reductions_replace_the_tensor_unless_it_is_asked_for() {
        let saved = |text: &str| configured("weights", text).unwrap().saved;
        assert!(saved("{}").raw);
        let reduced = saved(r#"{"reductions":"abs_mean, l2_norm"}"#);
        assert!(!reduced.raw && reduced.reductions.len() == 2);
        assert!(saved(r#"{"reductions":"max","save_raw_tensor":"True"}"#).raw);
        // A loss is a single number.
        let losses = configured("losses", r#"{"reductions":"max"}"#).unwrap();
        assert!(losses.saved.raw && losses.saved.reductions.is_empty());
    }

    #[test]
    fn own_collections_need_an_expression_that_is_one() {
        let own = configured("mine", r#"{"include_regex":"relu,fc_(?!input)"}"#).unwrap();
        assert!(own.contains("layer1.0.relu_input_0") && own.contains("fc_output_0"));
        assert!(!own.contains("fc_input_0"));
        for (text, part) in [("{}", "mine"), (r#"{"include_regex":"(x"}"#, "(x")] {
            let error = configured("mine", text).unwrap_err().to_string();
            assert!(
                error.contains("include_regex") && error.contains(part),
                "{error}"
            );
        }
    }
}
