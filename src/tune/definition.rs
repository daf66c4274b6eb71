//! What a study searches, and how.
//!
//! Input: what was asked for. Output: [`Definition`], and the first thing in which two of them differ.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::objective::Objective;
use super::space::{Space, Values};
use super::stopping::StopRule;
use super::strategy::StrategyKind;

/// Everything that decides which trials there are and how they end. A study goes on only with the very same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    pub data: PathBuf,
    pub space: Space,
    pub strategy: StrategyKind,
    pub objective: Objective,
    pub early_stopping: StopRule,
    pub seed: u64,
    /// Settings that are the same in every trial, those that were said.
    pub fixed: Values,
}

impl Definition {
    /// The first thing in which `self`, which a study has, differs from `other`: its name, and both texts.
    pub(super) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let json = |definition: &Self| match serde_json::to_value(definition) {
            Ok(serde_json::Value::Object(mut map)) => {
                map.insert("space".into(), definition.space.to_string().into());
                map
            }
            _ => Default::default(),
        };
        let text = |value: Option<&serde_json::Value>| match value {
            None => "nothing".to_string(),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let names = self.fixed.keys().chain(other.fixed.keys());
        for name in names {
            let [there, now] = [self, other].map(|definition| definition.fixed.get(name));
            if there != now {
                let shown = |value: Option<&String>| value.map_or("not set", |v| v).to_string();
                return Some((format!("--{name}"), shown(there), shown(now)));
            }
        }
        let (there, now) = (json(self), json(other));
        let differs = there
            .iter()
            .find(|(name, value)| now.get(*name) != Some(value));
        differs.map(|(name, value)| {
            let shown = name.replace('_', "-");
            (shown, text(Some(value)), text(now.get(name)))
        })
    }
}
