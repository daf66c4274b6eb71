//! What is saved: SageMaker's `debughookconfig.json`, or a file like it.
//!
//! Input: JSON. Output: [`HookConfig`]. Every value may be a string, as the service sends them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::collection::{Collection, Saved};
use super::parameters::{ParameterError, Parameters};
use super::save::{SAVE_INTERVAL, SaveConfig};
use crate::sagemaker::{JobError, read_object};

/// Parameters of a hook besides those of [`SaveConfig`].
const HOOK_PARAMETERS: [&str; 8] = [
    "include_regex",
    "include_workers",
    "reductions",
    "save_raw_tensor",
    "save_shape",
    "save_all",
    "save_histogram",
    "export_tensorboard",
];
const SAVE_PARAMETERS: [&str; 4] = ["save_interval", "save_steps", "start_step", "end_step"];

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HookConfigError {
    #[error("{path} cannot be read: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Json(#[from] JobError),
    #[error("{path}: {source}")]
    Parameter {
        path: PathBuf,
        source: ParameterError,
    },
}

/// What is saved, when, and where.
#[derive(Clone, Debug)]
pub struct HookConfig {
    /// The folder that is written, where the file says so.
    pub local_path: Option<PathBuf>,
    pub collections: Vec<Collection>,
}

impl HookConfig {
    /// What people look at when training goes wrong. Small tensors are saved every `small` steps, those that together take as much
    /// as two networks every `large`.
    pub fn usual(small: usize, large: usize) -> Self {
        let each = |names: &[&str], interval| -> Vec<Collection> {
            let known = |name: &&str| Collection::known(name, SaveConfig::every(interval));
            names.iter().filter_map(known).collect()
        };
        let mut collections = each(&["losses", "labels", "predictions", "metrics"], small);
        collections.extend(each(&["weights", "biases", "gradients"], large));
        HookConfig {
            local_path: None,
            collections,
        }
    }

    /// Reads a file; `Ok(None)` where it holds `null`, an empty object or nothing, which is how SageMaker says that nothing is
    /// asked for.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub fn read(path: &Path) -> Result<Option<Self>, HookConfigError> {
        // For a job no file is nothing asked for; here it was named.
        std::fs::metadata(path).map_err(|source| HookConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let Some(file) = read_object(path)?.filter(|file| !file.is_empty()) else {
            return Ok(None);
        };
        Self::of_json(&file)
            .map(Some)
            .map_err(|source| HookConfigError::Parameter {
                path: path.to_owned(),
                source,
            })
    }

    fn of_json(file: &Map<String, Value>) -> Result<Self, ParameterError> {
        let top = Parameters::new("the file", file.clone());
        let hook = Parameters::new("HookParameters", object(&top, file.get("HookParameters"))?);
        warn_of_unknown(&hook);
        let save = SaveConfig::every(SAVE_INTERVAL).overridden(&hook)?;
        let mut saved = Saved::default().overridden(&hook)?;
        saved.histogram &= hook.boolean("export_tensorboard")?.unwrap_or(true);
        let mut collections = Vec::new();
        for described in array(&top, file.get("CollectionConfigurations"))? {
            collections.push(collection(&top, described, &save, &saved)?);
        }
        let has =
            |collections: &[Collection], name: &str| collections.iter().any(|c| c.name == name);
        // A loss is always worth its eight bytes.
        if !has(&collections, "losses") {
            collections.extend(Collection::known("losses", save.clone()));
        }
        let everything = hook.boolean("save_all")?.unwrap_or(false);
        if everything && !has(&collections, "all") {
            let none = Parameters::default();
            collections.push(Collection::configured("all", &none, &save, &saved)?);
        }
        if hook
            .list("include_regex")?
            .is_some_and(|list| !list.is_empty())
        {
            let mut own = Collection::configured("default", &hook, &save, &saved)?;
            own.save = save;
            collections.push(own);
        }
        if let Some(workers) = hook.text("include_workers")?
            && !["one", "all"].contains(&workers.as_str())
        {
            return Err(hook.error(
                "include_workers",
                format!("must be one or all, not '{workers}'"),
            ));
        }
        Ok(HookConfig {
            local_path: top
                .text("LocalPath")?
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            collections,
        })
    }
}

fn collection(
    top: &Parameters,
    described: &Value,
    save: &SaveConfig,
    saved: &Saved,
) -> Result<Collection, ParameterError> {
    let name = described.get("CollectionName").and_then(Value::as_str);
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(top.error(
            "CollectionConfigurations",
            "has an entry without CollectionName",
        ));
    };
    let values = object(top, described.get("CollectionParameters"))?;
    let parameters = Parameters::new(format!("collection '{name}'"), values);
    warn_of_unknown(&parameters);
    Collection::configured(name, &parameters, save, saved)
}

/// An object; an empty one where there is none.
fn object(place: &Parameters, value: Option<&Value>) -> Result<Map<String, Value>, ParameterError> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(place.error("HookParameters and CollectionParameters", "must be objects")),
    }
}

fn array<'a>(place: &Parameters, value: Option<&'a Value>) -> Result<&'a [Value], ParameterError> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(place.error("CollectionConfigurations", "must be an array")),
    }
}

fn warn_of_unknown(parameters: &Parameters) {
    for key in parameters.keys() {
        let bare = key.split_once('.').map_or(key, |(_, bare)| bare);
        if !SAVE_PARAMETERS.contains(&bare) && !HOOK_PARAMETERS.contains(&key) {
            tracing::warn!("{}", parameters.error(key, "is unknown and ignored"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugger::ModeKey;

    fn read(text: &str) -> Result<Option<HookConfig>, HookConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debughookconfig.json");
        std::fs::write(&path, text).unwrap();
        HookConfig::read(&path)
    }

    fn named<'a>(config: &'a HookConfig, name: &str) -> &'a Collection {
        config.collections.iter().find(|c| c.name == name).unwrap()
    }

    #[test]
    fn the_file_of_a_job() {
        let config = read(
            r#"{"S3OutputPath":"s3://b/p","LocalPath":"/opt/ml/output/tensors",
                "HookParameters":{"train.save_interval":"100","eval.save_interval":"10"},
                "CollectionConfigurations":[
                  {"CollectionName":"gradients","CollectionParameters":{"save_interval":"500"}},
                  {"CollectionName":"relu","CollectionParameters":{"include_regex":"relu_output","reductions":"abs_mean","save_raw_tensor":"False"}}]}"#,
        );
        let config = config.unwrap().unwrap();
        assert_eq!(config.local_path, Some("/opt/ml/output/tensors".into()));
        assert!(named(&config, "losses").save.is_due(ModeKey::Train, 100));
        assert!(named(&config, "losses").save.is_due(ModeKey::Eval, 10));
        // What a collection says outranks the hook, also what the hook says of one mode.
        let gradients = &named(&config, "gradients").save;
        assert!(gradients.is_due(ModeKey::Train, 500) && !gradients.is_due(ModeKey::Train, 100));
        assert!(!named(&config, "relu").saved.raw);
    }

    #[test]
    fn nothing_asked_for() {
        for text in ["", " null ", "{}"] {
            assert!(read(text).unwrap().is_none(), "{text}");
        }
        let config = read(r#"{"S3OutputPath":"s3://b/p","HookParameters":null}"#);
        let config = config.unwrap().unwrap();
        assert_eq!(config.collections.len(), 1);
        assert!(named(&config, "losses").save.is_due(ModeKey::Train, 500));
    }

    #[test]
    fn everything_and_own_expressions() {
        let config = read(
            r#"{"HookParameters":{"save_all":"true","include_regex":"fc","save_interval":7}}"#,
        );
        let config = config.unwrap().unwrap();
        assert!(named(&config, "all").contains("anything"));
        assert!(named(&config, "default").contains("fc_output_0"));
        assert!(named(&config, "default").save.is_due(ModeKey::Eval, 7));
    }

    #[test]
    fn errors_name_file_place_and_key() {
        for (text, parts) in [
            ("[", vec!["debughookconfig.json"]),
            ("[]", vec!["object"]),
            (
                r#"{"HookParameters":{"save_interval":"often"}}"#,
                vec!["HookParameters", "save_interval", "often"],
            ),
            (
                r#"{"CollectionConfigurations":[{"CollectionName":"mine"}]}"#,
                vec!["mine", "include_regex"],
            ),
            (
                r#"{"CollectionConfigurations":[{}]}"#,
                vec!["CollectionName"],
            ),
            (
                r#"{"HookParameters":{"reductions":"median"}}"#,
                vec!["reductions", "median"],
            ),
            (
                r#"{"HookParameters":{"include_workers":"two"}}"#,
                vec!["include_workers", "two"],
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{part} in {error}");
            }
        }
    }
}
