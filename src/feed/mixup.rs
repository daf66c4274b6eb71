//! Mixup: each sample is blended with another of its batch, and so are their targets.
//!
//! Input: a minibatch and the alpha of a Beta distribution. Output: blended inputs and the [`Mix`] from which the loss
//! builds its targets. Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.

use burn::tensor::{Int, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand_distr::{Beta, Distribution};

use super::Inputs;

/// How the samples of a batch were blended: sample `i` is `share * i + (1 - share) * partner[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    pub share: f64,
    pub partner: Vec<usize>,
}

impl Mix {
    /// Draws a blend for a batch of `samples`. `alpha` must be above 0; both choices come from `rng` alone.
    pub fn draw(samples: usize, alpha: f64, rng: &mut StdRng) -> Self {
        // Beta refuses alphas of 0 only, and so does the flag that this comes from; no blend is the safe reading.
        let share = Beta::new(alpha, alpha).map_or(1.0, |beta| beta.sample(rng));
        let mut partner: Vec<usize> = (0..samples).collect();
        partner.shuffle(rng);
        Mix { share, partner }
    }

    /// Blends the inputs.
    pub fn apply(&self, inputs: Inputs) -> Inputs {
        match inputs {
            Inputs::Images(images) => Inputs::Images(self.blend(images)),
            Inputs::Features(features) => Inputs::Features(self.blend(features)),
        }
    }

    fn blend<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let partner: Vec<i32> = self.partner.iter().map(|i| *i as i32).collect();
        let indices = Tensor::<1, Int>::from_data(
            TensorData::new(partner, [self.partner.len()]),
            &x.device(),
        );
        let other = x.clone().select(0, indices);
        x * self.share + other * (1.0 - self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use rand::SeedableRng;

    #[test]
    fn blends_each_sample_with_its_partner() {
        let features = Tensor::<2>::from_floats([[0.0, 0.0], [4.0, 8.0]], &Device::flex());
        let mix = Mix {
            share: 0.75,
            partner: vec![1, 0],
        };
        let Inputs::Features(mixed) = mix.apply(Inputs::Features(features)) else {
            panic!("features expected")
        };
        assert_eq!(
            mixed.into_data().try_to_vec::<f32>().unwrap(),
            [1.0, 2.0, 3.0, 6.0]
        );
    }

    #[test]
    fn the_draw_depends_on_the_rng_alone() {
        let draw = |seed| Mix::draw(8, 0.2, &mut StdRng::seed_from_u64(seed));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!((0.0..=1.0).contains(&draw(3).share));
    }
}
