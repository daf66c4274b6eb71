//! The command line of a training job.
//!
//! Input: the arguments of a container. Output: [`Cli`]. SageMaker appends `train`, and `ContainerArguments` may hold words that
//! are meant for others: what nobody knows is warned of and dropped, where on a laptop it would be an error.

use std::ffi::OsString;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Cli, Command};

/// Whether these arguments could be those of a training job: `train` was typed, or nothing at all.
pub fn may_be_a_job(arguments: &[OsString]) -> bool {
    match arguments.get(1) {
        None => true,
        Some(first) => first == "train",
    }
}

/// Parses the arguments of a job.
///
/// # Errors
/// As clap's, but never for an argument that is unknown.
pub fn parse_in_job(mut arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    loop {
        let error = match Cli::try_parse_from(&arguments) {
            Ok(cli) => return Ok(cli),
            Err(error) => error,
        };
        let Some(position) = unknown(&error, &arguments) else {
            return Err(error);
        };
        let dropped = arguments.remove(position);
        tracing::warn!("argument {} is unknown and ignored", dropped.display());
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
    let is_it = |argument: &OsString| {
        let text = argument.to_string_lossy();
        text == name.as_str()
            || text
                .strip_prefix(name.as_str())
                .is_some_and(|rest| rest.starts_with('='))
    };
    // Program and `train` stay.
    let found = arguments.iter().skip(2).position(is_it)?;
    Some(found + 2)
}

impl Cli {
    /// Whether a training is asked for.
    pub fn trains(&self) -> bool {
        matches!(self.command, None | Some(Command::Train(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(typed: &str) -> Result<Cli, clap::Error> {
        parse_in_job(typed.split(' ').map(OsString::from).collect())
    }

    fn epochs(cli: Cli) -> Option<usize> {
        match cli.command {
            Some(Command::Train(args)) => args.flags.epochs,
            _ => panic!("not train"),
        }
    }

    #[test]
    fn what_nobody_knows_is_dropped_and_the_rest_counts() {
        let cli = parse("app train --foo bar --epochs 3 --baz=1 more -x").unwrap();
        assert_eq!(epochs(cli), Some(3));
        assert!(parse("app train").unwrap().trains());
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
        assert!(may_be_a_job(&typed("app")) && may_be_a_job(&typed("app train --epochs 3")));
        for other in ["app doctor", "app --local-data x", "app --help"] {
            assert!(!may_be_a_job(&typed(other)), "{other}");
        }
    }
}
