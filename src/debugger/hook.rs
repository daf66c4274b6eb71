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

use super::capture::{Capture, Epochs, Pending, takes_layers};
use super::collection::{Collection, Saved};
use super::config::HookConfig;
use super::rules::{RuleList, RuleOutcome, Rules, build};
use super::tensor::{Entry, ModeKey, StepRecord};
use super::writer::{TrialWriter, WriteError};
use crate::train::StopSignal;

/// Steps that may wait for the thread; more would hold too much memory.
const WAITING_STEPS: usize = 2;
/// How often the thread looks whether the run still makes steps.
const PULSE: Duration = Duration::from_secs(1);

/// What a run's hook is to do.
pub struct Setup {
    /// What is written, and into which folder.
    pub hook: Option<(HookConfig, PathBuf)>,
    pub rules: RuleList,
    /// Steps between two looks of the rules.
    pub rules_interval: usize,
    /// Told to end the run when a rule fires.
    pub stop: Option<StopSignal>,
    /// Told to end the run when a rule that asks for it itself fires.
    pub own_stop: StopSignal,
    pub epochs: Epochs,
    /// The names of the network's layer inputs and outputs.
    pub layer_tensors: Vec<String>,
}

/// A hook that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DebuggerError {
    #[error("--debugger: {0}")]
    Write(#[from] WriteError),
    #[error("--rules: {0}")]
    Rule(String),
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
    /// The folder cannot be made, or a rule has what it compares with missing.
    pub fn start(setup: Setup) -> Result<Self, DebuggerError> {
        let rules = setup.rules.rules.iter().map(build);
        let rules = rules
            .collect::<Result<Vec<_>, _>>()
            .map_err(DebuggerError::Rule)?;
        let mut watched = Vec::new();
        let mut watch = |collection: Collection, written| {
            let layers = takes_layers(|name| collection.contains(name), &setup.layer_tensors);
            watched.push(Watched {
                collection,
                written,
                layers,
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
        let mut writer = None;
        if let Some((hook, folder)) = setup.hook {
            writer = Some(TrialWriter::create(&folder, hook.collections.clone())?);
            hook.collections
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
            rules: Rules::new(rules),
            stop: setup.stop,
            own_stop: setup.own_stop,
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
    rules: Rules,
    stop: Option<StopSignal>,
    own_stop: StopSignal,
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
            let mut found = Announce::new(&self.stop, &self.own_stop);
            self.rules
                .waiting(silent_ms as f64 / 1e3, &mut |outcome, stops| {
                    found.tell(outcome, stops)
                });
        }
        if let Some(writer) = self.writer
            && let Err(error) = writer.end()
        {
            tracing::warn!("debugger: {error}");
        }
        let mut found = Announce::new(&None, &self.own_stop);
        self.rules.end(&mut |outcome, _| found.tell(outcome, false))
    }

    fn take(&mut self, pending: Pending) {
        let mut written = Vec::with_capacity(pending.tensors.len());
        let mut entries = Vec::with_capacity(pending.tensors.len());
        for each in pending.tensors {
            written.push(each.written);
            entries.push(Entry::whole(each.name, each.tensor));
        }
        let mut step = StepRecord {
            mode: pending.position.mode,
            mode_step: pending.position.mode_step,
            global_step: pending.position.global_step,
            wall_time: pending.wall_time,
            entries,
        };
        let mut found = Announce::new(&self.stop, &self.own_stop);
        self.rules
            .step(&step, &mut |outcome, stops| found.tell(outcome, stops));
        let Some(writer) = &mut self.writer else {
            return;
        };
        let entries = std::mem::take(&mut step.entries).into_iter().zip(written);
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

/// Says what a rule has found, and ends the run where that was asked for.
struct Announce<'a> {
    stop: &'a Option<StopSignal>,
    own_stop: &'a StopSignal,
}

impl<'a> Announce<'a> {
    fn new(stop: &'a Option<StopSignal>, own_stop: &'a StopSignal) -> Self {
        Announce { stop, own_stop }
    }

    fn tell(&mut self, outcome: &RuleOutcome, stops: bool) {
        let at = match &outcome.mode_step {
            Some((mode, step)) => format!(" at step {step} of {mode}"),
            None => String::new(),
        };
        tracing::warn!(
            "rule {}{at}: {}. {}",
            outcome.rule,
            outcome.finding,
            sentence(&outcome.advice)
        );
        let stop = match stops {
            true => Some(self.own_stop),
            false => self.stop.as_ref(),
        };
        if let Some(stop) = stop {
            tracing::warn!(
                "rule {} ends the training: the best model so far is kept",
                outcome.rule
            );
            stop.terminate();
        }
    }
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    let end = if text.ends_with(['.', '?', '!']) {
        ""
    } else {
        "."
    };
    format!("{first}{}{end}", letters.as_str())
}
