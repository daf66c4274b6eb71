//! What is said on stderr while a command works.
//!
//! Input: `tracing` events. Output: plain lines without time or module: information bare, warnings and errors marked, so
//! that they read well on a terminal and in a SageMaker log alike. Lines above a progress bar push it down.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::sinks::{Terminal, TerminalWriter};

/// Starts logging. `RUST_LOG=debug` (or trace, warn, error) changes how much is said.
pub fn install() {
    let level = std::env::var("RUST_LOG")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(Level::INFO);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .event_format(PlainLines)
        .with_writer(Console(terminal()))
        .finish();
    // Only a second call could fail, and then the first one's choice stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// The one terminal of this process: bars and lines have to know of each other.
pub fn terminal() -> Terminal {
    static TERMINAL: std::sync::OnceLock<Terminal> = std::sync::OnceLock::new();
    TERMINAL.get_or_init(Terminal::stderr).clone()
}

struct Console(Terminal);

impl<'a> MakeWriter<'a> for Console {
    type Writer = TerminalWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self.0.writer()
    }
}

struct PlainLines;

impl<S, N> FormatEvent<S, N> for PlainLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match *event.metadata().level() {
            Level::ERROR => write!(writer, "error: ")?,
            Level::WARN => write!(writer, "warning: ")?,
            Level::INFO => {}
            level => write!(writer, "{}: ", level.as_str().to_ascii_lowercase())?,
        }
        context
            .field_format()
            .format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
