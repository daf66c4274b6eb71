//! Numbers as people read them.

/// What stands for an undefined number.
const UNDEFINED: &str = "–";

/// A fraction as a percentage.
pub(super) fn percent(fraction: f64) -> String {
    if fraction.is_finite() {
        format!("{:.1} %", fraction * 100.0)
    } else {
        UNDEFINED.into()
    }
}

/// A number with `decimals` decimals.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if value.is_finite() {
        format!("{value:.decimals$}")
    } else {
        UNDEFINED.into()
    }
}

/// A small number with three significant digits.
pub(super) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return UNDEFINED.into();
    }
    // Rounded by way of the exponent form, which counts digits from the first one that is not zero.
    format!("{value:.2e}")
        .parse::<f64>()
        .map_or_else(|_| value.to_string(), |rounded| rounded.to_string())
}

/// `45.0 s`, `12 min 3 s` or `1 h 2 min`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return UNDEFINED.into();
    }
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours} h {minutes} min")
    } else {
        format!("{minutes} min {seconds} s")
    }
}

/// A size in MiB or GiB.
pub(super) fn bytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / (1_u64 << 20) as f64;
    if mebibytes < 1024.0 {
        format!("{mebibytes:.0} MiB")
    } else {
        format!("{:.2} GiB", mebibytes / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (percent(0.8834).as_str(), percent(f64::NAN).as_str()),
            ("88.3 %", "–")
        );
        assert_eq!(
            (fixed(0.91249, 4).as_str(), fixed(f64::INFINITY, 4).as_str()),
            ("0.9125", "–")
        );
        assert_eq!(
            (significant(0.001).as_str(), significant(1.2345e-5).as_str()),
            ("0.001", "0.0000123")
        );
        assert_eq!(duration(45.04), "45.0 s");
        assert_eq!(duration(723.4), "12 min 3 s");
        assert_eq!(duration(3723.0), "1 h 2 min");
        assert_eq!(
            (bytes(5 << 20).as_str(), bytes(3 << 29).as_str()),
            ("5 MiB", "1.50 GiB")
        );
    }
}
