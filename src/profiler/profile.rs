//! All that is known of a run's time.
//!
//! Input: events and samples, live or read from files. Output: [`Profile`], which rules and the summary look at.

use super::phase::Phase;

/// Something that took time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    pub phase: Phase,
    /// Seconds since 1970.
    pub start: f64,
    pub seconds: f64,
    /// Step within its mode.
    pub step: u64,
}

impl Event {
    pub fn end(&self) -> f64 {
        self.start + self.seconds
    }
}

/// A figure of the machine at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Such as `cpu`, `gpu`, `memory`.
    pub kind: String,
    /// Such as `cpu0`.
    pub name: String,
    /// Such as `CPUUtilization`.
    pub dimension: String,
    pub value: f64,
    /// Seconds since 1970.
    pub time: f64,
}

/// What the program knows of itself, for the advice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub cores: usize,
    /// Threads that decode.
    pub workers: usize,
    pub batch_size: usize,
    pub is_gpu: bool,
    /// Seconds of a thread per image that was decoded; 0 where none was.
    pub decode_seconds: f64,
    /// Images found in the cache.
    pub cached: u64,
    /// Memory that all images of an epoch take in the cache.
    pub cache_needed_mb: f64,
    pub cache_mb: f64,
    /// Training images.
    pub images: usize,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// By start.
    pub events: Vec<Event>,
    /// By time.
    pub samples: Vec<Sample>,
    /// When the program was started, in seconds since 1970; the first event where it is not known.
    pub started: f64,
    /// What is known beyond the files; `None` for another's run.
    pub facts: Option<Facts>,
}

impl Profile {
    pub fn of(&self, phase: Phase) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.phase == phase)
    }

    /// Values of a dimension, over all devices where there are several.
    pub fn values(&self, kind: &str, dimension: &str) -> Vec<f64> {
        let samples = self.samples.iter();
        samples
            .filter(|s| s.kind == kind && s.dimension == dimension)
            .map(|s| s.value)
            .collect()
    }

    /// At each time the mean over all devices of a kind.
    pub fn means(&self, kind: &str, dimension: &str) -> Vec<(f64, f64)> {
        let mut means: Vec<(f64, f64, usize)> = Vec::new();
        let samples = self.samples.iter();
        for sample in samples.filter(|s| s.kind == kind && s.dimension == dimension) {
            match means.last_mut() {
                // Figures of one moment carry one time, or nearly so in Amazon's files.
                Some((time, sum, count)) if (sample.time - *time).abs() < 0.05 => {
                    *sum += sample.value;
                    *count += 1;
                }
                _ => means.push((sample.time, sample.value, 1)),
            }
        }
        means
            .into_iter()
            .map(|(time, sum, count)| (time, sum / count as f64))
            .collect()
    }

    /// The devices of a kind.
    pub fn names(&self, kind: &str) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .samples
            .iter()
            .filter(|s| s.kind == kind)
            .map(|s| s.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The value below which a share of the sorted values lies, as numpy's default; NaN of none.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share * last as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - at.floor())
}

/// The same of values in any order.
pub fn percentile_of(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy.percentile([1, 2, 3, 4], [50, 95, 0]) = 2.5, 3.85, 1
        let values = vec![4.0, 1.0, 3.0, 2.0];
        assert!((percentile_of(values.clone(), 0.5) - 2.5).abs() < 1e-12);
        assert!((percentile_of(values.clone(), 0.95) - 3.85).abs() < 1e-12);
        assert_eq!(percentile_of(values, 0.0), 1.0);
        assert!(percentile_of(Vec::new(), 0.5).is_nan());
    }

    #[test]
    fn devices_are_averaged_moment_by_moment() {
        let sample = |name: &str, value, time| Sample {
            kind: "cpu".into(),
            name: name.into(),
            dimension: "CPUUtilization".into(),
            value,
            time,
        };
        let profile = Profile {
            samples: vec![
                sample("cpu0", 10.0, 1.0),
                sample("cpu1", 30.0, 1.0),
                sample("cpu0", 50.0, 1.5),
            ],
            ..Default::default()
        };
        assert_eq!(
            profile.means("cpu", "CPUUtilization"),
            [(1.0, 20.0), (1.5, 50.0)]
        );
        assert_eq!(profile.names("cpu"), ["cpu0", "cpu1"]);
    }
}
