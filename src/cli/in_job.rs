//! The command line of a training job.
//!
//! Input: the arguments of a container. Output: [`Cli`]. SageMaker appends `train`, or in its place what `ContainerArguments` says, which
//! may hold words that are meant for others: what nobody knows is dropped, where on a laptop it would be an error.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use super::Cli;

/// Whether these arguments could be those of a training job: `train`, flags alone, or nothing at all.
pub fn may_be_a_job(arguments: &[OsString]) -> bool {
    match arguments.get(1).map(|first| first.to_string_lossy()) {
        None => true,
        Some(first) if first.starts_with('-') => {
            !["-h", "--help", "-V", "--version"].contains(&first.as_ref())
        }
        Some(first) => first == "train",
    }
}

/// The arguments with `-` for `_` in the names of long flags, as hyperparameters have it.
pub fn with_dashes(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let dashed = |argument: OsString| {
        let Some(text) = argument.to_str().filter(|text| text.starts_with("--")) else {
            return argument;
        };
        match text.split_once('=') {
            Some((name, value)) => format!("{}={value}", name.replace('_', "-")).into(),
            None => text.replace('_', "-").into(),
        }
    };
    arguments.map(dashed).collect()
}

/// Parses the arguments of a job. Also says the names of those that were dropped. A flag that is given twice counts as the last
/// one says.
///
/// # Errors
/// As clap's, but never for an argument that is unknown.
pub fn parse_in_job(mut arguments: Vec<OsString>) -> Result<(Cli, Vec<String>), clap::Error> {
    let mut dropped = Vec::new();
    loop {
        let command = Cli::command().args_override_self(true);
        let matches = command.try_get_matches_from(&arguments);
        let error = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
            Ok(cli) => return Ok((cli, dropped)),
            Err(error) => error,
        };
        let Some(position) = unknown(&error, &arguments) else {
            return Err(error);
        };
        let argument = arguments.remove(position);
        let text = argument.to_string_lossy();
        // Without its value, which a regular expression for metrics might take for one.
        dropped.push(text.split('=').next().unwrap_or_default().to_string());
    }
}

/// Where the argument is that clap does not know.
fn unknown(error: &clap::Error, arguments: &[OsString]) -> Option<usize> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let ContextValue::String(name) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let name = name.as_str();
    // Of a cluster such as `-abc` clap names the first letter.
    let is_letter = name.len() == 2 && name.starts_with('-') && name != "--";
    let is_it = |argument: &OsString| {
        let text = argument.to_string_lossy();
        let rest = text.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('=') || is_letter)
    };
    let found = arguments.iter().skip(1).position(is_it)?;
    Some(found + 1)
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::*;

    fn parse(typed: &str) -> Result<(Cli, Vec<String>), clap::Error> {
        parse_in_job(with_dashes(typed.split(' ').map(OsString::from)))
    }

    fn epochs(cli: Cli) -> Option<usize> {
        match cli.command {
            Some(Command::Train(args)) => args.flags.epochs,
            None => cli.train.flags.epochs,
            _ => panic!("not train"),
        }
    }

    #[test]
    fn what_nobody_knows_is_dropped_and_the_rest_counts() {
        let (cli, dropped) = parse("app train --foo bar --epochs 3 --baz=1 more -abc -v3").unwrap();
        assert_eq!(epochs(cli), Some(3));
        assert_eq!(dropped, ["--foo", "bar", "--baz", "more", "-abc", "-v3"]);
        let (cli, dropped) = parse("app --epochs=2 --learning_rate=0.5 --epochs=4").unwrap();
        assert!(dropped.is_empty());
        assert_eq!(cli.train.flags.learning_rate, Some(0.5));
        assert_eq!(epochs(cli), Some(4));
        let error = parse("app train --foo --epochs many")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--epochs") && error.contains("many"),
            "{error}"
        );
    }

    #[test]
    fn other_commands_are_no_jobs() {
        let typed = |text: &str| -> Vec<OsString> { text.split(' ').map(OsString::from).collect() };
        for job in ["app", "app train --epochs 3", "app --epochs 3"] {
            assert!(may_be_a_job(&typed(job)), "{job}");
        }
        for other in ["app doctor", "app serve", "app --help", "app -V"] {
            assert!(!may_be_a_job(&typed(other)), "{other}");
        }
    }
}
