//! What the strategies of a tuning job ask for.
//!
//! Input: [`TuningJobArgs`], the ranges and the other hyperparameters. Output: how many training jobs there are, and what a strategy
//! has for itself. The rules are those of the developer guide; the API accepts some of these requests and fails later.

use serde::Serialize;

use super::hyperparameters::Hyperparameters;
use super::limits::between;
use super::{RequestError, beyond};
use crate::cli::{EarlyStoppingName, StrategyName, TuningJobArgs};
use crate::config::values;
use crate::tune::{Domain, Space};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResourceLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_number_of_training_jobs: Option<u64>,
    max_parallel_training_jobs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_runtime_in_seconds: Option<u64>,
}

impl ResourceLimits {
    /// # Errors
    /// Grid with a range or with another number of jobs than it has combinations; another strategy without a number of jobs; more jobs
    /// at once than there are.
    pub fn of(args: &TuningJobArgs, space: &Space) -> Result<Self, RequestError> {
        let jobs = match args.strategy {
            StrategyName::Grid => combinations(args, space)?,
            strategy => random_jobs(args, strategy)?,
        };
        let parallel = between("--parallel", args.parallel, 1, 100)?;
        if parallel > jobs {
            let limit = format!("there are {jobs} training jobs");
            return Err(beyond(
                "--parallel",
                parallel,
                limit,
                format!("try --parallel {jobs}"),
            ));
        }
        let runtime = args.max_total_runtime;
        let runtime = runtime.map(|time| between("--max-total-runtime", time, 120, 15_768_000));
        Ok(Self {
            max_number_of_training_jobs: Some(jobs),
            max_parallel_training_jobs: parallel,
            max_runtime_in_seconds: runtime.transpose()?,
        })
    }
}

/// How many jobs a grid has.
fn combinations(args: &TuningJobArgs, space: &Space) -> Result<u64, RequestError> {
    let mut product = 1u64;
    for dimension in &space.dimensions {
        let Domain::Categorical(values) = &dimension.domain else {
            return Err(beyond(
                "--strategy grid",
                format!("with {dimension}"),
                "a grid takes lists of values only",
                format!(
                    "list its values as {}=A,B,C, or choose random or bayesian",
                    dimension.name
                ),
            ));
        };
        product = product.saturating_mul(values.len() as u64);
    }
    match args.max_jobs {
        Some(jobs) if jobs != product => Err(beyond(
            "--max-jobs",
            jobs,
            format!("a grid tries all {product} combinations"),
            "leave it out, or choose random or bayesian",
        )),
        _ => between("--strategy grid: combinations", product, 1, 10_000),
    }
}

/// How many jobs another strategy has.
fn random_jobs(args: &TuningJobArgs, strategy: StrategyName) -> Result<u64, RequestError> {
    let most = match strategy {
        StrategyName::Bayesian => 750,
        _ => 10_000,
    };
    let Some(jobs) = args.max_jobs else {
        return Err(RequestError::Rule(
            "--max-jobs is missing: say how many training jobs there are in all, such as --max-jobs 4".into(),
        ));
    };
    between("--max-jobs", jobs, 1, most)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StrategyConfig {
    hyperband_strategy_config: Hyperband,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Hyperband {
    #[serde(skip_serializing_if = "Option::is_none")]
    min_resource: Option<u64>,
    max_resource: u64,
}

/// What Hyperband has to know; `None` with another strategy. Turns `report-best` off for it, since to Hyperband every printed value
/// is one of the epoch that has just ended.
///
/// # Errors
/// Hyperband with early stopping, without epochs or with a search for them; epochs without Hyperband.
pub fn hyperband(
    args: &TuningJobArgs,
    space: &Space,
    fixed: &mut Hyperparameters,
) -> Result<Option<StrategyConfig>, RequestError> {
    if args.strategy != StrategyName::Hyperband {
        let flag = match (args.min_epochs, args.max_epochs) {
            (None, None) => return Ok(None),
            (Some(_), _) => "--min-epochs",
            (None, Some(_)) => "--max-epochs",
        };
        return Err(RequestError::Rule(format!(
            "{flag} is for --strategy hyperband: leave it out, or choose that"
        )));
    }
    if args.early_stopping == EarlyStoppingName::Auto {
        return Err(RequestError::Rule(
            "--early-stopping auto with --strategy hyperband: Hyperband stops jobs itself; leave --early-stopping out".into(),
        ));
    }
    if space.names().any(|name| name == "epochs") {
        return Err(RequestError::Rule(
            "--space epochs with --strategy hyperband: Hyperband gives out epochs itself; give -p epochs=N instead".into(),
        ));
    }
    let typed = fixed
        .get("epochs")
        .and_then(|text| values::count(text).ok());
    let Some(epochs) = typed.map(|epochs| epochs as u64) else {
        return Err(RequestError::Rule(
            "--strategy hyperband needs to know the most epochs of a job: give -p epochs=N".into(),
        ));
    };
    let most = between("--max-epochs", args.max_epochs.unwrap_or(epochs), 1, epochs)?;
    let least = args
        .min_epochs
        .map(|least| between("--min-epochs", least, 1, most));
    fixed
        .entry("report-best".into())
        .or_insert_with(|| "false".into());
    if fixed
        .get("report-best")
        .is_some_and(|text| values::toggle(text) == Ok(values::Toggle(true)))
    {
        return Err(RequestError::Rule(
            "-p report-best=true with --strategy hyperband: every printed value counts there; leave it out".into(),
        ));
    }
    Ok(Some(StrategyConfig {
        hyperband_strategy_config: Hyperband {
            min_resource: least.transpose()?,
            max_resource: most,
        },
    }))
}
