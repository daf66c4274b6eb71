//! The operation against Burn's own ones.

use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm, batch_norm_train, conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};

use super::*;
use crate::kernels::reference::{noise, relative_error};

/// Largest error relative to the largest value, against Burn's own operations, which sum in another order.
const TOLERANCE: f64 = 2e-5;

struct Case {
    /// n, c, h, w
    x: [usize; 4],
    /// k, c, kh, kw
    weight: [usize; 4],
    layer: Layer,
    shortcut: bool,
}

fn layer(stride: usize, pad: usize, statistics: Statistics) -> Layer {
    Layer {
        stride,
        pad,
        statistics,
        epsilon: 1e-5,
        relu: true,
        pool: None,
    }
}

fn cases() -> Vec<Case> {
    let fixed = |k: usize| {
        let variance = noise(k, 21).into_iter().map(|v| v + 1.5).collect();
        Statistics::Fixed(Moments {
            mean: noise(k, 20),
            variance,
        })
    };
    let case = |x, weight, layer, shortcut| Case {
        x,
        weight,
        layer,
        shortcut,
    };
    let pool = Some(Pool {
        window: 3,
        stride: 2,
        pad: 1,
    });
    let stem = Layer {
        pool,
        ..layer(2, 3, Statistics::Batch)
    };
    let frozen_stem = Layer {
        pool,
        ..layer(2, 3, fixed(6))
    };
    let linear = Layer {
        relu: false,
        ..layer(2, 0, Statistics::Batch)
    };
    vec![
        // Wide enough for Winograd, and a narrow one.
        case(
            [4, 48, 9, 11],
            [64, 48, 3, 3],
            layer(1, 1, Statistics::Batch),
            true,
        ),
        case(
            [2, 3, 7, 6],
            [5, 3, 3, 3],
            layer(1, 1, Statistics::Batch),
            false,
        ),
        case([2, 3, 7, 6], [5, 3, 3, 3], layer(1, 1, fixed(5)), true),
        case(
            [2, 6, 8, 7],
            [9, 6, 3, 3],
            layer(2, 1, Statistics::Batch),
            false,
        ),
        case([2, 6, 8, 7], [9, 6, 1, 1], linear, false),
        case(
            [1, 6, 5, 5],
            [4, 6, 1, 1],
            layer(1, 0, Statistics::Batch),
            true,
        ),
        case([6, 3, 20, 17], [6, 3, 7, 7], stem, false),
        case([6, 3, 20, 17], [6, 3, 7, 7], frozen_stem, false),
    ]
}

/// The layer by Burn's own operations, channels first.
fn stock(x: Tensor<4>, p: Parameters, shortcut: Option<Tensor<4>>, layer: &Layer) -> Tensor<4> {
    let options = ConvOptions::new([layer.stride; 2], [layer.pad; 2], [1, 1], 1);
    let device = x.device();
    let z = conv2d(x, p.weight, None, options);
    let mut y = match &layer.statistics {
        Statistics::Batch => batch_norm_train(z, p.gamma, p.beta, layer.epsilon).output,
        Statistics::Fixed(moments) => {
            let vector = |v: &[f32]| Tensor::<1>::from_floats(v, &device);
            let (mean, variance) = (vector(&moments.mean), vector(&moments.variance));
            batch_norm(z, p.gamma, p.beta, mean, variance, layer.epsilon)
        }
    };
    if let Some(shortcut) = shortcut {
        y = y + shortcut;
    }
    if layer.relu {
        y = relu(y);
    }
    match layer.pool {
        None => y,
        Some(pool) => {
            let options = MaxPoolOptions::new([pool.window; 2])
                .with_stride([pool.stride; 2])
                .with_padding([pool.pad; 2]);
            max_pool2d(y, options)
        }
    }
}

fn check(name: &str, found: Tensor<4>, expected: Tensor<4>) {
    assert_eq!(found.dims(), expected.dims(), "{name}");
    let found: Vec<f32> = found.into_data().iter::<f32>().collect();
    let expected: Vec<f64> = expected.into_data().iter::<f64>().collect();
    let error = relative_error(&found, &expected);
    assert!(error < TOLERANCE, "{name}: {error:e}");
}

#[test]
fn output_and_gradients_are_those_of_burns_operations() {
    let device = Device::flex().autodiff();
    let leaf = |len: usize, seed: u64, shape: Vec<usize>| {
        TensorData::new(noise(len, seed), Shape::from(shape))
    };
    for (number, case) in cases().into_iter().enumerate() {
        let Case {
            x,
            weight,
            layer,
            shortcut,
        } = case;
        let k = weight[0];
        let image = |dims: [usize; 4], seed| {
            let data = leaf(dims.iter().product(), seed, dims.to_vec());
            Tensor::<4>::from_data(data, &device).require_grad()
        };
        let vector = |seed| Tensor::<1>::from_floats(&noise(k, seed)[..], &device).require_grad();
        let (images, weights) = (image(x, 1), image(weight, 2));
        let (gamma, beta) = (vector(3), vector(4));
        let parameters = || Parameters {
            weight: weights.clone(),
            gamma: gamma.clone(),
            beta: beta.clone(),
        };
        let size = |side: usize, kernel: usize| (side + 2 * layer.pad - kernel) / layer.stride + 1;
        let added =
            shortcut.then(|| image([x[0], k, size(x[2], weight[2]), size(x[3], weight[3])], 5));
        let expected = stock(images.clone(), parameters(), added.clone(), &layer);
        let last = |t: Tensor<4>| t.permute([0, 2, 3, 1]);
        let (found, moments) = forward(
            last(images.clone()),
            parameters(),
            added.clone().map(last),
            &layer,
        );
        assert_eq!(
            moments.is_some(),
            matches!(layer.statistics, Statistics::Batch)
        );
        let found = found.permute([0, 3, 1, 2]);
        check(
            &format!("case {number}, output"),
            found.clone(),
            expected.clone(),
        );
        // A gradient that differs from value to value.
        let slope = leaf(expected.shape().num_elements(), 6, expected.dims().to_vec());
        let slope = Tensor::<4>::from_data(slope, &device);
        let expected = (expected * slope.clone()).sum().backward();
        let found = (found * slope).sum().backward();
        let grad = |t: &Tensor<4>, name: &str| {
            let pair = (t.grad(&found).unwrap(), t.grad(&expected).unwrap());
            check(
                &format!("case {number}, gradient of {name}"),
                pair.0,
                pair.1,
            );
        };
        grad(&images, "the images");
        grad(&weights, "the weights");
        if let Some(added) = &added {
            grad(added, "the shortcut");
        }
        for (vector, name) in [(&gamma, "gamma"), (&beta, "beta")] {
            let wide = |t: Tensor<1>| t.reshape([1, 1, 1, k]);
            let found = wide(vector.grad(&found).unwrap());
            let expected = wide(vector.grad(&expected).unwrap());
            check(
                &format!("case {number}, gradient of {name}"),
                found,
                expected,
            );
        }
    }
}

#[test]
fn frozen_parameters_get_no_gradient_and_the_others_do() {
    let device = Device::flex().autodiff();
    let ones = |dims: [usize; 4]| Tensor::<4>::ones(dims, &device);
    let weight = ones([2, 3, 3, 3]);
    let gamma = Tensor::<1>::ones([2], &device).require_grad();
    let parameters = Parameters {
        weight: weight.clone(),
        gamma: gamma.clone(),
        beta: Tensor::zeros([2], &device),
    };
    let layer = layer(1, 1, Statistics::Batch);
    let (y, _) = forward(ones([1, 4, 4, 3]), parameters, None, &layer);
    let gradients = y.sum().backward();
    assert!(weight.grad(&gradients).is_none());
    assert!(gamma.grad(&gradients).is_some());
}

#[test]
fn images_without_autodiff_are_constants_and_the_parameters_still_learn() {
    let device = Device::flex().autodiff();
    let images =
        Tensor::<4>::from_data(TensorData::new(noise(96, 1), [2, 4, 4, 3]), &Device::flex());
    let weight = Tensor::<4>::from_data(TensorData::new(noise(54, 2), [2, 3, 3, 3]), &device);
    let weight = weight.require_grad();
    let gradient = |images: Tensor<4>| {
        let parameters = Parameters {
            weight: weight.clone(),
            gamma: Tensor::ones([2], &Device::flex()),
            beta: Tensor::zeros([2], &Device::flex()),
        };
        let fixed = Statistics::Fixed(Moments {
            mean: vec![0.0; 2],
            variance: vec![1.0; 2],
        });
        let (y, _) = forward(images, parameters, None, &layer(1, 1, fixed));
        weight.grad(&y.sum().backward()).unwrap().into_data()
    };
    let found = gradient(images.clone());
    assert_eq!(found, gradient(Tensor::from_inner(images)));
    assert!(found.iter::<f32>().any(|v| v != 0.0));
}

#[test]
fn only_float32_on_the_cpu_is_accepted() {
    let tensor = Tensor::<1>::ones([2], &Device::flex());
    assert!(accepts(&tensor) && is_cpu(&Device::flex()));
    assert!(is_cpu(&Device::flex().autodiff()));
    assert!(!accepts(&tensor.clone().cast(DType::BF16)));
    assert!(values(tensor.clone().cast(DType::F64)).is_none());
    let part = Tensor::<2>::from_floats([[1., 2.], [3., 4.]], &Device::flex()).slice([1..2, 0..2]);
    assert_eq!(values(part).unwrap().as_slice(), [3., 4.]);
}
