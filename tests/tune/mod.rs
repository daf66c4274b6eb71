//! `tune` as its users meet it: real studies of real trainings, on the pictures and networks of the other tests.
//!
//! Input: pictures drawn for each test. Output: the study's folder, exit codes and both streams.

mod ends;
mod errors;
mod interrupted;
mod jobs;
mod outcome;

use std::process::Command;

use crate::main_job::run::{Ended, Sandbox, finish, narrow_resnet18};

/// What a study of these tests is unless its options say something else.
pub const SPACE: &str = "batch-size=4,8;learning-rate=0.001,0.003,0.01";

/// The command of a study in the folder `study`, with options as they are typed.
pub fn study(sandbox: &Sandbox, study: &str, options: &str) -> Command {
    let weights = narrow_resnet18();
    let usual = [
        ("--local-data", "data"),
        ("--weights", weights.as_str()),
        ("--image-size", "32"),
        ("--output", study),
        ("--epochs", "2"),
        ("--workers", "2"),
        ("--space", SPACE),
        ("--max-jobs", "4"),
    ];
    let options: Vec<&str> = options.split_whitespace().collect();
    let mut arguments = vec!["tune"];
    arguments.extend(&options);
    for (flag, value) in usual {
        // `--max-jobs -` leaves it out.
        if !options.contains(&flag) {
            arguments.extend([flag, value]);
        }
    }
    let left_out = arguments.iter().position(|argument| *argument == "-");
    if let Some(position) = left_out {
        arguments.drain(position - 1..=position);
    }
    sandbox.command(&arguments)
}

pub fn tune(sandbox: &Sandbox, folder: &str, options: &str) -> Ended {
    finish(study(sandbox, folder, options))
}
