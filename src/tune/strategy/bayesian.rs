//! The tree-structured Parzen estimator: values that are more common among the good trials than among the others.
//!
//! Input: the outcomes of all trials before. Output: for each hyperparameter, on its own, the candidate with the highest ratio of both
//! densities. Source: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", 2011.

use rand::rngs::StdRng;

use super::Strategy;
use super::parzen::{Names, Places};
use super::random::draw;
use crate::tune::space::{Dimension, Domain, Space, Values};

/// The share of the trials that count as good, at least one.
const GOOD: f64 = 0.1;
/// Values that are drawn from the density of the good ones, of which one is taken. Of names fewer: with many draws the name of the
/// first good trial would be taken again and again, and no other got its chance.
const CANDIDATES: usize = 24;
const CANDIDATE_NAMES: usize = 2;
/// Trials by chance before the model is asked: one more than there are hyperparameters, within these bounds.
const LEAST_CHANCE: usize = 2;
const MOST_CHANCE: usize = 10;

pub(super) struct Bayesian {
    space: Space,
    outcomes: Vec<(Values, f64)>,
}

impl Bayesian {
    pub(super) fn new(space: Space) -> Self {
        Bayesian {
            space,
            outcomes: Vec::new(),
        }
    }

    fn by_chance(&self) -> usize {
        (self.space.dimensions.len() + 1).clamp(LEAST_CHANCE, MOST_CHANCE)
    }

    /// The values of the good trials, and those of the others.
    fn split(&self) -> (Vec<&Values>, Vec<&Values>) {
        let mut sorted: Vec<&(Values, f64)> = self.outcomes.iter().collect();
        sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
        let good = (sorted.len() as f64 * GOOD).ceil() as usize;
        let mut values: Vec<&Values> = sorted.into_iter().map(|(values, _)| values).collect();
        let others = values.split_off(good);
        (values, others)
    }
}

/// The best candidate for one hyperparameter.
fn propose(
    dimension: &Dimension,
    good: &[&Values],
    others: &[&Values],
    rng: &mut StdRng,
) -> String {
    let texts = |trials: &[&Values]| -> Vec<String> {
        let values = trials
            .iter()
            .filter_map(|values| values.get(&dimension.name));
        values.cloned().collect()
    };
    let (good, others) = (texts(good), texts(others));
    if let Domain::Categorical(values) = &dimension.domain {
        let names = |texts: &[String]| {
            let index = |text: &String| values.iter().position(|value| value == text);
            Names::of(texts.iter().filter_map(index), values.len())
        };
        let (good, others) = (names(&good), names(&others));
        let candidates = (0..CANDIDATE_NAMES).map(|_| good.sample(rng));
        let ratio = |index: usize| good.log_density(index) - others.log_density(index);
        let best = candidates.max_by(|a, b| ratio(*a).total_cmp(&ratio(*b)));
        return values.get(best.unwrap_or(0)).cloned().unwrap_or_default();
    }
    let places =
        |texts: &[String]| Places::of(texts.iter().filter_map(|text| dimension.unit(text)));
    let (good, others) = (places(&good), places(&others));
    let candidates = (0..CANDIDATES).map(|_| good.sample(rng));
    let ratio = |place: f64| good.log_density(place) - others.log_density(place);
    let best = candidates.max_by(|a, b| ratio(*a).total_cmp(&ratio(*b)));
    dimension.at(best.unwrap_or(0.5))
}

impl Strategy for Bayesian {
    fn ask(&mut self, _number: usize, rng: &mut StdRng) -> Values {
        if self.outcomes.len() < self.by_chance() {
            return draw(&self.space, rng);
        }
        let (good, others) = self.split();
        let dimensions = self.space.dimensions.iter();
        dimensions
            .map(|dimension| {
                let value = propose(dimension, &good, &others, rng);
                (dimension.name.clone(), value)
            })
            .collect()
    }

    fn tell(&mut self, values: &Values, loss: f64) {
        if !loss.is_nan() {
            self.outcomes.push((values.clone(), loss));
        }
    }
}
