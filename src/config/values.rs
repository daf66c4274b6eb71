//! Value parsers shared by the command line and `hyperparameters.json`.
//!
//! Input: the text of one value. Output: the value, or a sentence that says what would be accepted; clap puts the
//! flag's name and the rejected text in front of it.

use std::fmt;

/// A boolean that accepts what people and SageMaker's clients write: `true`, `True`, `1`, `yes`, `on` and opposites.
///
/// A newtype because clap gives a bare `bool` flag semantics of its own (`--flag` without a value).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toggle(pub bool);

impl fmt::Display for Toggle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `true|false` and their usual spellings.
pub fn toggle(text: &str) -> Result<Toggle, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(Toggle(true)),
        "false" | "0" | "no" | "off" => Ok(Toggle(false)),
        _ => Err("expected true or false".into()),
    }
}

/// A whole number of at least 1. `3.0` counts as 3, since tuning jobs send integers in that form.
pub fn count(text: &str) -> Result<usize, String> {
    let expected = "expected a whole number of at least 1";
    let whole = match text.parse::<usize>() {
        Ok(n) => Some(n),
        Err(_) => text
            .parse::<f64>()
            .ok()
            .filter(|x| x.fract() == 0.0 && *x >= 0.0 && *x <= u32::MAX as f64)
            .map(|x| x as usize),
    };
    whole.filter(|n| *n >= 1).ok_or_else(|| expected.into())
}

/// A whole number of at least 0, in the same forms.
pub fn count_or_zero(text: &str) -> Result<usize, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(0),
        _ => count(text).map_err(|_| "expected a whole number of at least 0".into()),
    }
}

/// A seed: any whole number of at least 0.
pub fn seed(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(seed) => Ok(seed),
        Err(_) => count_or_zero(text).map(|seed| seed as u64),
    }
}

/// A finite number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    finite(text)
        .filter(|x| *x > 0.0)
        .ok_or_else(|| "expected a number above 0".into())
}

/// A finite number of at least 0.
pub fn non_negative(text: &str) -> Result<f64, String> {
    finite(text)
        .filter(|x| *x >= 0.0)
        .ok_or_else(|| "expected a number of at least 0".into())
}

/// A number from 0 to below 1.
pub fn fraction_below_one(text: &str) -> Result<f64, String> {
    finite(text)
        .filter(|x| (0.0..1.0).contains(x))
        .ok_or_else(|| "expected a number from 0 to below 1".into())
}

/// The side of the network's input: below 32 nothing is left after five halvings; above 1024 it is surely a slip.
pub fn image_size(text: &str) -> Result<u32, String> {
    count(text)
        .ok()
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| (32..=1024).contains(n))
        .ok_or_else(|| "expected a whole number from 32 to 1024".into())
}

/// How often a checkpoint is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// After this many optimizer steps.
    Steps(usize),
    /// After the first step that ends this much later, in seconds.
    Seconds(u64),
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interval::Steps(steps) => write!(f, "{steps}"),
            Interval::Seconds(seconds) if seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
            Interval::Seconds(seconds) => write!(f, "{seconds}s"),
        }
    }
}

/// Steps as a bare number, or a time: `500`, `30s`, `10m`, `1h`.
pub fn interval(text: &str) -> Result<Interval, String> {
    let expected = "expected optimizer steps such as 500, or a time such as 30s, 10m or 1h";
    let text = text.trim().to_ascii_lowercase();
    let time = |unit: char, seconds: u64| {
        let number = text.strip_suffix(unit)?;
        count(number.trim_end()).ok()?.checked_mul(seconds as usize)
    };
    let seconds = time('s', 1)
        .or_else(|| time('m', 60))
        .or_else(|| time('h', 3600));
    match seconds {
        Some(seconds) => Ok(Interval::Seconds(seconds as u64)),
        None => count(&text)
            .map(Interval::Steps)
            .map_err(|_| expected.into()),
    }
}

/// A time in seconds: `3600`, `90m`, `2h`.
pub fn seconds(text: &str) -> Result<u64, String> {
    match interval(text) {
        Ok(Interval::Seconds(seconds)) => Ok(seconds),
        Ok(Interval::Steps(seconds)) => Ok(seconds as u64),
        Err(_) => Err("expected seconds such as 3600, or a time such as 90m or 2h".into()),
    }
}

/// `name=value`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().into(), value.into())),
        _ => Err("expected NAME=VALUE such as epochs=3".into()),
    }
}

fn finite(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|x| x.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toggles_accept_every_spelling_seen_in_hyperparameters() {
        for yes in ["true", "True", "TRUE", "1", "yes", "on"] {
            assert_eq!(toggle(yes), Ok(Toggle(true)), "{yes}");
        }
        for no in ["false", "False", "0", "no", "off"] {
            assert_eq!(toggle(no), Ok(Toggle(false)), "{no}");
        }
        assert!(toggle("maybe").is_err());
    }

    #[test]
    fn counts_take_integers_in_float_form_only() {
        assert_eq!(count("32"), Ok(32));
        assert_eq!(count("32.0"), Ok(32));
        for bad in ["0", "-1", "3.5", "nan", "inf", "1e300", "ten", ""] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn zero_is_a_number_where_it_means_off() {
        for (text, expected) in [("0", 0), ("0.0", 0), ("3.0", 3), ("7", 7)] {
            assert_eq!(count_or_zero(text), Ok(expected), "{text}");
        }
        for bad in ["-1", "1.5", "x", ""] {
            assert!(
                count_or_zero(bad).unwrap_err().contains("at least 0"),
                "{bad}"
            );
        }
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(seed("42.0"), Ok(42));
    }

    #[test]
    fn intervals_are_steps_or_times() {
        for (text, expected, shown) in [
            ("500", Interval::Steps(500), "500"),
            ("500.0", Interval::Steps(500), "500"),
            ("30s", Interval::Seconds(30), "30s"),
            ("10 M", Interval::Seconds(600), "10m"),
            ("2h", Interval::Seconds(7200), "120m"),
        ] {
            assert_eq!(interval(text), Ok(expected), "{text}");
            assert_eq!(interval(text).unwrap().to_string(), shown);
        }
        for bad in ["0", "0s", "-1m", "m", "5d", "1.5", ""] {
            assert!(interval(bad).unwrap_err().contains("30s"), "{bad}");
        }
    }

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        for (text, expected) in [("3600", 3600), ("90m", 5400), ("2h", 7200)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        assert!(seconds("2d").unwrap_err().contains("90m"));
    }

    #[test]
    fn numbers_refuse_nan_and_out_of_range() {
        assert_eq!(positive("1e-3"), Ok(1e-3));
        for bad in ["0", "-1", "nan", "inf", "x"] {
            assert!(positive(bad).is_err(), "{bad}");
        }
        assert!(fraction_below_one("1").is_err());
        assert_eq!(fraction_below_one("0"), Ok(0.0));
        assert!(image_size("31").is_err() && image_size("1025").is_err());
        assert_eq!(image_size("64"), Ok(64));
    }
}
