//! The table of printed metrics: names, values and the regular expressions that find them.
//!
//! Input: [`EpochMetrics`] and [`TestMetrics`]. Output: `name=value` pairs, and the `MetricDefinitions` for SageMaker. Both
//! come from the one table, so they cannot drift apart.

use serde_json::{Value, json};

use super::{EpochMetrics, TestMetrics};

/// How a value is written. Always plain decimals: an exponent would end a match of `[0-9.]+` too early.
#[derive(Debug, Clone, Copy)]
pub(super) enum Decimals {
    /// At least four decimals and four significant digits: losses and fractions.
    Fraction,
    /// One decimal: images per second.
    Throughput,
    /// Four significant digits without trailing zeros: learning rates.
    Significant,
}

/// A printed metric: its name and where its value is found.
pub(super) struct Metric<T> {
    name: fn(&T) -> String,
    value: fn(&T) -> Option<f64>,
    decimals: Decimals,
}

/// The metrics of an epoch, in the order of the line.
pub(super) const EPOCH: [Metric<EpochMetrics>; 8] = [
    Metric {
        name: |_| "train:loss".into(),
        value: |m| Some(m.train_loss),
        decimals: Decimals::Fraction,
    },
    Metric {
        name: |_| "train:accuracy".into(),
        value: |m| Some(m.train_accuracy),
        decimals: Decimals::Fraction,
    },
    Metric {
        name: |_| "validation:loss".into(),
        value: |m| Some(m.valid_loss),
        decimals: Decimals::Fraction,
    },
    Metric {
        name: |_| "validation:accuracy".into(),
        value: |m| Some(m.valid_accuracy),
        decimals: Decimals::Fraction,
    },
    Metric {
        name: |m| top_k_name("validation", m.valid_top_k),
        value: |m| m.valid_top_k.map(|(_, accuracy)| accuracy),
        decimals: Decimals::Fraction,
    },
    Metric {
        name: |_| "train:images_per_second".into(),
        value: |m| Some(m.train_images_per_second),
        decimals: Decimals::Throughput,
    },
    Metric {
        name: |_| "validation:images_per_second".into(),
        value: |m| Some(m.valid_images_per_second),
        decimals: Decimals::Throughput,
    },
    Metric {
        name: |_| "learning_rate".into(),
        value: |m| Some(m.learning_rate),
        decimals: Decimals::Significant,
    },
];

/// The metrics of the test split, in the order of the line.
pub(super) const TEST: [Metric<TestMetrics>; 3] = [
    Metric {
        name: |_| "test:loss".into(),
        value: |m| Some(m.loss),
        decimals: Decimals::Fraction,
    },
    Metric {
        name: |_| "test:accuracy".into(),
        value: |m| Some(m.accuracy),
        decimals: Decimals::Fraction,
    },
    Metric {
        name: |m| top_k_name("test", m.top_k),
        value: |m| m.top_k.map(|(_, accuracy)| accuracy),
        decimals: Decimals::Fraction,
    },
];

fn top_k_name(split: &str, top_k: Option<(usize, f64)>) -> String {
    top_k.map_or_else(
        || format!("{split}:top_k"),
        |(k, _)| format!("{split}:top{k}"),
    )
}

/// Writes a value in plain decimals. `None` for a value that the regular expressions could not read back: infinite,
/// not a number, or negative.
pub(super) fn plain(value: f64, decimals: Decimals) -> Option<String> {
    // The largest count that still shows a 4-digit learning rate of 1e-12; beyond, a value counts as zero.
    const MOST_DECIMALS: i32 = 15;
    if !value.is_finite() || value < 0.0 {
        return None;
    }
    // Not `-0.0`, which would be printed with its sign.
    let value = value.abs();
    let four_digits = if value > 0.0 {
        (3 - value.log10().floor() as i32).clamp(0, MOST_DECIMALS)
    } else {
        0
    };
    Some(match decimals {
        Decimals::Fraction => format!("{value:.*}", four_digits.max(4) as usize),
        Decimals::Throughput => format!("{value:.1}"),
        Decimals::Significant => {
            let text = format!("{value:.*}", four_digits as usize);
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').into()
            } else {
                text
            }
        }
    })
}

/// Appends ` name=value` for each metric that has a printable value.
pub(super) fn push_metrics<T>(line: &mut String, table: &[Metric<T>], metrics: &T) {
    for metric in table {
        if let Some(text) = (metric.value)(metrics).and_then(|value| plain(value, metric.decimals))
        {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&(metric.name)(metrics));
            line.push('=');
            line.push_str(&text);
        }
    }
}

/// The `MetricDefinitions` of a SageMaker training or tuning job for everything printed here: a list of `Name` and `Regex`.
///
/// `top_k` is the `k` of the top-k accuracy, if one is computed.
#[must_use]
pub fn metric_definitions(top_k: Option<usize>) -> Value {
    let top_k = top_k.map(|k| (k, 0.0));
    let epoch = EpochMetrics {
        epoch: 1,
        epochs: 1,
        global_step: 0,
        learning_rate: 0.0,
        train_loss: 0.0,
        train_accuracy: 0.0,
        valid_loss: 0.0,
        valid_accuracy: 0.0,
        valid_top_k: top_k,
        train_images_per_second: 0.0,
        valid_images_per_second: 0.0,
        seconds: 0.0,
        peak_memory_bytes: None,
    };
    let test = TestMetrics {
        loss: 0.0,
        accuracy: 0.0,
        top_k,
        images: 0,
        seconds: 0.0,
    };
    Value::Array(
        names(&EPOCH, &epoch)
            .chain(names(&TEST, &test))
            .map(definition)
            .collect(),
    )
}

/// The names of `table` that a run such as `metrics` prints.
fn names<T>(table: &[Metric<T>], metrics: &T) -> impl Iterator<Item = String> {
    table
        .iter()
        .filter(|metric| (metric.value)(metrics).is_some())
        .map(|metric| (metric.name)(metrics))
}

fn definition(name: String) -> Value {
    json!({"Name": name, "Regex": format!("{name}=([0-9.]+)")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_plain_decimals() {
        let significant = |value| plain(value, Decimals::Significant).unwrap();
        assert_eq!(significant(1e-5), "0.00001");
        assert_eq!(significant(1.2345e-5), "0.00001234");
        assert_eq!(significant(0.001), "0.001");
        assert_eq!(significant(0.1), "0.1");
        assert_eq!(significant(10.0), "10");
        assert_eq!(significant(0.0), "0");
        assert_eq!(significant(1e-30), "0");
        let fraction = |value| plain(value, Decimals::Fraction).unwrap();
        assert_eq!(fraction(0.00003124), "0.00003124");
        assert_eq!(fraction(1234.5), "1234.5000");
        assert_eq!(fraction(-0.0), "0.0000");
        assert_eq!(fraction(1e20), "100000000000000000000.0000");
    }

    #[test]
    fn without_top_k_none_is_defined() {
        assert!(!metric_definitions(None).to_string().contains(":top"));
    }
}
