//! Hyperparameters as SageMaker's clients write them.
//!
//! Input: `hyperparameters.json` (a flat object of strings) and `SM_HP_*` variables. Output: [`Layer`]s. The Python
//! SDKs encode values in several ways (`"32"`, `"\"32\""`, `"True"`, a list in a string): a value that is a JSON string
//! is unwrapped, anything else is taken as its text.

use std::path::Path;

use serde_json::Value;

use super::{ConfigError, Layer, Source};
use crate::sagemaker::Environment;

/// Keys that SageMaker and its SDKs add for their own purposes.
fn reserved(name: &str) -> bool {
    name.starts_with("sagemaker_") || name == "_tuning_objective_metric"
}

/// Reads a file of hyperparameters.
///
/// # Errors
/// A file that cannot be read or is not a flat JSON object, and any bad value, named with its key.
pub fn read_file(path: &Path) -> Result<Layer, ConfigError> {
    let source = Source::HyperparametersFile(path.display().to_string());
    Layer::from_pairs(source, read_pairs(path)?)
}

/// The names and texts in a file of hyperparameters, without the keys that SageMaker and its SDKs add.
///
/// # Errors
/// A file that cannot be read or is not a flat JSON object.
pub fn read_pairs(path: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let name = path.display().to_string();
    let file_error = |message: String| ConfigError::File {
        path: name.clone(),
        message,
    };
    let text = std::fs::read_to_string(path).map_err(|error| file_error(error.to_string()))?;
    let value: Value =
        serde_json::from_str(&text).map_err(|error| file_error(format!("not JSON: {error}")))?;
    let Value::Object(map) = value else {
        return Err(file_error(
            "expected one JSON object such as {\"epochs\": \"3\"}".into(),
        ));
    };
    let pairs = map
        .into_iter()
        .filter(|(key, _)| !reserved(key))
        .map(|(key, value)| {
            let text = plain_text(value);
            (key, text)
        });
    Ok(pairs.collect())
}

/// The layer of `SM_HP_<NAME>` variables, which Amazon's Python toolkit derives from hyperparameters, and of `SM_HPS`, which holds
/// all of them.
///
/// # Errors
/// A bad value, named with its key, and an `SM_HPS` that is no JSON object.
pub fn from_environment(environment: &Environment) -> Result<Layer, ConfigError> {
    let all = match environment
        .iter()
        .find(|(key, value)| *key == "SM_HPS" && !value.is_empty())
    {
        None => Vec::new(),
        Some((_, value)) => {
            let map: serde_json::Map<String, Value> =
                serde_json::from_str(value).map_err(|error| ConfigError::Value {
                    source_name: "SM_HPS".into(),
                    message: format!("expected a JSON object of hyperparameters: {error}"),
                })?;
            let named = map.into_iter().filter(|(key, _)| !reserved(key));
            named.map(|(key, value)| (key, plain_text(value))).collect()
        }
    };
    let mut pairs: Vec<(String, String)> = environment
        .iter()
        .filter_map(|(key, value)| {
            let name = key.strip_prefix("SM_HP_")?.to_ascii_lowercase();
            (!reserved(&name)).then(|| (name, plain_text(Value::String(value.into()))))
        })
        .collect();
    pairs.sort();
    let pairs = all.into_iter().chain(pairs);
    Layer::from_pairs(Source::Environment, pairs)
}

/// The text of a value, unwrapped from one or two layers of JSON string encoding.
pub fn plain_text(value: Value) -> String {
    match value {
        Value::String(text) => match serde_json::from_str::<Value>(&text) {
            Ok(Value::String(inner)) => plain_text(Value::String(inner)),
            _ => text,
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::TrainFlags;
    use crate::config::OptimizerKind;

    fn parsed(json: &str) -> TrainFlags {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json).unwrap();
        read_file(file.path()).unwrap().flags
    }

    #[test]
    fn every_encoding_gives_the_same_values() {
        let forms = [
            r#"{"epochs":"3","batch-size":"8","optimizer":"adam","freeze":"True","lr":"0.001"}"#,
            r#"{"epochs":"\"3\"","batch_size":"\"8\"","optimizer":"\"adam\"","freeze":"true","lr":"\"0.001\""}"#,
            r#"{"epochs":3,"mini-batch-size":8,"optimizer":"adam","freeze":true,"learning-rate":0.001}"#,
            r#"{"epochs":"3.0","batch-size":"8","optimizer":"adam","freeze":"1","lr":"1e-3",
               "sagemaker_job_name":"\"j\"","_tuning_objective_metric":"validation:accuracy"}"#,
        ];
        for form in forms {
            let flags = parsed(form);
            assert_eq!(flags.epochs, Some(3), "{form}");
            assert_eq!(flags.batch_size, Some(8), "{form}");
            assert_eq!(flags.optimizer, Some(OptimizerKind::Adam), "{form}");
            assert!(flags.freeze.unwrap().0, "{form}");
            assert_eq!(flags.learning_rate, Some(0.001), "{form}");
        }
    }

    #[test]
    fn files_that_are_not_flat_objects_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["[1]", "{", ""] {
            std::fs::write(file.path(), text).unwrap();
            let error = read_file(file.path()).unwrap_err().to_string();
            assert!(
                error.contains(&file.path().display().to_string()),
                "{error}"
            );
        }
        assert!(
            read_file(Path::new("/no/such/file.json"))
                .unwrap_err()
                .to_string()
                .contains("/no/such/file.json")
        );
    }

    #[test]
    fn environment_names_are_upper_case_with_either_separator() {
        let vars = [
            ("SM_HP_BATCH-SIZE", "8"),
            ("SM_HP_WEIGHT_DECAY", "0.1"),
            ("HOME", "/"),
            (
                "SM_HPS",
                r#"{"seed": "7", "batch-size": "9", "sagemaker_region": "x"}"#,
            ),
        ];
        let layer = from_environment(&Environment::of(vars)).unwrap();
        assert_eq!(
            (
                layer.flags.batch_size,
                layer.flags.weight_decay,
                layer.flags.seed
            ),
            (Some(8), Some(0.1), Some(7))
        );
    }
}
