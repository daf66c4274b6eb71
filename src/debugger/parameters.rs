//! The parameters of a hook or a collection, which SageMaker sends as strings.
//!
//! Input: a JSON object whose values are strings, numbers or booleans. Output: numbers, lists and booleans, or an error that names
//! the key.

use serde_json::{Map, Value};

/// A parameter that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {key} {problem}")]
pub struct ParameterError {
    /// Where it stands, such as `HookParameters`.
    pub place: String,
    pub key: String,
    pub problem: String,
}

/// Parameters and where they stand.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    place: String,
    values: Map<String, Value>,
}

impl Parameters {
    pub fn new(place: impl Into<String>, values: Map<String, Value>) -> Self {
        Parameters {
            place: place.into(),
            values,
        }
    }

    pub fn error(&self, key: &str, problem: impl Into<String>) -> ParameterError {
        ParameterError {
            place: self.place.clone(),
            key: key.to_string(),
            problem: problem.into(),
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The text of a value; `None` where the key is missing or null.
    pub fn text(&self, key: &str) -> Result<Option<String>, ParameterError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_string())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(value)) => Ok(Some(value.to_string())),
            Some(_) => Err(self.error(key, "must be a string, a number or a boolean")),
        }
    }

    pub fn count(&self, key: &str) -> Result<Option<usize>, ParameterError> {
        let parse = |text: String| {
            text.parse()
                .map_err(|_| self.error(key, format!("must be a whole number, not '{text}'")))
        };
        self.text(key)?.map(parse).transpose()
    }

    pub fn number(&self, key: &str) -> Result<Option<f64>, ParameterError> {
        let parse = |text: String| {
            text.parse()
                .map_err(|_| self.error(key, format!("must be a number, not '{text}'")))
        };
        self.text(key)?.map(parse).transpose()
    }

    /// A boolean in any of the spellings that people and Python use.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, ParameterError> {
        let parse = |text: String| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(self.error(key, format!("must be true or false, not '{text}'"))),
        };
        self.text(key)?.map(parse).transpose()
    }

    /// Texts with commas between.
    pub fn list(&self, key: &str) -> Result<Option<Vec<String>>, ParameterError> {
        let split = |text: String| {
            let parts = text.split(',').map(str::trim);
            parts
                .filter(|part| !part.is_empty())
                .map(str::to_string)
                .collect()
        };
        Ok(self.text(key)?.map(split))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(text: &str) -> Parameters {
        Parameters::new("here", serde_json::from_str(text).unwrap())
    }

    #[test]
    fn strings_and_plain_values_are_equal() {
        let p = parameters(r#"{"a":"True","b":false,"c":"12","d":12,"e":" x, y,","f":null}"#);
        assert_eq!(p.boolean("a"), Ok(Some(true)));
        assert_eq!(p.boolean("b"), Ok(Some(false)));
        assert_eq!((p.count("c"), p.count("d")), (Ok(Some(12)), Ok(Some(12))));
        assert_eq!(p.list("e"), Ok(Some(vec!["x".into(), "y".into()])));
        assert_eq!((p.text("f"), p.text("g")), (Ok(None), Ok(None)));
    }

    #[test]
    fn wrong_values_are_named() {
        let p = parameters(r#"{"a":"maybe","b":[1],"c":"1.5"}"#);
        for error in [
            p.boolean("a").unwrap_err(),
            p.text("b").unwrap_err(),
            p.count("c").unwrap_err(),
        ] {
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("here: {}", error.key)),
                "{error}"
            );
        }
        assert_eq!(p.number("c"), Ok(Some(1.5)));
    }
}
