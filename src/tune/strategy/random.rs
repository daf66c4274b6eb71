//! Values by chance, uniform along each range's scaling.

use rand::RngExt;
use rand::rngs::StdRng;

use super::Strategy;
use crate::tune::space::{Space, Values};

pub(super) struct Random {
    space: Space,
}

impl Random {
    pub(super) fn new(space: Space) -> Self {
        Random { space }
    }
}

impl Strategy for Random {
    fn ask(&mut self, _number: usize, rng: &mut StdRng) -> Values {
        draw(&self.space, rng)
    }

    fn tell(&mut self, _values: &Values, _loss: f64) {}
}

/// Values by chance.
pub(super) fn draw(space: &Space, rng: &mut StdRng) -> Values {
    let units: Vec<f64> = space.dimensions.iter().map(|_| rng.random()).collect();
    space.at(&units)
}
