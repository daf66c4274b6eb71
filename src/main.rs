//! The command-line program: parse, log, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;
use sagemaker_burn::cli::Cli;
use sagemaker_burn::{commands, logging};

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::install();
    match commands::run(cli) {
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
