//! `request`: what to send to SageMaker, as JSON.

use serde::Serialize;

use super::{CommandError, say_line};
use crate::cli::RequestCommand;
use crate::sagemaker::request::{
    Endpoint, EndpointConfig, Model, TrainingJob, TransformJob, TuningJob,
};

pub fn run(command: &RequestCommand) -> Result<(), CommandError> {
    match command {
        RequestCommand::TrainingJob(args) => show(&TrainingJob::of(args)?),
        RequestCommand::TuningJob(args) => show(&TuningJob::of(args)?),
        RequestCommand::Model(args) => show(&Model::of(args)?),
        RequestCommand::EndpointConfig(args) => show(&EndpointConfig::of(args)?),
        RequestCommand::Endpoint(args) => show(&Endpoint::of(args)?),
        RequestCommand::TransformJob(args) => show(&TransformJob::of(args)?),
    }
}

fn show(request: &impl Serialize) -> Result<(), CommandError> {
    say_line(format_args!("{}", serde_json::to_string_pretty(request)?))?;
    Ok(())
}
