//! One layer of configuration: what one source said, parsed by the same rules as the command line.
//!
//! Input: names and texts from `hyperparameters.json`, the environment or a resumed run. Output: [`Layer`]. Parsing
//! goes through clap's own definition of the flags, so a hyperparameter and its flag can never differ in name, alias,
//! accepted values or message.

use std::fmt;

use clap::{Args, Command, FromArgMatches};

use super::ConfigError;
use crate::cli::TrainFlags;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    CommandLine,
    Resumed(String),
    HyperparametersFile(String),
    Environment,
    /// A channel of a SageMaker job.
    Channel(String),
    /// How a SageMaker job differs from a run on a laptop.
    Job,
    Demo,
    /// The search space of a study.
    Space,
    Default,
    /// A default that depends on something else; the text says on what.
    Derived(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::CommandLine => f.write_str("command line"),
            Source::Resumed(run) => write!(f, "resumed run {run}"),
            Source::HyperparametersFile(path) => f.write_str(path),
            Source::Environment => f.write_str("environment"),
            Source::Channel(name) => write!(f, "channel {name}"),
            Source::Job => f.write_str("default (SageMaker job)"),
            Source::Demo => f.write_str("demo"),
            Source::Space => f.write_str("--space"),
            Source::Default => f.write_str("default"),
            Source::Derived(why) => write!(f, "default ({why})"),
        }
    }
}

/// What one source said.
#[derive(Clone, Debug)]
pub struct Layer {
    pub source: Source,
    pub flags: TrainFlags,
}

impl Layer {
    /// Parses the text of one hyperparameter, which must be known.
    ///
    /// # Errors
    /// A name that no hyperparameter has, with the nearest one that there is, or a value that its flag would refuse.
    pub fn of_known(source: Source, name: &str, value: &str) -> Result<Self, ConfigError> {
        let name = canonical_name(name).map_err(|message| ConfigError::Value {
            source_name: source.to_string(),
            message,
        })?;
        Self::from_pairs(source, [(name, value.to_string())])
    }

    /// Parses named texts. Unknown names are warned about and skipped, as a training job carries keys that are meant
    /// for others; a known name with a bad value is an error that names both.
    pub fn from_pairs(
        source: Source,
        pairs: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let command = flags_command();
        let mut argv = vec!["hyperparameters".to_string()];
        for (name, value) in pairs {
            let flag = name.trim().replace('_', "-");
            match long_names(&command).find(|known| *known == flag) {
                Some(known) => argv.push(format!("--{known}={}", value.trim())),
                None => tracing::warn!(
                    "{source}: unknown hyperparameter '{name}' is ignored{}",
                    did_you_mean(&command, &flag)
                ),
            }
        }
        let matches = command
            .try_get_matches_from(argv)
            .map_err(|error| ConfigError::Value {
                source_name: source.to_string(),
                message: plain_message(&error),
            })?;
        let flags = TrainFlags::from_arg_matches(&matches).map_err(|error| ConfigError::Value {
            source_name: source.to_string(),
            message: plain_message(&error),
        })?;
        Ok(Layer { source, flags })
    }
}

/// The name of a hyperparameter as its flag has it: `-` for `_`, and no alias.
///
/// # Errors
/// A sentence that says so of a name that no hyperparameter has, with the nearest one that there is.
pub fn canonical_name(name: &str) -> Result<String, String> {
    let command = flags_command();
    let flag = name.trim().replace('_', "-");
    let has_name = |arg: &&clap::Arg| {
        let names = arg.get_long_and_visible_aliases().unwrap_or_default();
        names.contains(&flag.as_str())
    };
    let found = command.get_arguments().find(has_name);
    match found.and_then(clap::Arg::get_long) {
        Some(long) => Ok(long.to_string()),
        None => Err(format!(
            "there is no hyperparameter '{name}'{}",
            did_you_mean(&command, &flag)
        )),
    }
}

fn flags_command() -> Command {
    // A key may be given twice under two spellings; the later one counts, as with every JSON reader.
    TrainFlags::augment_args(
        Command::new("hyperparameters")
            .no_binary_name(false)
            .args_override_self(true),
    )
}

fn long_names(command: &Command) -> impl Iterator<Item = &str> {
    command
        .get_arguments()
        .flat_map(|arg| arg.get_long_and_visible_aliases().unwrap_or_default())
}

/// `: did you mean 'batch-size'?` where a known name is near, else nothing.
fn did_you_mean(command: &Command, flag: &str) -> String {
    long_names(command)
        .map(|known| (strsim::jaro_winkler(known, flag), known))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| format!(": did you mean '{known}'?"))
        .unwrap_or_default()
}

/// clap's message without its `error:` prefix and usage lines, which speak of flags the reader never typed.
pub fn plain_message(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.split("\n\nUsage:")
        .next()
        .unwrap_or(text)
        .split("\n\nFor more")
        .next()
        .unwrap_or(text)
        .trim()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::Toggle;

    fn layer(pairs: &[(&str, &str)]) -> Result<Layer, ConfigError> {
        let pairs = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        Layer::from_pairs(
            Source::HyperparametersFile("hyperparameters.json".into()),
            pairs,
        )
    }

    #[test]
    fn dashes_underscores_and_aliases_are_equal() {
        for name in [
            "batch-size",
            "batch_size",
            "mini-batch-size",
            "mini_batch_size",
        ] {
            assert_eq!(
                layer(&[(name, "8")]).unwrap().flags.batch_size,
                Some(8),
                "{name}"
            );
        }
        assert_eq!(
            layer(&[("train_only_top_layer", "True")])
                .unwrap()
                .flags
                .freeze,
            Some(Toggle(true))
        );
        assert_eq!(
            layer(&[("lr", "1e-4")]).unwrap().flags.learning_rate,
            Some(1e-4)
        );
    }

    #[test]
    fn a_bad_value_names_the_key_the_value_and_the_choices() {
        let error = layer(&[("optimizer", "adammw")]).unwrap_err().to_string();
        for part in ["hyperparameters.json", "--optimizer", "adammw", "adamw"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        let error = layer(&[("batch-size", "many")]).unwrap_err().to_string();
        assert!(
            error.contains("--batch-size")
                && error.contains("many")
                && error.contains("whole number"),
            "{error}"
        );
        assert!(!error.contains("Usage"), "{error}");
    }

    #[test]
    fn unknown_names_are_skipped_and_near_ones_suggested() {
        assert_eq!(layer(&[("bach-size", "8")]).unwrap().flags.batch_size, None);
        assert_eq!(
            did_you_mean(&flags_command(), "bach-size"),
            ": did you mean 'batch-size'?"
        );
        assert_eq!(did_you_mean(&flags_command(), "zzz"), "");
    }

    #[test]
    fn names_are_canonical_or_refused() {
        for name in ["batch_size", "mini-batch-size", " batch-size"] {
            assert_eq!(canonical_name(name).unwrap(), "batch-size", "{name}");
        }
        let error = Layer::of_known(Source::Space, "bach-size", "8").unwrap_err();
        assert_eq!(
            error.to_string(),
            "--space: there is no hyperparameter 'bach-size': did you mean 'batch-size'?"
        );
        assert!(Layer::of_known(Source::Space, "lr", "0").is_err());
    }

    #[test]
    fn negative_numbers_reach_the_value_parser() {
        let error = layer(&[("learning-rate", "-1")]).unwrap_err().to_string();
        assert!(error.contains("above 0"), "{error}");
    }
}
