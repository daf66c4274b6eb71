//! A profile in figures: what the end of a run says, and what its report draws.
//!
//! Input: a [`Profile`]. Output: [`Summary`], plain data.

use serde::Serialize;

use super::bottleneck::sentence;
use super::phase::Phase;
use super::profile::{Event, Profile, percentile};
use super::rules::{RuleReport, evaluate};

/// Points of a series at the most.
const POINTS: usize = 300;
/// Spans of a kind at the most; neighbours are joined until there are no more.
const SPANS: usize = 200;

/// A phase and its share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseShare {
    pub phase: Phase,
    pub name: String,
    /// Times it came, in steps that were not kept one by one as well.
    pub count: u64,
    pub seconds: f64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    /// Of the time from the first event to the last, 0 to 1.
    pub share: f64,
}

/// A figure over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    pub name: String,
    pub unit: String,
    /// Seconds since the start, and values.
    pub points: Vec<(f64, f64)>,
}

/// When something went on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    pub name: String,
    pub start_s: f64,
    pub end_s: f64,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub sentence: String,
    pub seconds: f64,
    pub phases: Vec<PhaseShare>,
    pub series: Vec<Series>,
    pub spans: Vec<Span>,
    pub rules: Vec<RuleReport>,
}

impl Summary {
    pub fn of(profile: &Profile) -> Self {
        let phases = shares(profile);
        Summary {
            sentence: sentence(profile, &phases),
            seconds: total_seconds(profile),
            series: series(profile),
            spans: spans(profile),
            rules: evaluate(profile),
            phases,
        }
    }
}

/// From the first event to the last.
pub fn total_seconds(profile: &Profile) -> f64 {
    let start = profile
        .events
        .iter()
        .map(|event| event.start)
        .fold(f64::INFINITY, f64::min);
    let end = profile
        .events
        .iter()
        .map(Event::end)
        .fold(f64::NEG_INFINITY, f64::max);
    (end - start).max(0.0)
}

/// How many times longer all steps took than those whose events are there: their numbers tell how many are not.
fn scale(profile: &Profile, phase: Phase) -> f64 {
    let mut steps: Vec<u64> = profile.of(phase).map(|event| event.step).collect();
    steps.sort_unstable();
    steps.dedup();
    match (steps.first(), steps.last()) {
        (Some(first), Some(last)) => (last - first + 1) as f64 / steps.len() as f64,
        _ => 1.0,
    }
}

fn shares(profile: &Profile) -> Vec<PhaseShare> {
    let total = total_seconds(profile);
    let each = Phase::ALL.into_iter().filter_map(|phase| {
        let mut seconds: Vec<f64> = profile.of(phase).map(|event| event.seconds).collect();
        if seconds.is_empty() {
            return None;
        }
        seconds.sort_by(f64::total_cmp);
        let sum: f64 = seconds.iter().sum();
        let scale = match phase {
            Phase::Checkpoint => 1.0,
            _ => scale(profile, phase),
        };
        Some(PhaseShare {
            phase,
            name: phase.words().to_string(),
            count: (seconds.len() as f64 * scale).round() as u64,
            seconds: sum * scale,
            mean_ms: 1e3 * sum / seconds.len() as f64,
            p50_ms: 1e3 * percentile(&seconds, 0.5),
            p95_ms: 1e3 * percentile(&seconds, 0.95),
            share: sum * scale / total.max(1e-9),
        })
    });
    each.collect()
}

fn series(profile: &Profile) -> Vec<Series> {
    let wanted = [
        ("cpu", "CPUUtilization", "CPU", "%"),
        ("cpu", "I/OWaitPercentage", "waiting for disks", "%"),
        ("gpu", "GPUUtilization", "GPU", "%"),
        ("gpu", "GPUMemoryUtilization", "GPU memory", "%"),
        ("memory", "MemoryUsedPercent", "memory", "%"),
    ];
    let each = wanted
        .into_iter()
        .filter_map(|(kind, dimension, name, unit)| {
            let means = profile.means(kind, dimension);
            let points = thinned(
                means
                    .into_iter()
                    .map(|(time, value)| (time - profile.started, value))
                    .collect(),
            );
            (points.len() > 1).then(|| Series {
                name: name.to_string(),
                unit: unit.to_string(),
                points,
            })
        });
    each.collect()
}

/// Means over neighbours, so that few points are left.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let run = points.len().div_ceil(POINTS).max(1);
    let mean = |run: &[(f64, f64)]| {
        let count = run.len() as f64;
        let (times, values) = run
            .iter()
            .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (times / count, values / count)
    };
    points.chunks(run).map(mean).collect()
}

/// When was trained, evaluated, checkpointed; steps that follow each other closely are one span.
fn spans(profile: &Profile) -> Vec<Span> {
    let mut spans = Vec::new();
    for phase in [
        Phase::Features,
        Phase::Train,
        Phase::Eval,
        Phase::Checkpoint,
    ] {
        let total = total_seconds(profile);
        let mut gap = (total / 500.0).max(0.05);
        loop {
            let joined = join(profile.of(phase), gap);
            if joined.len() <= SPANS {
                spans.extend(joined.into_iter().map(|(start, end)| Span {
                    name: phase.words().to_string(),
                    start_s: start - profile.started,
                    end_s: end - profile.started,
                }));
                break;
            }
            gap *= 2.0;
        }
    }
    spans
}

fn join<'a>(events: impl Iterator<Item = &'a Event>, gap: f64) -> Vec<(f64, f64)> {
    let mut joined: Vec<(f64, f64)> = Vec::new();
    for event in events {
        match joined.last_mut() {
            Some((_, end)) if event.start - *end <= gap => *end = end.max(event.end()),
            _ => joined.push((event.start, event.end())),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(phase: Phase, start: f64, seconds: f64, step: u64) -> Event {
        Event {
            phase,
            start,
            seconds,
            step,
        }
    }

    #[test]
    fn steps_that_were_not_kept_count_as_well() {
        // Steps 0, 2 and 4 of five.
        let events = [0u64, 2, 4].map(|step| event(Phase::Train, step as f64, 1.0, step));
        let profile = Profile {
            events: events.to_vec(),
            ..Default::default()
        };
        let share = &shares(&profile)[0];
        assert_eq!((share.count, share.mean_ms), (5, 1000.0));
        assert!((share.seconds - 5.0).abs() < 1e-9 && (share.share - 1.0).abs() < 1e-9);
    }

    #[test]
    fn steps_close_together_are_one_span() {
        let mut events: Vec<Event> = (0..10)
            .map(|i| event(Phase::Train, i as f64, 0.99, i))
            .collect();
        events.push(event(Phase::Eval, 10.0, 2.0, 0));
        events.push(event(Phase::Train, 12.0, 1.0, 10));
        let profile = Profile {
            events,
            ..Default::default()
        };
        let spans = spans(&profile);
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["training step", "training step", "evaluation"]);
        assert_eq!((spans[0].start_s, spans[0].end_s), (0.0, 9.99));
    }

    #[test]
    fn series_are_short() {
        let points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), 1.0)).collect();
        let thin = thinned(points);
        assert!(thin.len() <= POINTS && thin.iter().all(|(_, value)| *value == 1.0));
    }
}
