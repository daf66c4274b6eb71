//! `CreateHyperParameterTuningJob`.
//!
//! Input: [`TuningJobArgs`]. Output: [`TuningJob`]. Its training jobs can have no debugger and no profiler; the API has no place
//! for them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::hyperparameters::{self, Hyperparameters};
use super::limits::{self, between};
use super::names::{self, checked, name_or_time};
use super::parts::{
    AlgorithmSpecification, Channel, CheckpointConfig, OutputDataConfig, ResourceConfig,
    RetryStrategy, StoppingCondition, Tag, VpcConfig, channels, tags,
};
use super::space::ParameterRanges;
use super::strategy::{ResourceLimits, StrategyConfig, hyperband};
use super::{RequestError, beyond};
use crate::cli::{EarlyStoppingName, JobArgs, StrategyName, TuningJobArgs, WarmStartName};
use crate::sinks::metric_definitions;
use crate::tune::Space;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TuningJob {
    hyper_parameter_tuning_job_name: String,
    hyper_parameter_tuning_job_config: Config,
    training_job_definition: Definition,
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_start_config: Option<WarmStart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Tag>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    strategy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy_config: Option<StrategyConfig>,
    hyper_parameter_tuning_job_objective: Objective,
    resource_limits: ResourceLimits,
    parameter_ranges: ParameterRanges,
    training_job_early_stopping_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tuning_job_completion_criteria: Option<CompletionCriteria>,
    #[serde(skip_serializing_if = "Option::is_none")]
    random_seed: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Objective {
    r#type: &'static str,
    metric_name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CompletionCriteria {
    #[serde(skip_serializing_if = "Option::is_none")]
    target_objective_metric_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best_objective_not_improving: Option<NotImproving>,
    #[serde(skip_serializing_if = "Option::is_none")]
    convergence_detected: Option<Convergence>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct NotImproving {
    max_number_of_training_jobs_not_improving: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Convergence {
    complete_on_convergence: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    static_hyper_parameters: Hyperparameters,
    algorithm_specification: AlgorithmSpecification,
    role_arn: String,
    input_data_config: Vec<Channel>,
    output_data_config: OutputDataConfig,
    resource_config: ResourceConfig,
    stopping_condition: StoppingCondition,
    enable_network_isolation: bool,
    enable_managed_spot_training: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_config: Option<CheckpointConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_strategy: Option<RetryStrategy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vpc_config: Option<VpcConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct WarmStart {
    parent_hyper_parameter_tuning_jobs: Vec<Parent>,
    warm_start_type: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Parent {
    hyper_parameter_tuning_job_name: String,
}

impl TuningJob {
    /// # Errors
    /// Whatever SageMaker or training would refuse.
    pub fn of(args: &TuningJobArgs) -> Result<Self, RequestError> {
        let space = Space::parse(&args.space)?;
        let parameter_ranges = ParameterRanges::of(&space)?;
        let mut fixed = hyperparameters::of_job(&args.job)?;
        check_together(&space, &fixed, &args.job)?;
        let strategy_config = hyperband(args, &space, &mut fixed)?;
        let metrics = metric_definitions(hyperparameters::top_k(&fixed));
        Ok(Self {
            hyper_parameter_tuning_job_name: name_or_time(args.name.as_deref(), names::TUNING_JOB)?,
            hyper_parameter_tuning_job_config: Config {
                strategy: strategy_name(args.strategy),
                strategy_config,
                hyper_parameter_tuning_job_objective: Objective::of(&args.objective, &metrics)?,
                resource_limits: ResourceLimits::of(args, &space)?,
                parameter_ranges,
                training_job_early_stopping_type: match args.early_stopping {
                    EarlyStoppingName::Auto => "Auto",
                    EarlyStoppingName::Off => "Off",
                },
                tuning_job_completion_criteria: CompletionCriteria::of(args)?,
                random_seed: args
                    .random_seed
                    .map(|seed| between("--random-seed", seed, 0, i32::MAX as u64))
                    .transpose()?,
            },
            training_job_definition: Definition::of(&args.job, fixed, metrics)?,
            warm_start_config: WarmStart::of(args)?,
            tags: tags(&args.job.tags)?,
        })
    }
}

fn strategy_name(strategy: StrategyName) -> &'static str {
    match strategy {
        StrategyName::Bayesian => "Bayesian",
        StrategyName::Random => "Random",
        StrategyName::Hyperband => "Hyperband",
        StrategyName::Grid => "Grid",
    }
}

/// Whether tuned and fixed hyperparameters go together.
fn check_together(
    space: &Space,
    fixed: &Hyperparameters,
    args: &JobArgs,
) -> Result<(), RequestError> {
    if let Some(both) = space.names().find(|name| fixed.contains_key(*name)) {
        let fix = "leave it out in one of them";
        return Err(beyond("--space", both, "-p gives it a value, too", fix));
    }
    let all = space.names().count() + fixed.len();
    if all > hyperparameters::MOST {
        let limit = format!(
            "with those of --space there are {all}, and SageMaker takes {}",
            hyperparameters::MOST
        );
        return Err(beyond(
            "--hyperparameter",
            fixed.len(),
            limit,
            "leave some out",
        ));
    }
    // The number in the name of a metric has to be the same in all jobs.
    if space.names().any(|name| name == "top-k") {
        let limit = "it names a metric, which all jobs have to share";
        return Err(beyond("--space", "top-k", limit, "give -p top-k=K"));
    }
    for probe in space.probes() {
        let mut together = fixed.clone();
        together.extend(probe);
        hyperparameters::check(&together, args)?;
    }
    Ok(())
}

impl Objective {
    fn of(metric: &str, definitions: &serde_json::Value) -> Result<Self, RequestError> {
        let list = definitions.as_array().into_iter().flatten();
        let names: Vec<&str> = list.filter_map(|d| d["Name"].as_str()).collect();
        if !names.contains(&metric) {
            let limit = "training prints no such metric";
            return Err(beyond(
                "--objective",
                metric,
                limit,
                format!("choose one of {}", names.join(", ")),
            ));
        }
        Ok(Self {
            r#type: if metric.ends_with(":loss") {
                "Minimize"
            } else {
                "Maximize"
            },
            metric_name: metric.into(),
        })
    }
}

impl CompletionCriteria {
    fn of(args: &TuningJobArgs) -> Result<Option<Self>, RequestError> {
        let patience = args
            .patience
            .map(|jobs| between("--patience", jobs, 3, 10_000));
        if let Some(target) = args.target.filter(|target| !target.is_finite()) {
            return Err(beyond(
                "--target",
                target,
                "it is no number",
                "give one such as 0.95",
            ));
        }
        let criteria = Self {
            target_objective_metric_value: args.target,
            best_objective_not_improving: patience.transpose()?.map(|jobs| NotImproving {
                max_number_of_training_jobs_not_improving: jobs,
            }),
            convergence_detected: args.until_converged.then_some(Convergence {
                complete_on_convergence: "Enabled",
            }),
        };
        let any = args.target.is_some() || args.patience.is_some() || args.until_converged;
        Ok(any.then_some(criteria))
    }
}

impl Definition {
    fn of(
        args: &JobArgs,
        fixed: Hyperparameters,
        metrics: serde_json::Value,
    ) -> Result<Self, RequestError> {
        if args.spot && args.checkpoint.is_none() {
            tracing::warn!(
                "--spot without --checkpoint: a training job whose instance is taken back begins anew"
            );
        }
        Ok(Self {
            static_hyper_parameters: fixed,
            algorithm_specification: AlgorithmSpecification::of(args, metrics)?,
            role_arn: limits::role(&args.role)?,
            input_data_config: channels(args)?,
            output_data_config: OutputDataConfig::of(args)?,
            resource_config: ResourceConfig::of(args, None)?,
            stopping_condition: StoppingCondition::of(args)?,
            enable_network_isolation: args.network.network_isolation,
            enable_managed_spot_training: args.spot,
            checkpoint_config: CheckpointConfig::of(args, None)?,
            retry_strategy: RetryStrategy::of(args)?,
            vpc_config: VpcConfig::of(&args.network)?,
            environment: limits::environment(&args.environment, 48, 512)?,
        })
    }
}

impl WarmStart {
    fn of(args: &TuningJobArgs) -> Result<Option<Self>, RequestError> {
        const MOST: usize = 5;
        if args.parents.is_empty() {
            return Ok(None);
        }
        if args.parents.len() > MOST {
            let limit = format!("SageMaker takes {MOST} parents");
            return Err(beyond(
                "--warm-start",
                args.parents.len(),
                limit,
                "leave some out",
            ));
        }
        if !matches!(args.strategy, StrategyName::Bayesian | StrategyName::Random) {
            return Err(RequestError::Rule(format!(
                "--warm-start with --strategy {}: only bayesian and random learn from earlier jobs; choose one of them",
                strategy_name(args.strategy).to_lowercase()
            )));
        }
        let parent = |name: &String| {
            checked("--warm-start", name, names::TUNING_JOB).map(|name| Parent {
                hyper_parameter_tuning_job_name: name,
            })
        };
        Ok(Some(Self {
            parent_hyper_parameter_tuning_jobs: args
                .parents
                .iter()
                .map(parent)
                .collect::<Result<_, _>>()?,
            warm_start_type: match args.warm_start_type {
                WarmStartName::Identical => "IdenticalDataAndAlgorithm",
                WarmStartName::Transfer => "TransferLearning",
            },
        }))
    }
}
