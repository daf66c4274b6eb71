//! The look inside a run: its debugger and its profiler, and what they saw.
//!
//! Input: a [`Run`]. Output: a [`Debugger`] and a [`Profiler`] for the loop, and in the end [`Seen`], with `rules.json` and the profiler's
//! reports on disk.

use std::path::Path;

use super::feeds::{Feeds, Loaders};
use super::run::{Run, TrainError};
use crate::config::{DebuggerChoice, RulesAction, TrainConfig};
use crate::debugger::rules::{Rule, RuleOutcome};
use crate::debugger::{Debugger, Epochs, HookConfig, Output, SAVE_INTERVAL, Setup};
use crate::model::ResNet;
use crate::profiler::{self, Follow, Profiler, ProfilerConfig, Summary, write_reports};

/// Looks inside an epoch, for rules and with `--debugger true`.
const LOOKS_PER_EPOCH: usize = 10;
/// Steps between two looks at the least: one costs up to half a step.
const FEWEST_STEPS: usize = 50;

/// What is read before a run begins.
pub struct Inside {
    /// What the file says that `--debugger` names.
    hook: Option<HookConfig>,
    rules: Vec<Box<dyn Rule>>,
}

impl Inside {
    /// # Errors
    /// A file that cannot be used, or a rule that lacks what it compares with.
    pub fn read(config: &TrainConfig) -> Result<Self, TrainError> {
        Ok(Inside {
            hook: match &config.debugger {
                DebuggerChoice::File(file) => HookConfig::read(Path::new(file))?,
                DebuggerChoice::Off | DebuggerChoice::Usual => None,
            },
            rules: config.rules.build().map_err(TrainError::Rule)?,
        })
    }
}

/// What became of the rules, and where the time went.
#[derive(Debug, Default)]
pub struct Seen {
    pub rules: Vec<RuleOutcome>,
    pub profile: Option<Summary>,
}

impl Run {
    /// The look inside that was asked for.
    pub(super) fn debugger(
        &self,
        inside: Inside,
        model: &ResNet,
        feeds: &Feeds,
    ) -> Result<Debugger, TrainError> {
        let config = &self.config;
        let batches = feeds.train.batches();
        let asked = config.debugger_save_interval;
        let interval = asked.unwrap_or((batches / LOOKS_PER_EPOCH).max(FEWEST_STEPS));
        let hook = match config.debugger {
            DebuggerChoice::Usual => {
                let large = asked.unwrap_or(SAVE_INTERVAL);
                Some(HookConfig::usual(interval, large))
            }
            DebuggerChoice::Off | DebuggerChoice::File(_) => inside.hook,
        };
        let output = hook.map(|hook| {
            let tensors = self.folder.tensors(hook.local_path.as_deref());
            tracing::info!("debugger: tensors go to {}", tensors.display());
            Output {
                hook,
                tensors,
                histograms: self.folder.tensorboard().join("debugger"),
            }
        });
        Ok(Debugger::start(Setup {
            output,
            rules: inside.rules,
            rules_interval: interval,
            stop: self.stop.clone(),
            every_rule_stops: config.rules_action == RulesAction::Stop,
            epochs: Epochs {
                train_batches: batches,
                valid_batches: feeds.valid.batches(),
            },
            network: model.config().clone(),
        })?)
    }

    /// The profiler that was asked for.
    pub(super) fn profiler(&self) -> Result<Profiler, TrainError> {
        if !self.config.profiler {
            return Ok(Profiler::off());
        }
        let mut follow = self.folder.profiler_config().map(|file| Follow::new(&file));
        let config = match &mut follow {
            Some(follow) => follow.look().unwrap_or_else(ProfilerConfig::off),
            None => ProfilerConfig::default(),
        };
        let folder = self.folder.clone();
        let setup = profiler::Setup {
            gpu: (!self.device.is_cpu).then(|| self.device.device.clone()),
            config,
            follow,
            place_of: Box::new(move |config| folder.profiler(config)),
            workers: self.config.workers,
        };
        Profiler::start(setup).map_err(TrainError::Profiler)
    }

    /// Ends both and writes what they say.
    pub(super) fn seen(
        &self,
        rules: Vec<RuleOutcome>,
        profiler: Profiler,
        loaders: &Loaders,
    ) -> Result<Seen, TrainError> {
        if !rules.is_empty() {
            let path = self.folder.path().join("rules.json");
            let text = serde_json::to_string_pretty(&rules).map_err(std::io::Error::other);
            text.and_then(|text| crate::files::write_atomically(&path, text.as_bytes()))
                .map_err(|source| TrainError::Write { path, source })?;
        }
        let facts = loaders.facts(self.splits.train.len(), &self.device);
        let profile = profiler.finish(facts).map(|(profile, root)| {
            let summary = Summary::of(&profile);
            // Reports are an extra, which must not cost the model.
            if let Some(root) = root
                && let Err(error) = write_reports(&root, &summary.rules)
            {
                tracing::warn!("profiler: {}: {error}", root.display());
            }
            summary
        });
        Ok(Seen { rules, profile })
    }
}
