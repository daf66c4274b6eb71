//! When tensors are saved.
//!
//! Input: the parameters of a hook or a collection. Output: [`SaveConfig`], which says whether a step is due.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::parameters::{ParameterError, Parameters};
use super::tensor::ModeKey;

/// Amazon's default.
pub const SAVE_INTERVAL: usize = 500;

/// When one mode saves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveRule {
    pub interval: usize,
    pub start: usize,
    /// The first step that is no longer saved.
    pub end: Option<usize>,
    /// Steps saved whatever the interval says.
    pub steps: BTreeSet<usize>,
}

impl SaveRule {
    pub fn every(interval: usize) -> Self {
        SaveRule {
            interval,
            start: 0,
            end: None,
            steps: BTreeSet::new(),
        }
    }

    fn is_due(&self, step: usize) -> bool {
        let within = step >= self.start && self.end.is_none_or(|end| step < end);
        self.steps.contains(&step) || (within && step.is_multiple_of(self.interval))
    }

    fn overridden(&self, prefix: &str, parameters: &Parameters) -> Result<Self, ParameterError> {
        let key = |name: &str| format!("{prefix}{name}");
        let or = |name, default| {
            Ok::<_, ParameterError>(parameters.count(&key(name))?.unwrap_or(default))
        };
        let interval = or("save_interval", self.interval)?;
        if interval == 0 {
            return Err(parameters.error(&key("save_interval"), "must be at least 1"));
        }
        let steps = match parameters.list(&key("save_steps"))? {
            None => self.steps.clone(),
            Some(list) => list
                .iter()
                .map(|step| step.parse().ok())
                .collect::<Option<_>>()
                .ok_or_else(|| {
                    parameters.error(
                        &key("save_steps"),
                        "must be step numbers with commas between",
                    )
                })?,
        };
        Ok(SaveRule {
            interval,
            start: or("start_step", self.start)?,
            end: parameters.count(&key("end_step"))?.or(self.end),
            steps,
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "start_step": self.start,
            "end_step": self.end,
            "save_interval": self.interval,
            "save_steps": self.steps,
        })
    }
}

/// When each mode saves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveConfig(BTreeMap<ModeKey, SaveRule>);

impl SaveConfig {
    /// Every mode alike.
    pub fn every(interval: usize) -> Self {
        let rule = |mode| (mode, SaveRule::every(interval));
        SaveConfig(ModeKey::ALL.map(rule).into())
    }

    /// Nothing of this mode.
    pub fn without(mut self, mode: ModeKey) -> Self {
        let never = SaveRule {
            end: Some(0),
            ..SaveRule::every(1)
        };
        self.0.insert(mode, never);
        self
    }

    /// Nothing from step `end` on.
    pub fn until(mut self, end: usize) -> Self {
        for rule in self.0.values_mut() {
            rule.end = Some(end);
        }
        self
    }

    /// With what the parameters say: for all modes, and by a prefix such as `train.` for one.
    ///
    /// # Errors
    /// A value that is no number of steps, named by its key.
    pub fn overridden(&self, parameters: &Parameters) -> Result<Self, ParameterError> {
        let mut rules = BTreeMap::new();
        for (mode, rule) in &self.0 {
            let rule = rule.overridden("", parameters)?;
            rules.insert(*mode, rule.overridden(mode.prefix(), parameters)?);
        }
        Ok(SaveConfig(rules))
    }

    /// Whether the step of this number, counted within its mode, is due.
    pub fn is_due(&self, mode: ModeKey, step: usize) -> bool {
        self.0[&mode].is_due(step)
    }

    /// As collection files have it.
    pub fn to_json(&self) -> Value {
        let rules = self.0.iter();
        let rules = rules.map(|(mode, rule)| (mode.name().to_string(), rule.to_json()));
        Value::Object(rules.collect::<Map<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<SaveConfig, ParameterError> {
        let pairs = pairs.iter().map(|(k, v)| (k.to_string(), Value::from(*v)));
        SaveConfig::every(SAVE_INTERVAL)
            .overridden(&Parameters::new("HookParameters", pairs.collect()))
    }

    fn due(config: &SaveConfig, mode: ModeKey) -> Vec<usize> {
        (0..30).filter(|step| config.is_due(mode, *step)).collect()
    }

    #[test]
    fn intervals_bounds_and_single_steps() {
        let every = config(&[("save_interval", "10")]).unwrap();
        assert_eq!(due(&every, ModeKey::Train), [0, 10, 20]);
        let bounded = config(&[
            ("save_interval", "4"),
            ("start_step", "5"),
            ("end_step", "16"),
            ("save_steps", "1, 2"),
        ]);
        assert_eq!(due(&bounded.unwrap(), ModeKey::Train), [1, 2, 8, 12]);
        assert_eq!(due(&config(&[]).unwrap(), ModeKey::Eval), [0]);
    }

    #[test]
    fn a_mode_may_differ() {
        let config = config(&[("save_interval", "10"), ("eval.save_interval", "15")]).unwrap();
        assert_eq!(due(&config, ModeKey::Train), [0, 10, 20]);
        assert_eq!(due(&config, ModeKey::Eval), [0, 15]);
    }

    #[test]
    fn bad_numbers_are_named() {
        for (key, value) in [
            ("save_interval", "0"),
            ("save_interval", "often"),
            ("train.start_step", "-1"),
            ("save_steps", "1;2"),
        ] {
            let error = config(&[(key, value)]).unwrap_err().to_string();
            assert!(
                error.contains(key) && error.contains("HookParameters"),
                "{error}"
            );
        }
    }
}
