//! How far the run is, for whoever watches stderr.
//!
//! Input: steps and evaluated batches. Output: a bar with the time left on a terminal; elsewhere a plain line every ten
//! seconds, because `\r` and escape codes ruin a log.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{EvaluationStep, Event, Sink, SinkError, StepMetrics, Terminal};

/// Time between two plain lines.
const PLAIN_LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows progress on stderr.
pub struct ProgressSink {
    terminal: Terminal,
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
    last_line: Instant,
}

/// A walk through batches: an epoch's training, or the evaluation of a split.
#[derive(Debug, Clone, PartialEq)]
struct Phase {
    label: String,
    /// The first step that was seen, and when: the start itself is not an event.
    first: (usize, Instant),
}

impl ProgressSink {
    /// Shows a bar if `terminal` is one, plain lines otherwise.
    #[must_use]
    pub fn new(terminal: Terminal) -> Self {
        Self {
            terminal,
            bar: None,
            phase: None,
            last_line: Instant::now(),
        }
    }

    /// Shows that `step` of `steps` of the phase `label` are done.
    fn show(
        &mut self,
        label: String,
        step: usize,
        steps: usize,
        figures: &str,
    ) -> Result<(), SinkError> {
        let now = Instant::now();
        if self.phase.as_ref().is_none_or(|phase| phase.label != label) {
            self.clear();
            if self.terminal.is_interactive() {
                let bar = ProgressBar::new(steps as u64)
                    .with_style(style())
                    .with_prefix(label.clone());
                self.bar = Some(self.terminal.add(bar));
            }
            self.phase = Some(Phase {
                label: label.clone(),
                first: (step, now),
            });
        }
        if let Some(bar) = &self.bar {
            bar.set_message(figures.to_owned());
            bar.set_position(step as u64);
        } else if now.duration_since(self.last_line) >= PLAIN_LINE_EVERY {
            self.last_line = now;
            let eta = self
                .phase
                .as_ref()
                .and_then(|phase| time_left(phase.first, (step, now), steps));
            write_line(&plain_line(&label, step, steps, figures, eta))?;
        }
        Ok(())
    }

    /// Takes the bar away.
    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.phase = None;
    }
}

impl Sink for ProgressSink {
    fn name(&self) -> &str {
        "the progress display"
    }

    fn event(&mut self, event: &Event) -> Result<(), SinkError> {
        match event {
            Event::Step(step) => self.show(
                format!("epoch {}/{}", step.epoch, step.epochs),
                step.step,
                step.steps_per_epoch,
                &figures(step),
            ),
            Event::Evaluating(EvaluationStep { split, step, steps }) => {
                self.show((*split).into(), *step, *steps, "")
            }
            Event::EpochEnded(_) | Event::TestEnded(_) | Event::RunEnded => {
                self.clear();
                Ok(())
            }
            Event::RunStarted(_) | Event::Best(_) => Ok(()),
        }
    }
}

fn style() -> ProgressStyle {
    // The template is a constant that a test parses.
    ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar())
}

const TEMPLATE: &str = "{prefix} [{bar:30}] {pos}/{len} {msg} eta {eta}";

/// `loss 1.234 lr 0.001 52.1 img/s`, as far as it is known. Without `=`, so that no regular expression for the metric line matches it.
fn figures(step: &StepMetrics) -> String {
    let rate = short(step.learning_rate);
    match step.loss {
        Some(loss) => format!(
            "loss {loss:.3} lr {rate} {:.1} img/s",
            step.images_per_second
        ),
        None => format!("loss - lr {rate}"),
    }
}

/// Three significant digits.
fn short(value: f64) -> String {
    let text = format!("{value:.2e}");
    // Read back to drop the exponent and trailing zeros where the plain form is short.
    match text.parse::<f64>() {
        Ok(rounded) if rounded == 0.0 || rounded.abs() >= 1e-4 => rounded.to_string(),
        _ => text,
    }
}

fn plain_line(
    label: &str,
    step: usize,
    steps: usize,
    figures: &str,
    eta: Option<Duration>,
) -> String {
    let gap = if figures.is_empty() { "" } else { " " };
    let eta = eta.map_or_else(|| "-".into(), clock);
    format!("{label} step {step}/{steps}{gap}{figures} eta {eta}")
}

/// Time until step `steps`, going on as since the first step seen. `None` before there is a pace.
fn time_left(first: (usize, Instant), now: (usize, Instant), steps: usize) -> Option<Duration> {
    let done = u32::try_from(now.0.checked_sub(first.0)?)
        .ok()
        .filter(|done| *done > 0)?;
    let left = u32::try_from(steps.saturating_sub(now.0)).ok()?;
    now.1
        .duration_since(first.1)
        .checked_mul(left)
        .map(|all| all / done)
}

/// `0:45`, `12:03` or `1:02:03`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

fn write_line(line: &str) -> Result<(), SinkError> {
    let mut stderr = io::stderr().lock();
    stderr
        .write_all(format!("{line}\n").as_bytes())
        .map_err(|source| SinkError::Stream {
            stream: "stderr",
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::super::event::samples;
    use super::*;

    #[test]
    fn the_template_parses() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn a_plain_line_reads_well() {
        let line = plain_line(
            "epoch 1/3",
            40,
            94,
            &figures(&samples::step(40)),
            Some(Duration::from_secs(45)),
        );
        assert_eq!(
            line,
            "epoch 1/3 step 40/94 loss 1.234 lr 0.001 52.1 img/s eta 0:45"
        );
        let unknown = StepMetrics {
            loss: None,
            ..samples::step(1)
        };
        assert_eq!(figures(&unknown), "loss - lr 0.001");
        assert_eq!(
            plain_line("validation", 1, 9, "", None),
            "validation step 1/9 eta -"
        );
    }

    #[test]
    fn learning_rates_are_short() {
        assert_eq!(short(0.001), "0.001");
        assert_eq!(short(0.000_987_654), "0.000988");
        assert_eq!(short(1.234e-7), "1.23e-7");
        assert_eq!(short(0.0), "0");
    }

    #[test]
    fn time_left_follows_the_pace_since_the_first_step_seen() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(time_left((1, start), (1, start), 94), None);
        assert_eq!(
            time_left((1, start), (11, after(20)), 94),
            Some(Duration::from_secs(166))
        );
        assert_eq!(
            time_left((50, start), (94, after(20)), 94),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn times_read_as_on_a_clock() {
        assert_eq!(clock(Duration::from_secs(45)), "0:45");
        assert_eq!(clock(Duration::from_secs(723)), "12:03");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
    }

    #[test]
    fn a_phase_begins_when_the_label_changes_and_ends_with_the_epoch() {
        let mut sink = ProgressSink::new(Terminal::hidden());
        sink.event(&Event::Step(samples::step(1))).unwrap();
        sink.event(&Event::Step(samples::step(2))).unwrap();
        assert_eq!(
            sink.phase
                .as_ref()
                .map(|phase| (phase.label.as_str(), phase.first.0)),
            Some(("epoch 1/3", 1))
        );
        sink.event(&Event::Evaluating(EvaluationStep {
            split: "validation",
            step: 1,
            steps: 9,
        }))
        .unwrap();
        assert_eq!(
            sink.phase.as_ref().map(|phase| phase.label.as_str()),
            Some("validation")
        );
        sink.event(&Event::EpochEnded(samples::epoch(1))).unwrap();
        assert_eq!(sink.phase, None);
    }
}
