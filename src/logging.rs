//! What is said on stderr while a command works.
//!
//! Input: `tracing` events. Output: plain lines without time or module: information bare, warnings and errors marked, so
//! that they read well on a terminal and in a SageMaker log alike. Lines above a progress bar push it down.

use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::sinks::{Terminal, TerminalWriter};

/// Starts logging. `RUST_LOG=debug` (or off, error, warn, info, trace) changes how much is said.
pub fn install() {
    let typed = std::env::var_os("RUST_LOG").filter(|text| !text.is_empty());
    let typed = typed.as_ref().map(|text| text.to_string_lossy());
    let level = typed.as_ref().map(|text| level_of(text));
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level.flatten().unwrap_or(LevelFilter::INFO))
        .event_format(PlainLines)
        .with_writer(Console(terminal()))
        .finish();
    // Only a second call could fail, and then the first one's choice stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
    if let (Some(text), Some(None)) = (typed, level) {
        tracing::warn!(
            "RUST_LOG={text} is ignored: expected off, error, warn, info, debug or trace, or one of them as in sagemaker_burn=debug"
        );
    }
}

/// A text with a capital letter and a full stop.
pub fn sentence(text: &str) -> String {
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

/// The level that a value of `RUST_LOG` asks for: that of this crate, else the one for everything. Levels of other crates
/// are passed over, since a developer's shell may carry them. `None`: it holds neither.
fn level_of(text: &str) -> Option<LevelFilter> {
    let (mut own, mut general) = (None, None);
    for directive in text.split(',').map(str::trim) {
        match directive.split_once('=') {
            None if directive.is_empty() => {}
            None => general = directive.parse().ok().or(general),
            Some((target, level)) if target.split("::").next() == Some(CRATE) => {
                own = level.parse().ok().or(own);
            }
            Some(_) => {}
        }
    }
    own.or(general)
}

/// The target of this crate's events begins with it.
const CRATE: &str = env!("CARGO_CRATE_NAME");

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_is_a_level_or_a_list_of_directives() {
        for (text, level) in [
            ("off", Some(LevelFilter::OFF)),
            ("Debug", Some(LevelFilter::DEBUG)),
            ("sagemaker_burn=debug", Some(LevelFilter::DEBUG)),
            ("sagemaker_burn::train=trace", Some(LevelFilter::TRACE)),
            ("warn,sagemaker_burn=debug", Some(LevelFilter::DEBUG)),
            ("sagemaker_burn=off, info", Some(LevelFilter::OFF)),
            ("burn=trace,warn", Some(LevelFilter::WARN)),
            ("burn=trace", None),
            ("loud", None),
            ("sagemaker_burn=loud", None),
            (",", None),
        ] {
            assert_eq!(level_of(text), level, "{text}");
        }
    }
}
