//! Requests to SageMaker, as `aws sagemaker … --cli-input-json` takes them.
//!
//! ```text
//! argv (cli::*Args) -> limits, hyperparameters, space, strategy (checks) -> TrainingJob, TuningJob, Model, … -> JSON
//! ```
//!
//! Input: what was typed after `request`. Output: one struct a request, which serialises to the request's JSON. Nothing is sent.
//! What SageMaker would refuse after minutes, or accept and fail on after an hour, is refused here at once; the limits are those of
//! the service's API model and of its developer guide.

mod endpoint;
mod hyperparameters;
mod limits;
mod model;
mod names;
mod parts;
mod space;
mod strategy;
mod training_job;
mod transform_job;
mod tuning_job;

pub use endpoint::{Endpoint, EndpointConfig};
pub use model::Model;
pub use training_job::TrainingJob;
pub use transform_job::TransformJob;
pub use tuning_job::TuningJob;

use crate::config::ConfigError;
use crate::tune::SpaceError;

/// What SageMaker would refuse. Every text names the flag, the value, the limit and the way out.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{flag} {value}: {limit}; {fix}")]
    Limit {
        flag: String,
        value: String,
        limit: String,
        fix: String,
    },
    #[error("{0}")]
    Rule(String),
    #[error(transparent)]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A value beyond a limit.
fn beyond(
    flag: &str,
    value: impl ToString,
    limit: impl Into<String>,
    fix: impl Into<String>,
) -> RequestError {
    RequestError::Limit {
        flag: flag.into(),
        value: value.to_string(),
        limit: limit.into(),
        fix: fix.into(),
    }
}

#[cfg(test)]
mod tests;
