//! `CreateTrainingJob`.
//!
//! Input: [`TrainingJobArgs`]. Output: [`TrainingJob`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::hyperparameters::{self, Hyperparameters};
use super::limits::{self, between, s3_below};
use super::names::{self, name_or_time};
use super::parts::{
    AlgorithmSpecification, Channel, CheckpointConfig, OutputDataConfig, ResourceConfig,
    RetryStrategy, StoppingCondition, Tag, VpcConfig, channels, tags,
};
use super::{RequestError, beyond};
use crate::cli::TrainingJobArgs;
use crate::sinks::metric_definitions;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TrainingJob {
    training_job_name: String,
    algorithm_specification: AlgorithmSpecification,
    role_arn: String,
    hyper_parameters: Hyperparameters,
    input_data_config: Vec<Channel>,
    output_data_config: OutputDataConfig,
    resource_config: ResourceConfig,
    stopping_condition: StoppingCondition,
    enable_network_isolation: bool,
    enable_managed_spot_training: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_config: Option<CheckpointConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    debug_hook_config: Option<DebugHookConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profiler_config: Option<ProfilerConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_strategy: Option<RetryStrategy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vpc_config: Option<VpcConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Tag>>,
}

impl TrainingJob {
    /// # Errors
    /// Whatever SageMaker or training would refuse.
    pub fn of(args: &TrainingJobArgs) -> Result<Self, RequestError> {
        let job = &args.job;
        let name = name_or_time(args.name.as_deref(), names::ANYTHING_ELSE)?;
        let hyper_parameters = hyperparameters::of_job(job)?;
        let metrics = metric_definitions(hyperparameters::top_k(&hyper_parameters));
        let output = limits::s3("--output", &job.output)?;
        let below = s3_below(&output, &name);
        let checkpoints = job.spot.then(|| s3_below(&below, "checkpoints"));
        Ok(Self {
            algorithm_specification: AlgorithmSpecification::of(job, metrics)?,
            role_arn: limits::role(&job.role)?,
            hyper_parameters,
            input_data_config: channels(job)?,
            output_data_config: OutputDataConfig::of(job)?,
            resource_config: ResourceConfig::of(job, args.keep_alive)?,
            stopping_condition: StoppingCondition::of(job)?,
            enable_network_isolation: job.network.network_isolation,
            enable_managed_spot_training: job.spot,
            checkpoint_config: CheckpointConfig::of(job, checkpoints)?,
            debug_hook_config: DebugHookConfig::of(args, &output)?,
            profiler_config: ProfilerConfig::of(args, &output)?,
            retry_strategy: RetryStrategy::of(job)?,
            vpc_config: VpcConfig::of(&job.network)?,
            environment: limits::environment(&job.environment, 100, 512)?,
            tags: tags(&job.tags)?,
            training_job_name: name,
        })
    }
}

/// Which tensors are saved, for SageMaker Debugger. SageMaker puts them below `<output>/<job>/debug-output`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DebugHookConfig {
    s3_output_path: String,
    collection_configurations: Vec<Collection>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Collection {
    collection_name: String,
    collection_parameters: BTreeMap<&'static str, String>,
}

impl DebugHookConfig {
    fn of(args: &TrainingJobArgs, output: &str) -> Result<Option<Self>, RequestError> {
        const MOST: usize = 20;
        if args.debugger.is_empty() {
            return Ok(None);
        }
        if args.debugger.len() > MOST {
            let limit = format!("SageMaker takes {MOST} collections");
            return Err(beyond(
                "--debugger",
                args.debugger.len(),
                limit,
                "leave some out",
            ));
        }
        let interval = between("--debugger-interval", args.debugger_interval, 1, 1_000_000)?;
        let collection = |name: &String| match name.trim() {
            "" => Err(beyond(
                "--debugger",
                name,
                "a collection has a name",
                "try losses",
            )),
            name => Ok(Collection {
                collection_name: name.into(),
                collection_parameters: [("save_interval", interval.to_string())].into(),
            }),
        };
        Ok(Some(Self {
            s3_output_path: output.into(),
            collection_configurations: args
                .debugger
                .iter()
                .map(collection)
                .collect::<Result<_, _>>()?,
        }))
    }
}

/// How often SageMaker measures the instance. The results are below `<output>/<job>/profiler-output`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProfilerConfig {
    s3_output_path: String,
    profiling_interval_in_milliseconds: u64,
    disable_profiler: bool,
}

impl ProfilerConfig {
    fn of(args: &TrainingJobArgs, output: &str) -> Result<Option<Self>, RequestError> {
        const INTERVALS: [u64; 6] = [100, 200, 500, 1000, 5000, 60_000];
        match args.profiler {
            Some(interval) if !INTERVALS.contains(&interval) => Err(beyond(
                "--profiler",
                interval,
                "SageMaker takes 100, 200, 500, 1000, 5000 or 60000 milliseconds",
                "choose one of these",
            )),
            interval => Ok(interval.map(|interval| Self {
                s3_output_path: output.into(),
                profiling_interval_in_milliseconds: interval,
                disable_profiler: false,
            })),
        }
    }
}
