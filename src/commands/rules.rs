//! `rules`: what a stored run shows.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{CommandError, say_line};
use crate::cli::RulesArgs;
use crate::debugger::Trial;
use crate::debugger::rules::{RuleOutcome, Rules, Status};
use crate::run_folder::DEBUG_OUTPUT;

/// Exit code where a rule has fired, as `grep` and linters have it.
const FOUND: u8 = 1;

pub fn run(args: &RulesArgs) -> Result<ExitCode, CommandError> {
    let trial = Trial::open(&folder(&args.run))?;
    let mut rules = Rules::new(args.rules.build()?);
    let mut unread = Vec::new();
    for step in trial.steps() {
        match step {
            Ok(step) => rules.step(&step, &mut |_, _| {}),
            // A run that was killed, or is still being copied, is worth as much as can be read of it.
            Err(error) => unread.push(error.to_string()),
        }
    }
    if let Some(first) = unread.first() {
        tracing::warn!(
            "{} of {} steps cannot be read; the first: {first}",
            unread.len(),
            trial.len()
        );
    }
    if unread.len() == trial.len() && !trial.is_empty() {
        return Err("no step of this run can be read".into());
    }
    let outcomes = rules.end(&mut |_, _| {});
    match args.json {
        true => say_line(format_args!("{}", serde_json::to_string_pretty(&outcomes)?))?,
        false => print(&outcomes, &trial)?,
    }
    let found = outcomes
        .iter()
        .any(|outcome| outcome.status == Status::IssuesFound);
    Ok(ExitCode::from(if found { FOUND } else { 0 }))
}

/// A run folder stands for the tensors in it.
fn folder(run: &Path) -> PathBuf {
    let inside = run.join(DEBUG_OUTPUT);
    match inside.is_dir() {
        true => inside,
        false => run.to_owned(),
    }
}

fn print(outcomes: &[RuleOutcome], trial: &Trial) -> std::io::Result<()> {
    let state = if trial.is_complete() {
        "complete"
    } else {
        "not ended, or in a training job"
    };
    say_line(format_args!("{} saved steps ({state})\n", trial.len()))?;
    let width = outcomes
        .iter()
        .map(|outcome| outcome.rule.len())
        .max()
        .unwrap_or(0);
    for outcome in outcomes {
        let rule = &outcome.rule;
        match outcome.status {
            Status::IssuesFound => {
                let at = outcome
                    .step
                    .map_or("at the end".to_string(), |step| format!("at step {step}"));
                say_line(format_args!(
                    "{rule:width$}  FOUND {at}: {}",
                    outcome.finding
                ))?;
                say_line(format_args!(
                    "{:width$}  what to do: {}",
                    "", outcome.advice
                ))?;
            }
            Status::NoIssuesFound => {
                say_line(format_args!(
                    "{rule:width$}  fine, {} steps looked at",
                    outcome.steps
                ))?;
            }
            Status::NothingToLookAt => say_line(format_args!(
                "{rule:width$}  nothing to look at: no saved tensor matches {}",
                outcome.looks_at.join(" or ")
            ))?,
        }
    }
    Ok(())
}
