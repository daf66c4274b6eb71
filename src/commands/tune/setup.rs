//! What a search is to be, and all that can be checked of it before the first trial.
//!
//! Input: what was typed. Output: [`Setup`].

use std::path::{Path, PathBuf};

use super::super::train::{demo_layer, print_settings};
use super::super::{CommandError, say_line};
use crate::cli::{EarlyStopping, TuneArgs};
use crate::config::{
    DEFAULT_WEIGHTS, Layer, Resolved, Source, from_environment, read_file, resolve,
};
use crate::sagemaker::Environment;
use crate::tune::{
    Definition, Objective, Space, StopRule, StrategyKind, Values, need_bytes, shown,
};
use crate::{s3, zoo};

/// Trials where nothing is said.
const MAX_JOBS: usize = 10;

/// What was asked for, checked as far as that can be done before the first trial.
pub struct Setup {
    pub space: Space,
    strategy: StrategyKind,
    pub objective: Objective,
    early_stopping: StopRule,
    pub max_jobs: usize,
    /// Layers below the values of a trial.
    pub layers: Vec<Layer>,
    /// The configuration with the space left out.
    pub resolved: Resolved,
    pub fixed: Values,
    /// Whether every combination trains the last layer alone, on features that are computed once.
    pub head_only: bool,
    /// What the hungriest combination takes.
    pub need_bytes: u64,
}

impl Setup {
    pub fn of(args: &TuneArgs) -> Result<Self, CommandError> {
        let space = Space::parse(&args.space)?;
        let mut layers = vec![Layer {
            source: Source::CommandLine,
            flags: args.flags.clone(),
        }];
        if let Some(path) = &args.hyperparameters {
            layers.push(read_file(path)?);
        }
        layers.push(from_environment(&Environment::of_process())?);
        if args.demo {
            layers.push(demo_layer()?);
        }
        let max_jobs = max_jobs(args, &space)?;
        // With the first combination, as defaults may contradict what a space never has.
        let resolved = resolved_with(&layers, space.probes().first())?;
        check_weights(&resolved.config.weights)?;
        let mut setup = Setup {
            strategy: args.strategy,
            objective: Objective::new(args.objective, args.objective_type),
            early_stopping: StopRule::Never,
            max_jobs,
            fixed: Values::new(),
            need_bytes: 0,
            head_only: true,
            resolved,
            space,
            layers,
        };
        setup.check_combinations()?;
        setup.fixed = setup.fixed_settings()?;
        setup.early_stopping = setup.stop_rule(args)?;
        Ok(setup)
    }

    /// Whether settings go together, in every combination or in many of them.
    fn check_combinations(&mut self) -> Result<(), CommandError> {
        for values in self.space.probes() {
            let resolved = resolved_with(&self.layers, Some(&values))
                .map_err(|error| format!("--space with {}: {error}", shown(&values)))?;
            self.need_bytes = self.need_bytes.max(need_bytes(&resolved.config));
            self.head_only &= resolved.config.features_are_constant();
        }
        Ok(())
    }

    /// What was said, and is the same in every trial.
    fn fixed_settings(&self) -> Result<Values, CommandError> {
        // A demo sets what a person did not; what is searched goes before it.
        let said =
            resolve(&self.layers).or_else(|_| Ok::<_, CommandError>(self.resolved.clone()))?;
        let mut fixed = Values::new();
        let said = said
            .settings
            .iter()
            .filter(|s| !s.source.starts_with("default") && s.source != "--space");
        for setting in said {
            let searched = self.space.dimensions.iter().any(|d| d.name == setting.name);
            match (searched, setting.source.as_str()) {
                (false, _) => {
                    fixed.insert(setting.name.clone(), lasting(&setting.name, &setting.value));
                }
                (true, "demo") => {}
                (true, source) => {
                    return Err(format!(
                        "{} is in --space and also set to {} ({source}): leave one of them out",
                        setting.name, setting.value
                    )
                    .into());
                }
            }
        }
        Ok(fixed)
    }

    fn stop_rule(&self, args: &TuneArgs) -> Result<StopRule, CommandError> {
        match (args.strategy, args.early_stopping) {
            (StrategyKind::Hyperband, EarlyStopping::Auto) => Err(
                "--early-stopping auto does not go with --strategy hyperband, which stops trials in its own way (as in SageMaker)".into(),
            ),
            (StrategyKind::Hyperband, _) if self.space.dimensions.iter().any(|d| d.name == "epochs") => Err(
                "--strategy hyperband shares out epochs itself, so they cannot be in --space: give --epochs N".into(),
            ),
            (StrategyKind::Hyperband, _) => Ok(StopRule::Asha { epochs: self.resolved.config.epochs }),
            (_, EarlyStopping::Auto) => Ok(StopRule::Median),
            (_, EarlyStopping::Off) => Ok(StopRule::Never),
        }
    }

    pub fn print(&self) -> Result<(), CommandError> {
        print_settings(&self.resolved)?;
        say_line(format_args!("\nspace       {}", self.space))?;
        say_line(format_args!("trials      {}", self.max_jobs))?;
        if let Some(count) = self.space.combinations() {
            say_line(format_args!("combinations {count}"))?;
        }
        Ok(())
    }

    pub fn definition(&self, data: PathBuf) -> Definition {
        Definition {
            data,
            space: self.space.clone(),
            strategy: self.strategy,
            objective: self.objective,
            early_stopping: self.early_stopping,
            seed: self.resolved.config.seed,
            fixed: self.fixed.clone(),
        }
    }
}

/// The configuration of a trial.
pub fn resolved_with(layers: &[Layer], values: Option<&Values>) -> Result<Resolved, CommandError> {
    let pairs = values.into_iter().flatten();
    let pairs = pairs.map(|(name, value)| (name.clone(), value.clone()));
    let mut all = vec![Layer::from_pairs(Source::Space, pairs)?];
    all.extend(layers.iter().cloned());
    Ok(resolve(&all)?)
}

/// Whether there are such weights; what is in them is seen by the first trial.
fn check_weights(weights: &str) -> Result<(), CommandError> {
    let is_elsewhere = s3::address(Path::new(weights))?.is_some();
    if weights != DEFAULT_WEIGHTS && !is_elsewhere {
        zoo::resolve(weights)?;
    }
    Ok(())
}

/// How many trials there are to be. A grid has as many as there are combinations, in SageMaker as here.
fn max_jobs(args: &TuneArgs, space: &Space) -> Result<usize, CommandError> {
    let count = space.combinations();
    match (args.strategy, count, args.max_jobs) {
        (StrategyKind::Grid, _, _) if space.has_ranges() => Err(
            "--strategy grid needs a list of values for every hyperparameter, not a range".into(),
        ),
        (StrategyKind::Grid, None, _) => Err("--strategy grid: there are too many combinations".into()),
        (StrategyKind::Grid, Some(count), Some(asked)) if asked != count => Err(format!(
            "--max-jobs {asked}: --strategy grid tries every combination, and there are {count}; leave --max-jobs out, or take \
             --strategy random"
        )
        .into()),
        (StrategyKind::Grid, Some(count), _) => Ok(count),
        // No combination is tried twice.
        (_, Some(count), asked) => Ok(asked.unwrap_or(MAX_JOBS).min(count)),
        (_, None, asked) => Ok(asked.unwrap_or(MAX_JOBS)),
    }
}

/// A setting that means the same from another folder.
fn lasting(name: &str, value: &str) -> String {
    let is_path = ["weights", "classes"].contains(&name);
    match std::fs::canonicalize(value) {
        Ok(path) if is_path => path.display().to_string(),
        _ => value.to_string(),
    }
}
