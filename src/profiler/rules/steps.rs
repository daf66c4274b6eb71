//! Rules about the program: StepOutlier, MaxInitializationTime, Dataloader.

use serde_json::json;

use super::RuleReport;
use crate::profiler::phase::Phase;
use crate::profiler::profile::{Event, Profile};

/// Steps that take much longer than others: more than `n_outliers` beyond `stddev` deviations.
pub fn step_outlier(profile: &Profile) -> RuleReport {
    let parameters = [("stddev", 3.0), ("n_outliers", 10.0)];
    let mut report = RuleReport::new("StepOutlier", &parameters);
    let steps: Vec<&Event> = profile.of(Phase::Train).collect();
    if steps.len() <= 100 {
        return report.nothing("too few steps: it needs more than 100");
    }
    let count = steps.len() as f64;
    let mean = steps.iter().map(|step| step.seconds).sum::<f64>() / count;
    let deviation = (steps
        .iter()
        .map(|step| (step.seconds - mean).powi(2))
        .sum::<f64>()
        / count)
        .sqrt();
    let outliers: Vec<&&Event> = steps
        .iter()
        .filter(|step| (step.seconds - mean).abs() > 3.0 * deviation && deviation > 0.0)
        .collect();
    let numbers: Vec<u64> = outliers.iter().take(100).map(|step| step.step).collect();
    report.details.insert(
        "step_details".into(),
        json!({"mean_ms": 1e3 * mean, "stddev_ms": 1e3 * deviation, "outliers": numbers}),
    );
    let seen = format!(
        "{} of {} steps lie further than three deviations ({:.0} ms) from the mean of {:.0} ms",
        outliers.len(),
        steps.len(),
        3e3 * deviation,
        1e3 * mean
    );
    match outliers.len() > 10 {
        false => report.fine(steps.len(), seen),
        true => report.found(
            outliers.len(),
            steps.len(),
            seen,
            "see in the timeline what those steps do: checkpoints, photos that take long to decode, other programs on the machine",
        ),
    }
}

/// A run that takes too long to make its first step.
pub fn max_initialization_time(profile: &Profile) -> RuleReport {
    let report = RuleReport::new("MaxInitializationTime", &[("threshold", 20.0)]);
    let first = profile
        .events
        .iter()
        .map(|event| event.start)
        .reduce(f64::min);
    let Some(first) = first else {
        return report.nothing("no step was made");
    };
    let minutes = (first - profile.started) / 60.0;
    let seen = format!("the first step came after {minutes:.1} minutes");
    match minutes > 20.0 {
        false => report.fine(1, seen),
        true => report.found(
            1,
            1,
            seen,
            "use FastFile mode for the data channels, and bake the weights into the image",
        ),
    }
}

/// More or fewer threads that decode than the machine has cores for.
pub fn dataloader(profile: &Profile) -> RuleReport {
    let mut report = RuleReport::new(
        "Dataloader",
        &[("min_threshold", 70.0), ("max_threshold", 200.0)],
    );
    let workers = profile.facts.as_ref().map_or(0, |facts| facts.workers);
    let cores = match profile.facts.as_ref().map_or(0, |facts| facts.cores) {
        0 => profile.names("cpu").len(),
        cores => cores,
    };
    if workers == 0 || cores == 0 {
        return report.nothing("does not apply: nothing is known of threads that decode");
    }
    let percent = 100.0 * workers as f64 / cores as f64;
    report.details.insert(
        "dataloading".into(),
        json!({"workers": workers, "cores": cores}),
    );
    let seen = format!("{workers} threads decode on {cores} cores");
    match (70.0..=200.0).contains(&percent) {
        true => report.fine(1, seen),
        false => report.found(1, 1, seen, &format!("set --workers to {cores}")),
    }
}
