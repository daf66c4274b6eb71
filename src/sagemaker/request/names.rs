//! Names of jobs, models and endpoints.
//!
//! Input: what was typed, if anything was. Output: a name that SageMaker takes.

use jiff::Zoned;

use super::{RequestError, beyond};

/// Most characters of the name of a tuning job.
pub const TUNING_JOB: usize = 32;
/// Most characters of every other name.
pub const ANYTHING_ELSE: usize = 63;

/// What names begin with where none is given.
const BASE: &str = "sagemaker-burn";

/// The given name, checked, or one that was never used: `sagemaker-burn` and the time in UTC.
///
/// # Errors
/// A name that is too long or has other characters than letters, digits and hyphens between them.
pub fn name_or_time(given: Option<&str>, most: usize) -> Result<String, RequestError> {
    match given {
        Some(name) => checked("--name", name, most),
        None => Ok(timed(&Zoned::now(), most)),
    }
}

/// A name that was typed, if SageMaker takes it.
///
/// # Errors
/// As [`name_or_time`].
pub fn checked(flag: &str, name: &str, most: usize) -> Result<String, RequestError> {
    let ends = |letter: Option<char>| letter.is_some_and(|l| l.is_ascii_alphanumeric());
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let well_formed =
        name.chars().all(allowed) && ends(name.chars().next()) && ends(name.chars().next_back());
    if name.len() <= most && well_formed {
        return Ok(name.into());
    }
    let limit = match well_formed {
        true => format!(
            "it has {} characters, and SageMaker takes {most}",
            name.len()
        ),
        false => "SageMaker takes letters, digits and hyphens between them".into(),
    };
    Err(beyond(
        flag,
        name,
        limit,
        format!("try {}", nearest(name, most)),
    ))
}

/// The name with hyphens for what is not allowed, cut to length.
fn nearest(name: &str, most: usize) -> String {
    let hyphenated: String = name
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .take(most)
        .collect();
    match hyphenated.trim_matches('-') {
        "" => BASE.into(),
        name => name.into(),
    }
}

/// `sagemaker-burn-2026-11-24-17-39-10-123`, or shorter where that would be too long.
fn timed(now: &Zoned, most: usize) -> String {
    let now = now.with_time_zone(jiff::tz::TimeZone::UTC);
    let long = format!("{BASE}-{}", now.strftime("%Y-%m-%d-%H-%M-%S-%3f"));
    match long.len() <= most {
        true => long,
        false => format!("{BASE}-{}", now.strftime("%y%m%d-%H%M%S")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern() {
        for good in ["dogs", "a", "dogs-2", "A--b", &"a".repeat(63)] {
            assert_eq!(checked("--name", good, 63).unwrap(), *good);
        }
        for (bad, fix) in [
            ("my_dogs", "try my-dogs"),
            ("-dogs", "try dogs"),
            ("dogs-", "try dogs"),
            ("", "try sagemaker-burn"),
            ("Hündchen", "try H-ndchen"),
            (&"a".repeat(64), &format!("try {}", "a".repeat(63))),
        ] {
            let error = checked("--name", bad, 63).unwrap_err().to_string();
            assert!(
                error.contains(&format!("--name {bad}:")) && error.ends_with(fix),
                "{error}"
            );
        }
        let error = checked("--name", &"d".repeat(33), TUNING_JOB)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("33 characters") && error.contains("takes 32"),
            "{error}"
        );
    }

    #[test]
    fn without_a_name_the_time_makes_one() {
        let now: Zoned = "2026-11-24T18:39:10.123+01:00[+01:00]".parse().unwrap();
        assert_eq!(timed(&now, 63), "sagemaker-burn-2026-11-24-17-39-10-123");
        assert_eq!(timed(&now, 32), "sagemaker-burn-261124-173910");
        let made = name_or_time(None, TUNING_JOB).unwrap();
        assert_eq!(checked("--name", &made, TUNING_JOB).unwrap(), made);
    }
}
