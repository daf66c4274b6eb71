//! What to try next.
//!
//! Input: a [`Space`] and the outcomes so far. Output: the values of the next trial. What is random about a trial depends on the
//! study's seed and the trial's number alone, so that a study that goes on proposes what an uninterrupted one would have.

mod bayesian;
mod grid;
mod parzen;
mod random;

use clap::ValueEnum;
use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::space::{Space, Values};
use crate::data::{Purpose, rng};

/// How the search goes about, under SageMaker's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum StrategyKind {
    /// Every combination of the lists
    Grid,
    /// Anything, by chance
    Random,
    /// What is likely to be better than most, judged by all trials before (TPE)
    Bayesian,
    /// By chance, but only the best third of the trials go on after 1, 3, 9, … epochs (ASHA)
    Hyperband,
}

/// One way of searching.
pub trait Strategy: Send {
    /// Proposes values for the trial `number`, from 1.
    fn ask(&mut self, number: usize, rng: &mut StdRng) -> Values;

    /// Takes note of an outcome; the lower the loss, the better. Infinite: the trial failed.
    fn tell(&mut self, values: &Values, loss: f64);
}

/// A strategy at work, which never tries the same values twice: training is repeatable, so that would tell nothing.
pub struct Search {
    space: Space,
    strategy: Box<dyn Strategy>,
    seed: u64,
    handed_out: Vec<Values>,
}

/// Proposals that are thrown away before any untried combination is taken.
const PATIENCE: usize = 50;

impl Search {
    pub fn new(kind: StrategyKind, space: &Space, seed: u64) -> Self {
        let own = space.clone();
        let strategy: Box<dyn Strategy> = match kind {
            StrategyKind::Grid => Box::new(grid::Grid::new(own)),
            StrategyKind::Random | StrategyKind::Hyperband => Box::new(random::Random::new(own)),
            StrategyKind::Bayesian => Box::new(bayesian::Bayesian::new(own)),
        };
        Search {
            space: space.clone(),
            strategy,
            seed,
            handed_out: Vec::new(),
        }
    }

    /// Values for the trial `number`, from 1; `None` once every combination was handed out.
    pub fn ask(&mut self, number: usize) -> Option<Values> {
        let mut rng = rng(self.seed, Purpose::Search, number as u64, 0);
        let mut proposal = self.strategy.ask(number, &mut rng);
        let combinations = self.space.combinations();
        if combinations.is_some_and(|count| self.handed_out.len() >= count) {
            return None;
        }
        for _ in 0..PATIENCE {
            if !self.handed_out.contains(&proposal) {
                break;
            }
            proposal = self.strategy.ask(number, &mut rng);
        }
        if self.handed_out.contains(&proposal)
            && let Some(count) = combinations
        {
            let untried = (0..count).map(|index| self.space.combination(index));
            let untried: Vec<Values> = untried
                .filter(|values| !self.handed_out.contains(values))
                .collect();
            proposal = untried
                .get(rng.random_range(0..untried.len().max(1)))?
                .clone();
        }
        self.handed_out.push(proposal.clone());
        Some(proposal)
    }

    /// Takes note of values that an earlier process handed out.
    pub fn handed_out(&mut self, values: &Values) {
        self.handed_out.push(values.clone());
    }

    /// See [`Strategy::tell`].
    pub fn tell(&mut self, values: &Values, loss: f64) {
        self.strategy.tell(values, loss);
    }
}

#[cfg(test)]
mod tests;
