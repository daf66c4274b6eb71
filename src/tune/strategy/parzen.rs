//! Estimates of how likely values are, from a few that were seen.
//!
//! Input: places between 0 and 1, or indices of names. Output: a value by chance, and the logarithm of a density. Kernels are as wide as
//! the gaps around their points and folded back at both ends, so that no end is favoured; a uniform share stands for all that
//! was not seen.

use rand::RngExt;
use rand::rngs::StdRng;
use rand_distr::StandardNormal;

/// A density over numbers from 0 to 1.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Centre and width.
    kernels: Vec<(f64, f64)>,
}

/// Probabilities of names, by index.
#[derive(Clone, Debug)]
pub(super) struct Names {
    shares: Vec<f64>,
}

impl Places {
    pub(super) fn of(points: impl Iterator<Item = f64>) -> Self {
        let mut points: Vec<f64> = points.collect();
        points.sort_by(f64::total_cmp);
        // With more points the estimate may be finer, but never so fine that it only repeats them.
        let least = 1.0 / (2.0 * points.len() as f64 + 1.0).min(100.0);
        let width = |index: usize| {
            let before = index
                .checked_sub(1)
                .map(|before| points[index] - points[before]);
            let after = points.get(index + 1).map(|after| after - points[index]);
            // Alone, a point stands for all of the range.
            let gap = before.into_iter().chain(after).reduce(f64::max);
            gap.unwrap_or(1.0).clamp(least, 1.0)
        };
        let kernels = (0..points.len()).map(|index| (points[index], width(index)));
        Places {
            kernels: kernels.collect(),
        }
    }

    pub(super) fn sample(&self, rng: &mut StdRng) -> f64 {
        match self.kernels.get(rng.random_range(0..=self.kernels.len())) {
            // The uniform share.
            None => rng.random(),
            Some((centre, width)) => {
                let deviation: f64 = rng.sample(StandardNormal);
                folded(centre + width * deviation)
            }
        }
    }

    pub(super) fn log_density(&self, place: f64) -> f64 {
        let kernels: f64 = self
            .kernels
            .iter()
            .map(|(centre, width)| folded_normal(place, *centre, *width))
            .sum();
        ((kernels + 1.0) / (self.kernels.len() + 1) as f64).ln()
    }
}

/// A number of any size brought between 0 and 1, as if the ends were mirrors.
fn folded(x: f64) -> f64 {
    let within = x.rem_euclid(2.0);
    if within > 1.0 { 2.0 - within } else { within }
}

/// The density of a normal distribution that is folded at 0 and 1. Widths are at most 1, so that images farther than these add
/// nothing.
fn folded_normal(place: f64, centre: f64, width: f64) -> f64 {
    let normal = |x: f64| {
        let z = (x - centre) / width;
        (-0.5 * z * z).exp() / (width * (2.0 * std::f64::consts::PI).sqrt())
    };
    let images = (-3..=3).map(|image| 2.0 * f64::from(image));
    images
        .map(|shift| normal(shift + place) + normal(shift - place))
        .sum()
}

impl Names {
    /// From the indices that were seen of `count` names, each of which counts as seen once more.
    pub(super) fn of(indices: impl Iterator<Item = usize>, count: usize) -> Self {
        let mut seen = vec![1.0; count];
        indices
            .filter(|index| *index < count)
            .for_each(|index| seen[index] += 1.0);
        let all: f64 = seen.iter().sum();
        Names {
            shares: seen.into_iter().map(|seen| seen / all).collect(),
        }
    }

    pub(super) fn sample(&self, rng: &mut StdRng) -> usize {
        let mut rest: f64 = rng.random();
        let found = self.shares.iter().position(|share| {
            rest -= share;
            rest < 0.0
        });
        // Rounding may leave a little over.
        found.unwrap_or(self.shares.len().saturating_sub(1))
    }

    pub(super) fn log_density(&self, index: usize) -> f64 {
        self.shares
            .get(index)
            .map_or(f64::NEG_INFINITY, |share| share.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn densities_add_up_to_one() {
        for points in [vec![], vec![0.5], vec![0.0, 0.02, 0.9], vec![1.0]] {
            let density = Places::of(points.iter().copied());
            let steps = 10_000;
            let middles = (0..steps).map(|step| (step as f64 + 0.5) / steps as f64);
            let sum: f64 = middles.map(|place| density.log_density(place).exp()).sum();
            assert!((sum / steps as f64 - 1.0).abs() < 1e-4, "{points:?}: {sum}");
        }
        let names = Names::of([2, 2, 0].into_iter(), 3);
        // Seen 1 + 1, 1 and 2 + 1 times of 6.
        let shares = [0, 1, 2].map(|index| names.log_density(index).exp());
        for (found, expected) in shares.iter().zip([2.0 / 6.0, 1.0 / 6.0, 3.0 / 6.0]) {
            assert!((found - expected).abs() < 1e-12, "{shares:?}");
        }
    }

    #[test]
    fn samples_follow_the_density() {
        let density = Places::of([0.1, 0.12, 0.11].into_iter());
        let mut rng = StdRng::seed_from_u64(1);
        let samples: Vec<f64> = (0..20_000).map(|_| density.sample(&mut rng)).collect();
        assert!(samples.iter().all(|place| (0.0..=1.0).contains(place)));
        for (low, high) in [(0.0, 0.2), (0.2, 0.5), (0.9, 1.0)] {
            let steps = 1000;
            let place = |step: usize| low + (high - low) * (step as f64 + 0.5) / steps as f64;
            let mean = (0..steps)
                .map(|s| density.log_density(place(s)).exp())
                .sum::<f64>();
            let expected = mean / steps as f64 * (high - low);
            let within = samples.iter().filter(|place| (low..high).contains(*place));
            let found = within.count() as f64 / samples.len() as f64;
            assert!(
                (found - expected).abs() < 0.02,
                "{low}..{high}: {found} {expected}"
            );
        }
    }

    #[test]
    fn mirrors_at_both_ends() {
        for (x, expected) in [
            (-0.25, 0.25),
            (1.25, 0.75),
            (0.5, 0.5),
            (2.25, 0.25),
            (-1.75, 0.25),
        ] {
            assert!((folded(x) - expected).abs() < 1e-12, "{x}");
        }
    }
}
