//! The settings of a resumed run.
//!
//! Input: the settings in a run's `args.json`. Output: a [`Layer`] below the command line, and the check that nothing was
//! changed that a checkpoint cannot follow.

use super::{ConfigError, Layer, Resolved, Setting, Source};

/// What may differ from the run that is continued: how long it goes on and where it runs, not what is computed.
const FREE: [&str; 16] = [
    "epochs",
    "checkpoint-interval",
    "early-stopping-patience",
    "early-stopping-min-epochs",
    "top-k",
    "report-best",
    "examples",
    "debugger",
    "debugger-save-interval",
    "rules",
    "rules-action",
    "profiler",
    "device",
    "workers",
    "cache-mb",
    "strict",
];

/// Defaults that were derived from the machine; a resumed run may be on another one.
const OF_THE_MACHINE: [&str; 2] = ["workers", "cache-mb"];

/// Whether a setting differs only because its default follows the number of epochs, which may differ.
fn follows_epochs(setting: &Setting, old: &Setting) -> bool {
    let is_default = |setting: &Setting| setting.source.starts_with("default");
    setting.name == "lr-scheduler-step" && is_default(setting) && is_default(old)
}

/// What the run was told before.
///
/// # Errors
/// A value that this version does not accept, named with its key.
pub fn resumed_layer(run: &str, settings: &[Setting]) -> Result<Layer, ConfigError> {
    let told = settings.iter().filter(|s| {
        !(OF_THE_MACHINE.contains(&s.name.as_str()) && s.source.starts_with("default"))
    });
    let pairs = told.map(|s| (s.name.clone(), s.value.clone()));
    Layer::from_pairs(Source::Resumed(run.to_string()), pairs)
}

/// Makes sure that a resumed run computes what it did before, and puts the first origin of each value back. `advice` ends the
/// message about a setting that differs.
///
/// # Errors
/// [`ConfigError::Conflict`] naming a setting that differs and must not.
pub fn settle_resumed(
    resolved: &mut Resolved,
    before: &[Setting],
    advice: &str,
) -> Result<(), ConfigError> {
    for setting in &mut resolved.settings {
        let Some(old) = before.iter().find(|old| old.name == setting.name) else {
            continue;
        };
        if old.value == setting.value {
            setting.source.clone_from(&old.source);
        } else if !FREE.contains(&setting.name.as_str()) && !follows_epochs(setting, old) {
            return Err(ConfigError::Conflict(format!(
                "--{} {}: the run was started with {}, and its checkpoint cannot go on with another value; {advice}",
                setting.name, setting.value, old.value
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;

    fn layer(pairs: &[(&str, &str)]) -> Layer {
        let pairs = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        Layer::from_pairs(Source::CommandLine, pairs).unwrap()
    }

    fn resumed(first: &[(&str, &str)], then: &[(&str, &str)]) -> Result<Resolved, ConfigError> {
        let mut before = resolve(&[layer(first)])?.settings;
        // A run notes the network once its weights are read.
        let model = before.iter_mut().find(|s| s.name == "model").unwrap();
        model.value = "resnet18".into();
        let mut resolved = resolve(&[layer(then), resumed_layer("runs/train-1", &before)?])?;
        settle_resumed(&mut resolved, &before, "leave the flag out")?;
        Ok(resolved)
    }

    #[test]
    fn settings_come_back_with_their_first_origin() {
        let resolved =
            resumed(&[("batch-size", "8"), ("epochs", "3")], &[("epochs", "5")]).unwrap();
        assert_eq!((resolved.config.batch_size, resolved.config.epochs), (8, 5));
        let source = |name: &str| {
            let setting = resolved.settings.iter().find(|s| s.name == name);
            setting.unwrap().source.clone()
        };
        assert_eq!(source("momentum"), "default");
        assert_eq!(source("batch-size"), "command line");
    }

    #[test]
    fn what_a_checkpoint_cannot_follow_is_refused_by_name() {
        for (flag, value) in [
            ("optimizer", "sgd"),
            ("batch-size", "4"),
            ("seed", "7"),
            ("freeze", "false"),
        ] {
            let error = resumed(&[], &[(flag, value)]).unwrap_err().to_string();
            assert!(error.contains(&format!("--{flag} {value}")), "{error}");
        }
        assert!(resumed(&[], &[("device", "cpu")]).is_ok());
    }
}
