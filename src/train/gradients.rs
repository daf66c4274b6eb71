//! Clipping gradients by their global norm, as PyTorch's `clip_grad_norm_`.
//!
//! Input: a module and its gradients. Output: the gradients, scaled down where their joint norm is too large. Burn's own
//! clipping looks at each tensor alone, which changes the direction of the step.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Scales `gradients` so that their global L2 norm is at most `max_norm`.
pub fn clip_global_norm<M: Module>(
    module: &M,
    mut gradients: GradientsParams,
    max_norm: f64,
) -> GradientsParams {
    let mut norm = SquaredNorm {
        gradients: &gradients,
        sum: None,
    };
    module.visit(&mut norm);
    let Some(sum) = norm.sum else {
        return gradients;
    };
    let norm = f64::from(sum.into_scalar::<f32>()).sqrt();
    // A NaN norm leaves the gradients alone: the loop reports a loss that is not finite with more to say.
    if norm > max_norm {
        module.visit(&mut Scale {
            gradients: &mut gradients,
            factor: max_norm / (norm + 1e-6),
        });
    }
    gradients
}

struct SquaredNorm<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients
                .register::<D>(param.id, gradient * self.factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    #[test]
    fn the_global_norm_is_lowered_and_the_direction_kept() {
        let device = Device::flex().autodiff();
        let linear = LinearConfig::new(2, 1).init(&device);
        let input = Tensor::<2>::from_floats([[3.0, 0.0]], &device);
        // d/dw = (3, 0), d/db = 4: a norm of 5.
        let bias = linear.bias.as_ref().map(|b| b.val()).unwrap();
        let loss = linear.forward(input).sum() + bias.sum() * 3.0;
        let gradients = GradientsParams::from_grads(loss.backward(), &linear);
        let clipped = clip_global_norm(&linear, gradients, 1.0);
        let weight: Vec<f32> = clipped
            .get::<2>(linear.weight.id)
            .unwrap()
            .into_data()
            .try_to_vec()
            .unwrap();
        assert!(
            (weight[0] - 0.6).abs() < 1e-4 && weight[1] == 0.0,
            "{weight:?}"
        );
    }

    #[test]
    fn small_gradients_are_left_alone() {
        let device = Device::flex().autodiff();
        let linear = LinearConfig::new(1, 1).init(&device);
        let loss = linear
            .forward(Tensor::<2>::from_floats([[0.5]], &device))
            .sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &linear);
        let clipped = clip_global_norm(&linear, gradients, 10.0);
        assert_eq!(
            clipped
                .get::<2>(linear.weight.id)
                .unwrap()
                .into_scalar::<f32>(),
            0.5
        );
    }
}
