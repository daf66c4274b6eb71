//! Pooling against plain loops.

use super::*;
use crate::kernels::reference::noise;

const SHAPES: [[usize; 7]; 4] = [
    // n, h, w, k, window, stride, pad
    [2, 8, 9, 5, 3, 2, 1],
    [1, 7, 7, 33, 3, 2, 1],
    [1, 6, 5, 4, 2, 2, 0],
    [1, 5, 5, 3, 3, 1, 1],
];

fn shapes() -> impl Iterator<Item = PoolShape> {
    SHAPES
        .into_iter()
        .map(|[n, h, w, k, window, stride, pad]| PoolShape {
            n,
            h,
            w,
            k,
            window,
            stride,
            pad,
        })
}

/// For each result: the largest value of its window and its index in `x`, or `None` where it is not positive.
fn winners(x: &[f32], shape: &PoolShape) -> Vec<(f32, Option<usize>)> {
    let mut winners = Vec::new();
    for n in 0..shape.n {
        for (i, j) in (0..shape.oh()).flat_map(|i| (0..shape.ow()).map(move |j| (i, j))) {
            for channel in 0..shape.k {
                let mut best = (0.0, None);
                for a in 0..shape.window * shape.window {
                    let y = (i * shape.stride + a / shape.window).wrapping_sub(shape.pad);
                    let x_at = (j * shape.stride + a % shape.window).wrapping_sub(shape.pad);
                    if y < shape.h && x_at < shape.w {
                        let place = ((n * shape.h + y) * shape.w + x_at) * shape.k + channel;
                        if x[place] > best.0 {
                            best = (x[place], Some(place));
                        }
                    }
                }
                winners.push(best);
            }
        }
    }
    winners
}

#[test]
fn forward_and_gradients_go_through_the_winners() {
    for shape in shapes() {
        let z = noise(shape.input_len(), 1);
        let (scale, shift, mean) = (noise(shape.k, 2), noise(shape.k, 3), noise(shape.k, 4));
        let channel = |i: usize| i % shape.k;
        let active: Vec<f32> = (z.iter().enumerate())
            .map(|(i, z)| z.mul_add(scale[channel(i)], shift[channel(i)]))
            .collect();
        let winners = winners(&active, &shape);
        let gradient = noise(shape.output_len(), 5);
        let mut reaching = vec![0.0f32; z.len()];
        for (winner, gradient) in winners.iter().zip(&gradient) {
            if let Some(place) = winner.1 {
                reaching[place] += gradient;
            }
        }
        for isa in Isa::available() {
            let mut y = vec![f32::NAN; shape.output_len()];
            let mut places = vec![f32::NAN; shape.output_len()];
            let affine = Some((&scale[..], &shift[..]));
            max_pool(isa, &z, &shape, affine, &mut y, Some(&mut places));
            for (y, winner) in y.iter().zip(&winners) {
                assert!((y - winner.0).abs() < 1e-6, "{isa:?} {shape:?}");
            }
            let pool = PoolGradient {
                shape: &shape,
                gradient: &gradient,
                places: &places,
                z: &z,
            };
            let sums = pool.sums(isa, &mean);
            for (k, mean) in mean.iter().enumerate() {
                let of = |i: &usize| channel(*i) == k;
                let sum: f32 = (0..z.len()).filter(of).map(|i| reaching[i]).sum();
                let products = (0..z.len()).filter(of).map(|i| reaching[i] * (z[i] - mean));
                assert!((sums.gradient[k] - sum).abs() < 1e-5);
                assert!((sums.product[k] - products.sum::<f32>()).abs() < 1e-5);
            }
            let terms = InputGradient {
                of_gradient: scale.clone(),
                of_input: shift.clone(),
                constant: mean.clone(),
            };
            let image = shape.input_len() / shape.n;
            let mut dz = vec![f32::NAN; image];
            let last = shape.n - 1;
            pool.input_gradient(isa, &terms, last..shape.n, &mut dz);
            for (i, dz) in dz.into_iter().enumerate() {
                let (at, k) = (last * image + i, channel(i));
                let expected = scale[k] * reaching[at] + shift[k] * z[at] + mean[k];
                assert!((dz - expected).abs() < 1e-5, "{isa:?} {shape:?} {i}");
            }
        }
    }
}

#[test]
fn without_a_norm_negative_values_pass_and_the_first_of_equals_wins() {
    let shape = PoolShape {
        n: 1,
        h: 2,
        w: 2,
        k: 1,
        window: 2,
        stride: 2,
        pad: 0,
    };
    let (mut y, mut places) = ([0.0], [0.0]);
    let z = [-2.0, -1.0, -1.0, -3.0];
    max_pool(Isa::detect(), &z, &shape, None, &mut y, Some(&mut places));
    assert_eq!((y, places), ([-1.0], [1.0]));
}

#[test]
fn nan_is_not_hidden() {
    let shape = PoolShape {
        n: 1,
        h: 2,
        w: 4,
        k: 1,
        window: 2,
        stride: 2,
        pad: 0,
    };
    let z = [1.0, f32::NAN, -2.0, -1.0, 3.0, 2.0, -4.0, -3.0];
    for isa in Isa::available() {
        for affine in [None, Some((&[1.0][..], &[0.0][..]))] {
            let (mut y, mut places) = ([0.0; 2], [0.0; 2]);
            max_pool(isa, &z, &shape, affine, &mut y, Some(&mut places));
            assert!(
                y[0].is_nan() && places[0] == 1.0,
                "{isa:?} {y:?} {places:?}"
            );
        }
    }
}

#[test]
fn averages() {
    let mut y = [0.0; 4];
    average(&[1., 10., 3., 20., 5., 0., 7., 0.], 2, 2, &mut y);
    assert_eq!(y, [2., 15., 6., 0.]);
}
