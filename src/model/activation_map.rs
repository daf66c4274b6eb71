//! Where in an image a network saw what it answers: Grad-CAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
//! Gradient-based Localization", 2017) of the last stage.
//!
//! Input: images and a class for each. Output: an [`ActivationMap`] each. Grad-CAM weighs each feature map by the mean gradient of the
//! class's logit. Here the logit is a linear function of the maps' means, so that gradient is the classifier's own weight, divided by the
//! number of positions: no backward pass is needed, and none would give another map.

use burn::tensor::Tensor;

use super::batch_norm::Mode;
use super::observe::Observer;
use super::resnet::ResNet;

/// How much each place speaks for a class, row by row; 0 where it does not.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationMap {
    pub height: usize,
    pub width: usize,
    pub values: Vec<f32>,
}

impl ActivationMap {
    /// The value at a place given in fractions of the image, between the values around it; 1 at the strongest.
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let most = self.values.iter().copied().fold(0.0, f32::max);
        if most <= 0.0 {
            return 0.0;
        }
        // Each value stands for the middle of its part of the image.
        let place = |fraction: f32, count: usize| {
            let at = (fraction * count as f32 - 0.5).clamp(0.0, (count - 1) as f32);
            let low = at.floor();
            (low as usize, (low as usize + 1).min(count - 1), at - low)
        };
        let (left, right, dx) = place(x, self.width);
        let (above, below, dy) = place(y, self.height);
        let value = |row: usize, column: usize| self.values[row * self.width + column];
        let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
        let upper = mix(value(above, left), value(above, right), dx);
        let lower = mix(value(below, left), value(below, right), dx);
        mix(upper, lower, dy) / most
    }
}

/// Takes the last feature maps.
struct LastMaps(Option<Tensor<4>>);

const LAST_STAGE: &str = "layer4_output_0";

impl Observer for LastMaps {
    fn wants(&self, name: &str) -> bool {
        name == LAST_STAGE
    }

    fn saw(&mut self, _: &str, value: &Tensor<4>) {
        self.0 = Some(value.clone());
    }
}

impl ResNet {
    /// The maps of `images`, `[N, 3, H, W]`, each for the class at its place in `classes`.
    pub fn activation_maps(&self, images: Tensor<4>, classes: &[usize]) -> Vec<ActivationMap> {
        let mut last = LastMaps(None);
        self.observe(images, Mode::Eval, &mut last);
        let Some(maps) = last.0 else {
            return Vec::new();
        };
        let [_, channels, height, width] = maps.dims();
        let maps: Vec<f32> = maps.into_data().convert::<f32>().iter::<f32>().collect();
        // `[features, classes]`
        let weight = self.fc.weight.val();
        let count = weight.dims()[1];
        let weight: Vec<f32> = weight.into_data().convert::<f32>().iter::<f32>().collect();
        let places = height * width;
        let of_image = |(maps, class): (&[f32], &usize)| {
            let mut values = vec![0.0f32; places];
            for (channel, map) in maps.chunks_exact(places).enumerate() {
                let share = weight[channel * count + class];
                for (value, activation) in values.iter_mut().zip(map) {
                    *value += share * activation;
                }
            }
            values.iter_mut().for_each(|value| *value = value.max(0.0));
            ActivationMap {
                height,
                width,
                values,
            }
        };
        maps.chunks_exact(channels * places)
            .zip(classes)
            .map(of_image)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::model::block::global_average_pool;
    use crate::model::{Architecture, ResNetConfig};

    #[test]
    fn maps_are_those_that_gradients_give() {
        let config = ResNetConfig {
            width: 4,
            ..ResNetConfig::new(Architecture::Resnet18, 3)
        };
        let model = ResNet::new(&config, 5, &Device::flex()).unwrap();
        let device = Device::flex();
        device.seed(2);
        let images: Tensor<4> =
            Tensor::random([2, 3, 96, 64], Distribution::Normal(0.0, 1.0), &device);
        let mut last = LastMaps(None);
        model.observe(images.clone(), Mode::Eval, &mut last);
        let last = last.0.unwrap();
        let trained = model.clone().train();
        let mut positive = 0;
        for class in 0..3 {
            let found = model.activation_maps(images.clone(), &[class, class]);
            assert_eq!((found.len(), found[0].height, found[0].width), (2, 3, 2));
            let maps = Tensor::<4>::from_inner(last.clone()).require_grad();
            let logits = trained.head(global_average_pool(maps.clone()));
            // Images do not touch each other, so the gradients of a sum are those of each.
            let logit = logits.slice([0..2, class..class + 1]).sum();
            let gradient = maps.grad(&logit.backward()).unwrap();
            // The mean over places, then a weighted sum of the maps, then the positive part: the paper's equations 1 and 2.
            let weights = gradient.mean_dim(2).mean_dim(3);
            let expected = (last.clone() * weights).sum_dim(1).clamp_min(0.0);
            let expected = expected.into_data();
            let values = found.iter().flat_map(|map| &map.values);
            for (expected, value) in expected.iter::<f32>().zip(values) {
                // Six places.
                let close = (expected * 6.0 - value).abs() < 1e-4 * (1.0 + value);
                assert!(close, "{expected} {value}");
                positive += usize::from(*value > 0.0);
            }
        }
        assert!(positive > 0, "nothing was compared");
    }

    #[test]
    fn places_between_values_lie_between_them() {
        let map = ActivationMap {
            height: 1,
            width: 2,
            values: vec![1.0, 4.0],
        };
        assert_eq!((map.at(0.0, 0.5), map.at(0.25, 0.5)), (0.25, 0.25));
        assert_eq!((map.at(0.75, 0.5), map.at(0.5, 0.0)), (1.0, 0.625));
        let nothing = ActivationMap {
            values: vec![0.0, 0.0],
            ..map
        };
        assert_eq!(nothing.at(0.5, 0.5), 0.0);
    }
}
