//! Training jobs in a fake `/opt/ml`, as SageMaker would start them: `sagemaker-burn train` with `SAGEMAKER_BASE_DIR`.
//!
//! Input: the files of a job. Output: exit codes, logs, and what is left below the root. The acceptance tests T1 to T6 of the
//! platform's contract, and what else a job promises.

mod failures;
mod hosts;
mod hyperparameters;
mod inputs;
pub mod job;
mod kills;
mod metrics;
mod models;
mod outputs;
mod rehearsal;
mod stops;
