//! One terminal shared by the progress bar, the log and the metric lines.
//!
//! Input: text. Output: text above a bar that stays whole. Whoever prints while a bar may be drawn goes through here.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};

/// A handle to stderr as a place for a progress bar. Clones share the bar.
#[derive(Debug, Clone)]
pub struct Terminal {
    bars: MultiProgress,
    interactive: bool,
}

impl Terminal {
    /// The process's stderr; bars are drawn only if it is a terminal.
    #[must_use]
    pub fn stderr() -> Self {
        let interactive = io::stderr().is_terminal();
        let target = if interactive {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            interactive,
        }
    }

    /// A place where nothing is drawn.
    #[must_use]
    pub fn hidden() -> Self {
        Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            interactive: false,
        }
    }

    /// Whether a person may be watching.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Puts `bar` on the terminal.
    #[must_use]
    pub fn add(&self, bar: ProgressBar) -> ProgressBar {
        self.bars.add(bar)
    }

    /// Runs `print` while no bar is drawn.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bars.suspend(print)
    }

    /// A writer to stderr that steps around the bar, for the log.
    #[must_use]
    pub fn writer(&self) -> TerminalWriter {
        TerminalWriter(self.clone())
    }
}

/// Stderr around a progress bar, see [`Terminal::writer`].
#[derive(Debug, Clone)]
pub struct TerminalWriter(Terminal);

impl Write for TerminalWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
