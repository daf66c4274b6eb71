//! Being asked to stop: Ctrl-C on a terminal, SIGTERM from SageMaker or Docker.
//!
//! Input: signals. Output: [`StopSignal`], looked at between steps. The first signal asks the loop to end in good order;
//! a second Ctrl-C ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C: keep a checkpoint and leave quickly.
    Interrupt,
    /// SIGTERM: keep a checkpoint, finish the artifact from the best epoch and report success.
    Terminate,
}

/// A flag per signal.
#[derive(Clone, Debug, Default)]
pub struct StopSignal {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
}

impl StopSignal {
    /// Listens to signals from now on.
    ///
    /// # Errors
    /// The system refuses the handler.
    pub fn install() -> std::io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        use signal_hook::flag;
        let signal = StopSignal::default();
        // Order matters: the shutdown handler looks at the flag before the other sets it, so only a second one ends all.
        flag::register_conditional_shutdown(SIGINT, 130, signal.interrupt.clone())?;
        flag::register(SIGINT, signal.interrupt.clone())?;
        flag::register(SIGTERM, signal.terminate.clone())?;
        Ok(signal)
    }

    /// What was asked for so far; SIGTERM counts more.
    pub fn requested(&self) -> Option<Stop> {
        match (
            self.terminate.load(Ordering::Relaxed),
            self.interrupt.load(Ordering::Relaxed),
        ) {
            (true, _) => Some(Stop::Terminate),
            (false, true) => Some(Stop::Interrupt),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn termination_outranks_an_interrupt() {
        let signal = StopSignal::default();
        assert_eq!(signal.requested(), None);
        signal.interrupt.store(true, Ordering::Relaxed);
        assert_eq!(signal.requested(), Some(Stop::Interrupt));
        signal.terminate.store(true, Ordering::Relaxed);
        assert_eq!(signal.requested(), Some(Stop::Terminate));
    }
}
