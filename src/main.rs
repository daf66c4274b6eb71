//! The command-line program: parse, log, dispatch, exit code; the only place that writes a job's failure file.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use sagemaker_burn::cli::{self, Cli};
use sagemaker_burn::commands::{self, CommandError};
use sagemaker_burn::logging;
use sagemaker_burn::sagemaker::{
    Environment, Paths, catching_panics, failure_text, record_failure, reserve_room,
};
use sagemaker_burn::train::StopSignal;
use sagemaker_burn::tune;

fn main() -> ExitCode {
    let arguments = cli::with_dashes(std::env::args_os());
    // First of all, as a job may be stopped the moment it starts; other commands end at a signal as programs do.
    let stop = cli::may_be_a_job(&arguments).then(StopSignal::install);
    logging::install();
    // A trial of a study is a plain training, wherever the study runs.
    let job = match tune::is_trial() {
        true => None,
        false => Paths::find(&Environment::of_process()),
    };
    match (job, stop) {
        (Some(paths), Some(Ok(stop))) => in_job(arguments, paths, stop),
        (_, Some(Err(error))) => {
            finish(Err(format!("signals cannot be listened to: {error}").into()))
        }
        (_, stop) => {
            let stop = stop.transpose().ok().flatten();
            finish(commands::run(Cli::parse_from(arguments), None, stop))
        }
    }
}

/// Training inside of SageMaker: whatever goes wrong ends in the failure file.
fn in_job(arguments: Vec<OsString>, paths: Paths, stop: StopSignal) -> ExitCode {
    #[cfg(target_os = "linux")]
    let supervised = sagemaker_burn::sagemaker::Child::of_environment().is_some();
    #[cfg(not(target_os = "linux"))]
    let supervised = false;
    let _room = (!supervised).then(|| {
        paths.forget_failure();
        reserve_room(&paths.failure)
    });
    let cli = match cli::parse_in_job(arguments) {
        Ok((cli, dropped)) => {
            for name in dropped.iter().filter(|_| supervised) {
                tracing::warn!("argument {name} is unknown and ignored");
            }
            cli
        }
        Err(error) => {
            if error.use_stderr() {
                record_failure(&paths.failure, &cli::plain_message(&error));
            }
            let _ = error.print();
            return ExitCode::from(error.exit_code().clamp(0, 255) as u8);
        }
    };
    #[cfg(target_os = "linux")]
    if !supervised {
        match sagemaker_burn::sagemaker::supervise(&paths, &stop) {
            Ok(code) => return code,
            Err(error) => tracing::warn!("training goes on without a supervisor: {error}"),
        }
    }
    let failure = paths.failure.clone();
    let done = catching_panics(|| commands::run(cli, Some(paths), Some(stop)));
    done.unwrap_or_else(|error| {
        let reason = failure_text(error.as_ref());
        record_failure(&failure, &reason);
        eprintln!("error: {reason}");
        ExitCode::FAILURE
    })
}

fn finish(done: Result<ExitCode, CommandError>) -> ExitCode {
    match done {
        Ok(code) => code,
        // Whoever reads our output may stop before its end: `sagemaker-burn predict … | head`.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
