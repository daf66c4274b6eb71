//! The commands, one file each.
//!
//! Input: what was typed. Output: the exit code, and on stdout what the command was asked for. Each file is thin: it
//! turns flags into calls of the rooms that do the work, and results into text or JSON.

mod doctor;
mod eval;
mod export;
mod inspect;
mod job;
mod predict;
mod profile;
mod request;
mod rules;
mod serve;
mod train;
mod tune;
mod zoo;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::{Cli, Command, TrainArgs};
use crate::sagemaker::Paths;
use crate::train::StopSignal;

/// Any error, ready to be shown: its text names the file, key or flag and the way out.
pub type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// Runs what was typed; `job` holds the folders of the SageMaker job that training is part of, `stop` listens to signals where
/// training may be meant.
///
/// # Errors
/// Whatever the command meets.
pub fn run(
    cli: Cli,
    job: Option<Paths>,
    stop: Option<StopSignal>,
) -> Result<ExitCode, CommandError> {
    let done = |()| ExitCode::SUCCESS;
    let trains = match &cli.command {
        None => !cli.train.dry_run,
        Some(Command::Train(args)) => !args.dry_run,
        Some(_) => false,
    };
    // Training goes on when nobody reads its metric lines any more; everything else is done then.
    if !trains {
        end_with_the_reader()?;
    }
    let train = |args: &TrainArgs| {
        let stop = stop.map_or_else(StopSignal::install, Ok)?;
        stop.watch_start_up()?;
        match job {
            Some(paths) => job::run(args, paths, stop),
            None => train::run(args, stop),
        }
    };
    match cli.command {
        None => train(&cli.train),
        Some(Command::Train(args)) => train(&args),
        Some(Command::Tune(args)) => tune::run(&args),
        Some(Command::MetricDefinitions(args)) => job::print_metric_definitions(&args).map(done),
        Some(Command::Sagemaker(command)) => job::sagemaker(&command).map(done),
        Some(Command::Request(command)) => request::run(&command).map(done),
        Some(Command::Eval(args)) => eval::run(&args).map(done),
        Some(Command::Predict(args)) => predict::run(&args),
        Some(Command::Profile(args)) => profile::run(&args).map(done),
        Some(Command::Rules(args)) => rules::run(&args),
        Some(Command::Serve(args)) => serve::run(&args).map(done),
        Some(Command::Inspect(args)) => inspect::run(&args).map(done),
        Some(Command::Export(args)) => export::run(&args).map(done),
        Some(Command::Zoo(command)) => zoo::run(&command).map(done),
        Some(Command::Doctor(args)) => doctor::run(&args).map(done),
        Some(Command::Completions { shell }) => {
            // Not straight to stdout: clap_complete panics when the reader of a pipe has seen enough.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sagemaker-burn", &mut script);
            std::io::stdout().lock().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// From now on, writing to a closed pipe ends the program, as it does any other behind `| head`; Rust's own way is a panic.
fn end_with_the_reader() -> std::io::Result<()> {
    #[cfg(unix)]
    signal_hook::flag::register_conditional_default(
        signal_hook::consts::SIGPIPE,
        std::sync::Arc::new(true.into()),
    )?;
    Ok(())
}

/// Threads to use where nothing was said.
fn workers_or_cores(workers: Option<usize>) -> usize {
    workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Writes pretty JSON.
fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value)?;
    crate::files::write_atomically(path, text.as_bytes())
        .map_err(|e| format!("{}: {e}", path.display()).into())
}

/// Writes to stdout without a line break.
fn say(text: std::fmt::Arguments) -> std::io::Result<()> {
    std::io::stdout().lock().write_fmt(text)
}

/// Writes a line to stdout. Not `println!`, which panics when the reader of a pipe has seen enough.
fn say_line(text: std::fmt::Arguments) -> std::io::Result<()> {
    say(format_args!("{text}\n"))
}
