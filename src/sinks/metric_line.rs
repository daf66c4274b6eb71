//! The metric lines on stdout that SageMaker reads with regular expressions.
//!
//! Input: [`EpochMetrics`], [`TestMetrics`] and [`BestMetric`]. Output: one line of `name=value` pairs each, ended by `\n`
//! and flushed.

use std::io::{self, Write};

use super::{
    BestMetric, EpochMetrics, Event, Sink, SinkError, Terminal, TestMetrics,
    metric_table::{Decimals, EPOCH, TEST, plain, push_metrics},
};

fn epoch_line(metrics: &EpochMetrics) -> String {
    let mut line = format!("epoch={}", metrics.epoch);
    push_metrics(&mut line, &EPOCH, metrics);
    line
}

fn test_line(metrics: &TestMetrics) -> String {
    let mut line = String::new();
    push_metrics(&mut line, &TEST, metrics);
    line
}

fn best_line(best: &BestMetric) -> Option<String> {
    let value = plain(best.value, Decimals::Fraction)?;
    Some(format!("best epoch={} {}={value}", best.epoch, best.metric))
}

/// Prints the metric lines.
pub struct MetricLineSink<W> {
    out: W,
    terminal: Terminal,
}

impl MetricLineSink<io::Stdout> {
    /// Prints to stdout, stepping around a progress bar on `terminal`.
    #[must_use]
    pub fn stdout(terminal: Terminal) -> Self {
        Self {
            out: io::stdout(),
            terminal,
        }
    }
}

impl<W: Write> MetricLineSink<W> {
    /// Prints to `out`.
    #[must_use]
    pub fn to(out: W) -> Self {
        Self {
            out,
            terminal: Terminal::hidden(),
        }
    }
}

impl<W: Write + Send> Sink for MetricLineSink<W> {
    fn name(&self) -> &str {
        "the metric line"
    }

    fn event(&mut self, event: &Event) -> Result<(), SinkError> {
        let line = match event {
            Event::EpochEnded(metrics) => epoch_line(metrics),
            Event::TestEnded(metrics) => test_line(metrics),
            Event::Best(best) => best_line(best).unwrap_or_default(),
            _ => return Ok(()),
        };
        if line.is_empty() {
            return Ok(());
        }
        let out = &mut self.out;
        // One write of a whole line, so that lines of other threads cannot fall into it.
        self.terminal
            .suspend(|| {
                out.write_all(format!("{line}\n").as_bytes())
                    .and_then(|()| out.flush())
            })
            .map_err(|source| SinkError::Stream {
                stream: "stdout",
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{event::samples, metric_definitions};
    use super::*;

    fn printed(events: &[Event]) -> String {
        let mut sink = MetricLineSink::to(Vec::new());
        for event in events {
            sink.event(event).unwrap();
        }
        String::from_utf8(sink.out).unwrap()
    }

    #[test]
    fn an_epoch_is_one_line() {
        assert_eq!(
            printed(&[Event::EpochEnded(samples::epoch(3))]),
            "epoch=3 train:loss=0.9120 train:accuracy=0.7710 validation:loss=0.8012 validation:accuracy=0.7830 \
             validation:top5=0.9375 train:images_per_second=52.1 validation:images_per_second=151.0 \
             learning_rate=0.00001\n"
        );
    }

    #[test]
    fn test_and_best_have_lines_of_their_own() {
        let best = BestMetric {
            metric: "validation:accuracy".into(),
            value: 0.883,
            epoch: 2,
        };
        assert_eq!(
            printed(&[
                Event::TestEnded(samples::test()),
                Event::Best(best),
                Event::RunEnded
            ]),
            "test:loss=0.7500 test:accuracy=0.8000 test:top5=0.9500\nbest epoch=2 validation:accuracy=0.8830\n"
        );
    }

    #[test]
    fn what_no_regex_can_read_is_left_out() {
        let metrics = EpochMetrics {
            train_loss: f64::NAN,
            valid_loss: f64::INFINITY,
            learning_rate: -1.0,
            valid_top_k: None,
            ..samples::epoch(1)
        };
        assert_eq!(
            epoch_line(&metrics),
            "epoch=1 train:accuracy=0.7710 validation:accuracy=0.7830 train:images_per_second=52.1 \
             validation:images_per_second=151.0"
        );
        let best = BestMetric {
            metric: "validation:loss".into(),
            value: f64::NAN,
            epoch: 1,
        };
        assert_eq!(printed(&[Event::Best(best)]), "");
    }

    /// The value that `name=([0-9.]+)` captures at each place where it matches, as a regex engine would find them.
    fn captures(name: &str, text: &str) -> Vec<String> {
        text.match_indices(&format!("{name}="))
            .map(|(at, key)| {
                text[at + key.len()..]
                    .chars()
                    .take_while(|c| c.is_ascii_digit() || *c == '.')
                    .collect()
            })
            .collect()
    }

    #[test]
    fn each_definition_finds_exactly_one_value() {
        let log = printed(&[
            Event::EpochEnded(samples::epoch(1)),
            Event::TestEnded(samples::test()),
        ]);
        let definitions = metric_definitions(Some(5));
        let definitions = definitions.as_array().unwrap();
        assert_eq!(definitions.len(), EPOCH.len() + TEST.len());
        // SageMaker takes at most 20 for a tuning job.
        assert!(definitions.len() <= 20);
        for definition in definitions {
            let name = definition["Name"].as_str().unwrap();
            assert_eq!(definition["Regex"], format!("{name}=([0-9.]+)"));
            let found = captures(name, &log);
            assert_eq!(found.len(), 1, "{name} in {log}");
            assert!(found[0].parse::<f64>().is_ok(), "{name}: {}", found[0]);
        }
    }
}
