//! The work of a study: trials one after another or side by side, until all have ended.
//!
//! Input: an open [`Study`] and how to run it. Output: its journal filled, its best model in place, and a line for each trial that
//! ends.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::journal::{Outcome, Record};
use super::keep::{KeepError, keep_best};
use super::progress::Progress;
use super::room;
use super::space::Values;
use super::strategy::Search;
use super::study::{Study, StudyError};
use super::trial::{Ask, Bench, News, Running};
use super::verdict::loss;
use crate::train::{Stop, StopSignal};

/// How often it is looked whether a signal came.
const LOOK: Duration = Duration::from_millis(50);
/// So many trials that fail with the same words before an epoch is over say that it is not the values' fault.
const SAME_FAILURES: usize = 2;

/// How a study is run: what may differ from one process to the next.
#[derive(Clone, Debug)]
pub struct Options {
    /// Trials in all.
    pub max_jobs: usize,
    /// Trials at once.
    pub parallel: usize,
    /// Memory that was free at the start, and what a trial is expected to take.
    pub available_bytes: Option<u64>,
    pub need_bytes: u64,
    /// Keep every trial's model, not only the best one's.
    pub keep_models: bool,
}

/// What went wrong with the study itself.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    #[error(transparent)]
    Study(#[from] StudyError),
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error("trial {number} cannot be started in {folder}: {source}")]
    Start {
        number: usize,
        folder: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "every trial failed with the same words before its first epoch was over: {reason}\nIt is not the values' fault, so no more are \
         tried. When that is mended, run the same command again"
    )]
    SameFailure { reason: String },
}

/// A study being run.
pub struct Runner<'a> {
    pub study: &'a mut Study,
    pub bench: Bench,
    pub options: Options,
    /// Epochs of a trial with these values, and whether it reports its best epoch again.
    pub plan: &'a dyn Fn(&Values) -> (usize, bool),
    search: Search,
    pub(super) running: Vec<Running>,
    progress: Progress,
    /// Nothing is left to try.
    is_exhausted: bool,
    most_memory: u64,
}

impl<'a> Runner<'a> {
    pub fn new(
        study: &'a mut Study,
        bench: Bench,
        options: Options,
        plan: &'a dyn Fn(&Values) -> (usize, bool),
    ) -> Self {
        let definition = &study.definition;
        let mut search = Search::new(definition.strategy, &definition.space, definition.seed);
        for trial in study.trials.values() {
            search.handed_out(&trial.values);
            if let Some(outcome) = &trial.outcome {
                search.tell(&trial.values, loss(study, outcome));
            }
        }
        Runner {
            progress: Progress::new(options.max_jobs),
            study,
            bench,
            options,
            plan,
            search,
            running: Vec::new(),
            is_exhausted: false,
            most_memory: 0,
        }
    }

    /// Runs trials until all have ended or a signal comes, which is returned.
    ///
    /// # Errors
    /// [`TuneError`]; no trial is running then.
    pub fn run(&mut self, stop: &StopSignal) -> Result<Option<Stop>, TuneError> {
        let (sender, receiver) = channel();
        let ran = self.until_done(stop, &sender, &receiver);
        for trial in &mut self.running {
            trial.ask(Ask::Pause);
            // Its end is all that is waited for.
            let _ = trial.wait();
        }
        ran.map(|()| stop.requested())
    }

    fn until_done(
        &mut self,
        stop: &StopSignal,
        sender: &Sender<News>,
        receiver: &Receiver<News>,
    ) -> Result<(), TuneError> {
        keep_best(self.study, self.options.keep_models)?;
        loop {
            if stop.requested().is_none() {
                while self.running.len() < self.slots() && self.start_next(sender)? {}
            } else {
                let unasked = self.running.iter_mut().filter(|trial| !trial.is_paused);
                unasked.for_each(|trial| trial.ask(Ask::Pause));
            }
            if self.running.is_empty() {
                return Ok(());
            }
            match receiver.recv_timeout(LOOK) {
                Ok(News::Word(number) | News::Epoch(number)) => self.judge(number),
                Ok(News::Silence(number)) => self.silence(number)?,
                // The sender is ours, so that no stream can close this end.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    /// Trials at once: what was asked for, as long as memory allows for the largest seen so far.
    fn slots(&self) -> usize {
        let need = self.options.need_bytes.max(self.most_memory);
        room::slots(self.options.parallel, self.options.available_bytes, need)
    }

    /// Starts the next trial; false where there is none to start.
    fn start_next(&mut self, news: &Sender<News>) -> Result<bool, TuneError> {
        let is_running = |number| self.running.iter().any(|trial| trial.number == number);
        let trials = self.study.trials.values();
        let unfinished = trials
            .filter(|trial| trial.outcome.is_none() && !is_running(trial.number))
            .map(|trial| (trial.number, trial.values.clone()))
            .next();
        let (number, values) = match unfinished {
            Some(unfinished) => unfinished,
            None => {
                let number = self.study.trials.keys().last().map_or(1, |last| last + 1);
                if number > self.options.max_jobs || self.is_exhausted {
                    return Ok(false);
                }
                let Some(values) = self.search.ask(number) else {
                    self.is_exhausted = true;
                    tracing::info!("every combination of the space was tried");
                    return Ok(false);
                };
                (number, values)
            }
        };
        self.study.note(Record::Started {
            trial: number,
            values: values.clone(),
            at: crate::files::now_utc(),
        })?;
        let folder = self.study.trial_folder(number);
        let started = Running::start(&self.bench, number, &values, &folder, news);
        let trial = started.map_err(|source| TuneError::Start {
            number,
            folder,
            source,
        })?;
        self.progress.started(number, &values);
        self.running.push(trial);
        Ok(true)
    }

    /// Looks at the epochs of a trial that came since, and stops it where they say so.
    fn judge(&mut self, number: usize) {
        let rows = self.epochs(number);
        let Some(index) = self.running.iter().position(|trial| trial.number == number) else {
            return;
        };
        if self.running[index].stopped_with.is_some() {
            return;
        }
        let stop = self.stop_of(number, &rows, self.running[index].judged);
        let values: Vec<f64> = rows.iter().map(|row| row.value).collect();
        if let Some(known) = self.study.trials.get(&number) {
            let (epochs, _) = (self.plan)(&known.values);
            self.progress.epoch(self.study, number, &values, epochs);
        }
        let trial = &mut self.running[index];
        trial.judged = trial.judged.max(rows.len());
        if let Some(epoch) = stop {
            trial.stopped_with = Some(epoch);
            trial.ask(Ask::Finish);
        }
    }

    /// A stream of a trial is closed; with the second one the trial has ended.
    fn silence(&mut self, number: usize) -> Result<(), TuneError> {
        let Some(index) = self.running.iter().position(|trial| trial.number == number) else {
            return Ok(());
        };
        self.running[index].open_streams -= 1;
        if self.running[index].open_streams > 0 {
            return Ok(());
        }
        let mut trial = self.running.remove(index);
        let folder = self.study.trial_folder(number);
        let status = trial.wait().map_err(|source| TuneError::Start {
            number,
            folder,
            source,
        })?;
        let seconds = trial.started.elapsed().as_secs_f64();
        if trial.is_paused && !status.success() {
            let interrupted = Record::Interrupted {
                trial: number,
                seconds,
            };
            return Ok(self.study.note(interrupted)?);
        }
        self.end(&trial, status, seconds)
    }

    /// Notes what a trial came to.
    fn end(&mut self, trial: &Running, status: ExitStatus, seconds: f64) -> Result<(), TuneError> {
        let number = trial.number;
        let outcome = self.outcome(trial, status, seconds);
        self.most_memory = self.most_memory.max(outcome.peak_memory_bytes.unwrap_or(0));
        if let Some(known) = self.study.trials.get(&number) {
            let loss = loss(self.study, &outcome);
            self.search.tell(&known.values, loss);
        }
        self.study.note(Record::Ended {
            trial: number,
            outcome,
        })?;
        keep_best(self.study, self.options.keep_models)?;
        self.progress.ended(self.study, number);
        self.check_same_failure()
    }

    /// Gives up where what is wrong has nothing to do with the values. Those trials count as not tried.
    fn check_same_failure(&mut self) -> Result<(), TuneError> {
        let ended: Vec<_> = self.study.ended().collect();
        let least = SAME_FAILURES.min(self.options.max_jobs);
        let Some((_, first)) = ended.first() else {
            return Ok(());
        };
        let (Some(reason), true) = (first.reason.clone(), ended.len() >= least) else {
            return Ok(());
        };
        // A trial's own folder may be part of what it says.
        let plain = |number: usize, outcome: &Outcome| {
            let folder = self.study.trial_folder(number).display().to_string();
            let reason = outcome.reason.as_ref()?;
            outcome
                .epochs
                .is_empty()
                .then(|| reason.replace(&folder, ""))
        };
        let words: Vec<_> = ended
            .iter()
            .map(|(t, outcome)| plain(t.number, outcome))
            .collect();
        if words.iter().any(|word| word.is_none() || *word != words[0]) {
            return Ok(());
        }
        let trials = ended.iter().map(|(trial, _)| trial.number).collect();
        self.study.note(Record::Withdrawn { trials })?;
        Err(TuneError::SameFailure { reason })
    }
}
