//! Convolutions and gradients against plain sums in float64.

use super::*;
use crate::kernels::reference::{convolution, gradients, noise, relative_error};

/// Every kernel and stride of the ResNets, and odd ones; odd sizes and channels, no padding and much, single images.
const SHAPES: [[usize; 9]; 14] = [
    // n, h, w, c, k, kh, kw, stride, pad
    [1, 8, 8, 16, 32, 3, 3, 1, 1],
    [2, 7, 9, 5, 3, 3, 3, 1, 1],
    [3, 13, 6, 37, 70, 3, 3, 1, 0],
    [1, 6, 6, 4, 2, 3, 3, 1, 2],
    [1, 1, 1, 3, 4, 3, 3, 1, 1],
    [9, 12, 12, 33, 17, 3, 3, 1, 1],
    [2, 9, 8, 20, 40, 3, 3, 2, 1],
    [1, 7, 7, 16, 16, 3, 3, 2, 1],
    [2, 15, 17, 3, 33, 7, 7, 2, 3],
    [2, 9, 8, 20, 40, 1, 1, 2, 0],
    [1, 5, 5, 20, 40, 1, 1, 1, 0],
    [1, 11, 10, 2, 2, 3, 3, 3, 1],
    [2, 10, 7, 3, 5, 2, 4, 2, 1],
    [1, 9, 9, 2, 3, 5, 5, 4, 2],
];

fn shapes() -> impl Iterator<Item = ConvShape> {
    SHAPES
        .into_iter()
        .map(|[n, h, w, c, k, kh, kw, stride, pad]| ConvShape {
            n,
            h,
            w,
            c,
            k,
            kh,
            kw,
            stride,
            pad,
        })
}

/// Largest error relative to the largest value. Direct sums of float32 stay below a millionth; Winograd's F(4x4) about
/// triples that.
const TOLERANCE: f64 = 4e-6;

#[test]
fn forward_is_the_float64_sum_on_every_instruction_set_and_algorithm() {
    for shape in shapes() {
        let (x, weights) = (noise(shape.input_len(), 1), noise(shape.weights_len(), 2));
        let expected = convolution(&x, &weights, &shape);
        for isa in Isa::available() {
            for algorithm in Algorithm::possible(&shape) {
                let packed = Packed::new(isa, *algorithm, &weights, &shape);
                assert_eq!(packed.algorithm(), *algorithm);
                let mut y = vec![f32::NAN; shape.output_len()];
                packed.forward(&x, &shape, Epilogue::default(), &mut y);
                let error = relative_error(&y, &expected);
                assert!(
                    error < TOLERANCE,
                    "{isa:?} {algorithm:?} {shape:?}: {error:e}"
                );
            }
        }
    }
}

#[test]
fn gradients_are_those_of_the_float64_sum() {
    for shape in shapes() {
        let (x, weights) = (noise(shape.input_len(), 1), noise(shape.weights_len(), 2));
        let dy = noise(shape.output_len(), 3);
        let (expected_dx, expected_dw) = gradients(&x, &weights, &dy, &shape);
        for isa in Isa::available() {
            let mut dx = vec![f32::NAN; shape.input_len()];
            input_gradient(isa, &dy, &shape, &weights, &mut dx);
            let error = relative_error(&dx, &expected_dx);
            assert!(error < TOLERANCE, "dx {isa:?} {shape:?}: {error:e}");
            for algorithm in Algorithm::possible(&shape) {
                let mut dw = vec![0.0; shape.weights_len()];
                weight_gradient_by(isa, *algorithm, &x, &shape, &dy, &mut dw);
                let error = relative_error(&dw, &expected_dw);
                assert!(
                    error < TOLERANCE,
                    "dw {isa:?} {algorithm:?} {shape:?}: {error:e}"
                );
            }
        }
    }
}

#[test]
fn the_input_gradient_is_right_by_winograd_too() {
    let forward_shape = ConvShape {
        n: 4,
        h: 19,
        w: 22,
        c: 64,
        k: 48,
        kh: 3,
        kw: 3,
        stride: 1,
        pad: 1,
    };
    let transposed = forward_shape.transposed().unwrap();
    assert_eq!(Algorithm::choose(&transposed), Algorithm::Winograd4);
    let weights = noise(forward_shape.weights_len(), 1);
    let dy = noise(forward_shape.output_len(), 2);
    let x = vec![0.0; forward_shape.input_len()];
    let (expected, _) = gradients(&x, &weights, &dy, &forward_shape);
    let mut dx = vec![f32::NAN; forward_shape.input_len()];
    input_gradient(Isa::detect(), &dy, &forward_shape, &weights, &mut dx);
    assert!(relative_error(&dx, &expected) < TOLERANCE);
}

#[test]
fn bias_shortcut_and_relu_come_in_this_order() {
    for shape in shapes() {
        let (x, weights) = (noise(shape.input_len(), 1), noise(shape.weights_len(), 2));
        let (bias, shortcut) = (noise(shape.k, 3), noise(shape.output_len(), 4));
        let plain = convolution(&x, &weights, &shape);
        let expected: Vec<f64> = (0..plain.len())
            .map(|i| plain[i] + f64::from(bias[i % shape.k]) + f64::from(shortcut[i]))
            .map(|v| v.max(0.0))
            .collect();
        for algorithm in Algorithm::possible(&shape) {
            let packed = Packed::new(Isa::detect(), *algorithm, &weights, &shape);
            let mut y = vec![f32::NAN; shape.output_len()];
            let epilogue = Epilogue {
                bias: Some(&bias),
                shortcut: Some(&shortcut),
                relu: true,
            };
            packed.forward(&x, &shape, epilogue, &mut y);
            assert!(
                relative_error(&y, &expected) < TOLERANCE,
                "{algorithm:?} {shape:?}"
            );
        }
    }
}

#[test]
fn nan_is_not_hidden() {
    for shape in shapes().take(3) {
        let (x, mut weights) = (noise(shape.input_len(), 1), noise(shape.weights_len(), 2));
        weights[0] = f32::NAN;
        for isa in Isa::available() {
            for algorithm in Algorithm::possible(&shape) {
                let packed = Packed::new(isa, *algorithm, &weights, &shape);
                let mut y = vec![0.0; shape.output_len()];
                let epilogue = Epilogue {
                    relu: true,
                    ..Default::default()
                };
                packed.forward(&x, &shape, epilogue, &mut y);
                assert!(y.iter().any(|v| v.is_nan()), "{isa:?} {algorithm:?}");
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let shape = ConvShape {
        n: 5,
        h: 23,
        w: 21,
        c: 40,
        k: 72,
        kh: 3,
        kw: 3,
        stride: 1,
        pad: 1,
    };
    let strided = ConvShape { stride: 2, ..shape };
    let (x, weights) = (noise(shape.input_len(), 1), noise(shape.weights_len(), 2));
    for shape in [shape, strided] {
        let dy = noise(shape.output_len(), 3);
        let results = [1, 2, 3, 16].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| {
                let mut y = vec![0.0; shape.output_len()];
                convolve(Isa::detect(), &x, &shape, &weights, &mut y);
                let mut dx = vec![0.0; shape.input_len()];
                input_gradient(Isa::detect(), &dy, &shape, &weights, &mut dx);
                let mut dw = vec![0.0; shape.weights_len()];
                weight_gradient(Isa::detect(), &x, &shape, &dy, &mut dw);
                [y, dx, dw]
            })
        });
        assert!(
            results.iter().all(|result| *result == results[0]),
            "{shape:?}"
        );
    }
}

#[test]
fn weight_gradients_add_up() {
    let shape = shapes().next().unwrap();
    let (x, dy) = (noise(shape.input_len(), 1), noise(shape.output_len(), 2));
    for algorithm in Algorithm::possible(&shape) {
        let gradient = |times: usize| {
            let mut dw = vec![0.0; shape.weights_len()];
            for _ in 0..times {
                weight_gradient_by(Isa::detect(), *algorithm, &x, &shape, &dy, &mut dw);
            }
            dw
        };
        let twice: Vec<f64> = gradient(1).iter().map(|v| f64::from(*v) * 2.0).collect();
        assert!(relative_error(&gradient(2), &twice) < 1e-6);
    }
}

#[test]
#[should_panic(expected = "cannot compute")]
fn winograd_of_another_kernel_is_refused() {
    let shape = ConvShape {
        n: 1,
        h: 5,
        w: 5,
        c: 1,
        k: 1,
        kh: 5,
        kw: 5,
        stride: 1,
        pad: 0,
    };
    Packed::new(Isa::Plain, Algorithm::Winograd4, &[0.0; 25], &shape);
}

#[test]
#[should_panic(expected = "larger than the padded image")]
fn an_image_smaller_than_the_kernel_is_refused() {
    let shape = ConvShape {
        h: 1,
        ..shapes().nth(2).unwrap()
    };
    convolve(Isa::Plain, &[], &shape, &[], &mut []);
}
