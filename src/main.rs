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
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
