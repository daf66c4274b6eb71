//! Being asked to stop: Ctrl-C on a terminal, SIGTERM from SageMaker or Docker, a rule that has seen enough.
//!
//! Input: signals, and [`StopSignal::of_rule`]. Output: [`StopSignal`], looked at between steps. The first signal asks the loop to end in good order;
//! a second Ctrl-C ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a start-up that was told to stop may go on: well within the two minutes that SageMaker leaves.
const START_UP_GRACE: Duration = Duration::from_secs(15);

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C: keep a checkpoint and leave quickly.
    Interrupt,
    /// SIGTERM: keep a checkpoint, finish the artifact from the best epoch and report success.
    Terminate,
    /// A rule has fired that ends the run: as with SIGTERM.
    Rule,
}

/// A flag per signal.
#[derive(Clone, Debug, Default)]
pub struct StopSignal {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    rule: Arc<AtomicBool>,
    /// Whether there is something to save by now.
    started: Arc<AtomicBool>,
}

impl StopSignal {
    /// Listens to SIGTERM from now on.
    ///
    /// # Errors
    /// The system refuses the handler.
    pub fn install() -> std::io::Result<Self> {
        let signal = StopSignal::default();
        signal_hook::flag::register(signal_hook::consts::SIGTERM, signal.terminate.clone())?;
        Ok(signal)
    }

    /// Watches over the start-up. It usually takes a second or two and leads to a model, so a signal waits for its end; one that
    /// hangs, on a network or a pipe, is cut short with success.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn watch_start_up(&self) -> std::io::Result<()> {
        let watched = self.clone();
        thread::Builder::new()
            .name("start-up".into())
            .spawn(move || watched.cut_start_up_short())?;
        Ok(())
    }

    /// The start-up is over: from now on Ctrl-C, too, ends in good order. Before, it ends the program as it always does.
    ///
    /// # Errors
    /// The system refuses the handler.
    pub fn started(&self) -> std::io::Result<()> {
        use signal_hook::consts::SIGINT;
        use signal_hook::flag;
        // Order matters: the shutdown handler looks at the flag before the other sets it, so only a second one ends all.
        flag::register_conditional_shutdown(SIGINT, 130, self.interrupt.clone())?;
        flag::register(SIGINT, self.interrupt.clone())?;
        self.started.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn cut_start_up_short(&self) {
        let mut told: Option<Instant> = None;
        while !self.started.load(Ordering::Relaxed) {
            if self.requested().is_some() {
                let told = *told.get_or_insert_with(Instant::now);
                if told.elapsed() > START_UP_GRACE {
                    tracing::warn!("stopped by SIGTERM before training began: there is no model");
                    std::process::exit(0);
                }
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A rule ends the run.
    pub fn of_rule(&self) {
        self.rule.store(true, Ordering::Relaxed);
    }

    /// The training is over: a rule that has fired, or fires on the last steps, has nothing left to end.
    pub fn forget_rule(&self) {
        self.rule.store(false, Ordering::Relaxed);
    }

    /// What was asked for so far: SIGTERM counts more than Ctrl-C, and either more than a rule.
    pub fn requested(&self) -> Option<Stop> {
        let asked = [
            (&self.terminate, Stop::Terminate),
            (&self.interrupt, Stop::Interrupt),
            (&self.rule, Stop::Rule),
        ];
        let first = asked
            .into_iter()
            .find(|(flag, _)| flag.load(Ordering::Relaxed));
        first.map(|(_, stop)| stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn termination_outranks_an_interrupt_and_that_a_rule() {
        let signal = StopSignal::default();
        assert_eq!(signal.requested(), None);
        signal.of_rule();
        assert_eq!(signal.requested(), Some(Stop::Rule));
        signal.forget_rule();
        assert_eq!(signal.requested(), None);
        signal.of_rule();
        signal.interrupt.store(true, Ordering::Relaxed);
        assert_eq!(signal.requested(), Some(Stop::Interrupt));
        signal.terminate.store(true, Ordering::Relaxed);
        assert_eq!(signal.requested(), Some(Stop::Terminate));
    }
}
