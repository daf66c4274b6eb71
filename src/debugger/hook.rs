//! The hook that a training loop carries.
//!
//! Input: what is to be saved and looked for. Output: files and findings, made by a thread of its own. On a step where nothing is due the
//! loop pays for a comparison per collection; where something is, for the copies to the host.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::capture::{Capture, Epochs, Pending, gradient_name, weight_name};
use super::collection::{Collection, Saved};
use super::config::HookConfig;
use super::histograms::Histograms;
use super::rules::{Rule, RuleOutcome, Rules};
use super::tensor::{Entry, ModeKey};
use super::writer::{TrialWriter, WriteError};
use crate::logging::sentence;
use crate::model::ResNetConfig;
use crate::train::StopSignal;

/// Steps that may wait for the thread; more would hold too much memory.
const WAITING_STEPS: usize = 2;
/// How often the thread looks whether the run still makes steps.
const PULSE: Duration = Duration::from_secs(1);

/// What is written, and where.
pub struct Output {
    pub hook: HookConfig,
    /// Debugger's files.
    pub tensors: PathBuf,
    /// TensorBoard's.
    pub histograms: PathBuf,
}

/// What a run's hook is to do.
pub struct Setup {
    pub output: Option<Output>,
    pub rules: Vec<Box<dyn Rule>>,
    /// Steps between two looks of the rules.
    pub rules_interval: usize,
    /// Told to end the run when a rule fires that ends it.
    pub stop: StopSignal,
    /// Whether every rule does, and not only one that was told to.
    pub every_rule_stops: bool,
    pub epochs: Epochs,
    pub network: ResNetConfig,
}

/// A hook that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DebuggerError {
    #[error("--debugger: {0}")]
    Write(#[from] WriteError),
    #[error("--debugger: no thread can be started: {0}")]
    Thread(std::io::Error),
}

/// A collection and who wants it.
pub struct Watched {
    pub(super) collection: Collection,
    /// Whether it goes into files, or only to rules.
    pub(super) written: bool,
    /// Whether layers have to be looked at for it.
    pub(super) layers: bool,
    /// Whether it takes any weight or gradient.
    pub(super) parameters: bool,
}

/// See the module.
#[derive(Default)]
pub struct Debugger(Option<Live>);

struct Live {
    watched: Vec<Watched>,
    epochs: Epochs,
    sender: SyncSender<Pending>,
    /// Milliseconds since 1970 of the last step.
    last_step: Arc<AtomicU64>,
    thread: JoinHandle<Vec<RuleOutcome>>,
}

impl Debugger {
    /// A hook that does nothing.
    pub fn off() -> Self {
        Debugger::default()
    }

    /// Starts the thread; a hook that does nothing where nothing is asked for.
    ///
    /// # Errors
    /// The folder cannot be made, or no thread can be started.
    pub fn start(setup: Setup) -> Result<Self, DebuggerError> {
        let rules = setup.rules;
        let layers = setup.network.layer_tensors();
        let parameters = parameter_tensors(&setup.network);
        let mut watched = Vec::new();
        let mut watch = |collection: Collection, written| {
            let takes = |names: &[String]| names.iter().any(|name| collection.contains(name));
            watched.push(Watched {
                layers: takes(&layers),
                parameters: takes(&parameters),
                collection,
                written,
            });
        };
        for rule in &rules {
            for need in rule.needs() {
                let collection = need.collection(rule.name(), setup.rules_interval);
                if let Some(collection) = collection {
                    watch(collection, false);
                }
            }
        }
        let (mut writer, mut histograms) = (None, None);
        if let Some(output) = setup.output {
            let collections = output.hook.collections;
            writer = Some(TrialWriter::create(&output.tensors, collections.clone())?);
            histograms = Some(Histograms::new(output.histograms));
            collections
                .into_iter()
                .for_each(|collection| watch(collection, true));
        }
        if watched.is_empty() {
            return Ok(Debugger::off());
        }
        let (sender, receiver) = sync_channel(WAITING_STEPS);
        let last_step = Arc::new(AtomicU64::new(now_ms()));
        let work = Work {
            writer,
            histograms,
            rules: Rules::new(rules),
            ends: Ends {
                stop: setup.stop,
                every_rule: setup.every_rule_stops,
            },
            last_step: last_step.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("debugger".into())
            .spawn(move || work.run(&receiver))
            .map_err(DebuggerError::Thread)?;
        Ok(Debugger(Some(Live {
            watched,
            epochs: setup.epochs,
            sender,
            last_step,
            thread,
        })))
    }

    /// What is due of a batch, from 0, of an epoch, from 0; `None` where nothing is.
    pub(crate) fn step(&self, mode: ModeKey, epoch: usize, batch: usize) -> Option<Capture<'_>> {
        let live = self.0.as_ref()?;
        live.last_step.store(now_ms(), Ordering::Relaxed);
        let position = live.epochs.position(mode, epoch, batch);
        let is_due = |w: &&Watched| w.collection.save.is_due(mode, position.mode_step);
        let due: Vec<&Watched> = live.watched.iter().filter(is_due).collect();
        (!due.is_empty()).then(|| Capture::new(due, position))
    }

    /// Hands over what was captured.
    pub(crate) fn submit(&self, capture: Capture) {
        if let Some(live) = &self.0 {
            // The thread ends early only by a panic, which its end reports.
            let _ = live.sender.send(capture.into_pending());
        }
    }

    /// Waits until everything is written and judged.
    pub fn finish(self) -> Vec<RuleOutcome> {
        let Some(live) = self.0 else {
            return Vec::new();
        };
        drop(live.sender);
        live.thread.join().unwrap_or_else(|_| {
            tracing::warn!(
                "the debugger's thread has panicked: its last steps and findings are lost"
            );
            Vec::new()
        })
    }
}

fn now_ms() -> u64 {
    (crate::files::seconds_since_epoch() * 1e3) as u64
}

/// What the thread does.
struct Work {
    writer: Option<TrialWriter>,
    histograms: Option<Histograms>,
    rules: Rules,
    ends: Ends,
    last_step: Arc<AtomicU64>,
}

impl Work {
    fn run(mut self, receiver: &Receiver<Pending>) -> Vec<RuleOutcome> {
        loop {
            match receiver.recv_timeout(PULSE) {
                Ok(pending) => self.take(pending),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let silent_ms = now_ms().saturating_sub(self.last_step.load(Ordering::Relaxed));
            let found = &mut |outcome: &RuleOutcome, stops| self.ends.announce(outcome, stops);
            self.rules.waiting(silent_ms as f64 / 1e3, found);
        }
        if let Some(writer) = self.writer
            && let Err(error) = writer.end()
        {
            tracing::warn!("debugger: {error}");
        }
        // There is nothing left to stop.
        self.rules.end(&mut |outcome, _| announce(outcome))
    }

    fn take(&mut self, Pending { mut step, written }: Pending) {
        let found = &mut |outcome: &RuleOutcome, stops| self.ends.announce(outcome, stops);
        self.rules.step(&step, found);
        if let Some(histograms) = &mut self.histograms
            && let Err(error) = histograms.take(&step, &written)
        {
            tracing::warn!("there are no more histograms, training goes on: {error}");
            self.histograms = None;
        }
        let Some(writer) = &mut self.writer else {
            return;
        };
        let entries = step.entries.into_iter().zip(written);
        step.entries = entries
            .filter_map(|(entry, saved)| saved.map(|saved| reduced(entry, &saved)))
            .collect();
        if let Err(error) = writer.write(&step) {
            tracing::warn!("debugger stops here, training goes on: {error}");
            self.writer = None;
        }
    }
}

/// What of a tensor goes into the files.
fn reduced(entry: Entry, saved: &Saved) -> Entry {
    let reductions = saved.reductions.iter();
    let reductions = reductions
        .filter_map(|kind| Some((*kind, entry.reduced(*kind)?)))
        .collect();
    let shape = entry.value.as_ref().map(|tensor| tensor.shape.clone());
    Entry {
        reductions,
        shape: shape.filter(|_| saved.shape),
        value: entry.value.filter(|_| saved.raw),
        name: entry.name,
    }
}

/// What a rule that fires does to the run.
struct Ends {
    stop: StopSignal,
    /// Whether each ends it, and not only one that was told to.
    every_rule: bool,
}

impl Ends {
    /// Says what a rule has found, and ends the run where the rule does.
    fn announce(&self, outcome: &RuleOutcome, stops: bool) {
        announce(outcome);
        if stops || self.every_rule {
            tracing::warn!(
                "rule {} ends the training: the best model so far is kept",
                outcome.rule
            );
            self.stop.of_rule();
        }
    }
}

/// Says what a rule has found.
fn announce(outcome: &RuleOutcome) {
    let at = match &outcome.mode_step {
        Some((mode, step)) => format!(" at step {step} of {mode}"),
        None => String::new(),
    };
    let advice = sentence(&outcome.advice);
    tracing::warn!("rule {}{at}: {}. {advice}", outcome.rule, outcome.finding);
}

/// The names of the tensors that are weights or gradients.
fn parameter_tensors(network: &ResNetConfig) -> Vec<String> {
    let names = network.tensors().into_iter().map(|spec| spec.name);
    names
        .flat_map(|name| [weight_name(&name), gradient_name(&name)])
        .collect()
}
