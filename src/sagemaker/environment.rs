//! The environment of a job, and the `SM_*` variables that Amazon's Python toolkit would derive.
//!
//! Input: the process's variables, or a [`Job`]. Output: [`Environment`], and names with values. SageMaker itself sets no
//! `SM_*` variable; scripts that come from framework containers expect them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{InputMode, Job};

/// Environment variables. A value that is empty counts as not set.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process. What is not UTF-8 is left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os();
        let texts =
            variables.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Environment(texts.collect())
    }

    /// The given ones.
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Environment(
            variables
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .into(),
        )
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.trim().is_empty())
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

/// The variables that Amazon's toolkit would set for `job`, from `hyperparameters` as they stand in their file and the number
/// of usable GPUs. Names of hyperparameters are only put in upper case, so `batch-size` becomes `SM_HP_BATCH-SIZE`.
pub fn derived_variables(
    job: &Job,
    hyperparameters: &serde_json::Map<String, Value>,
    gpus: usize,
) -> BTreeMap<String, String> {
    let paths = &job.paths;
    let path = |path: &std::path::Path| path.display().to_string();
    let names: Vec<&str> = job.channels.iter().map(|c| c.name.as_str()).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let resources = &job.resources;
    let mut variables = BTreeMap::from([
        ("SM_MODEL_DIR".to_string(), path(&paths.model)),
        ("SM_OUTPUT_DATA_DIR".into(), path(&paths.output_data)),
        ("SM_OUTPUT_DIR".into(), path(&paths.base().join("output"))),
        ("SM_INPUT_DIR".into(), path(&paths.base().join("input"))),
        ("SM_INPUT_CONFIG_DIR".into(), path(&paths.config_file(""))),
        ("SM_CHANNELS".into(), json!(names).to_string()),
        ("SM_HOSTS".into(), json!(resources.hosts).to_string()),
        ("SM_CURRENT_HOST".into(), resources.current_host.clone()),
        ("SM_NUM_GPUS".into(), gpus.to_string()),
        ("SM_NUM_CPUS".into(), cores.to_string()),
        (
            "SM_HPS".into(),
            Value::Object(hyperparameters.clone()).to_string(),
        ),
    ]);
    for channel in job.channels.iter() {
        let name = format!("SM_CHANNEL_{}", channel.name.to_uppercase());
        let place = match channel.mode {
            InputMode::Pipe => paths.channel(&channel.name),
            InputMode::File | InputMode::FastFile => channel.path.clone(),
        };
        variables.insert(name, path(&place));
    }
    for (name, value) in hyperparameters {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        variables.insert(format!("SM_HP_{}", name.to_uppercase()), text);
    }
    variables
}
