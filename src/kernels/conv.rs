//! A convolution and its two gradients, by whichever algorithm suits.
//!
//! Input: a [`ConvShape`], images `[n, h, w, c]` and weights `[k, c, kh, kw]`. Output: see each function.

use std::fmt;

use super::direct;
use super::memory::Map;
use super::pack::{Direction, pack, packed_len};
use super::scratch;
use super::shape::{Algorithm, ConvShape, Epilogue};
use super::simd::Isa;
use super::tile::{F2, F4};
use super::winograd;

/// The weights of a convolution, packed once for many calls.
pub struct Packed {
    isa: Isa,
    algorithm: Algorithm,
    values: Map,
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Packed({:?}, {} values)",
            self.algorithm,
            self.values.len()
        )
    }
}

impl Packed {
    /// Packs weights `[k, c, kh, kw]`.
    ///
    /// # Panics
    /// The weights don't have the shape's length, the algorithm is not among [`Algorithm::possible`], or the processor lacks `isa`.
    pub fn new(isa: Isa, algorithm: Algorithm, weights: &[f32], shape: &ConvShape) -> Self {
        check(isa, shape, algorithm);
        let direction = Direction::Forward;
        let mut values = Map::exact(packed_len(isa, algorithm, shape, direction));
        pack(isa, algorithm, weights, shape, direction, &mut values);
        Self {
            isa,
            algorithm,
            values,
        }
    }

    /// The convolution of `x` `[n, h, w, c]`, then `epilogue`, to `y` `[n, oh, ow, k]`. The channels and the kernel of `shape` must
    /// be those that the weights were packed for; the images may be of any number and size.
    ///
    /// # Panics
    /// A length that is not the shape's.
    pub fn forward(&self, x: &[f32], shape: &ConvShape, epilogue: Epilogue, y: &mut [f32]) {
        forward(
            self.isa,
            self.algorithm,
            x,
            shape,
            &self.values,
            epilogue,
            y,
        );
    }

    /// How these weights are used.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn check(isa: Isa, shape: &ConvShape, algorithm: Algorithm) {
    assert!(isa.is_here(), "this processor has no {isa:?}");
    shape.check();
    assert!(
        Algorithm::possible(shape).contains(&algorithm),
        "{algorithm:?} cannot compute {shape:?}"
    );
}

fn forward(
    isa: Isa,
    algorithm: Algorithm,
    x: &[f32],
    shape: &ConvShape,
    packed: &[f32],
    epilogue: Epilogue,
    y: &mut [f32],
) {
    check(isa, shape, algorithm);
    assert_eq!(x.len(), shape.input_len(), "{shape:?}");
    assert_eq!(y.len(), shape.output_len(), "{shape:?}");
    assert!(epilogue.bias.is_none_or(|bias| bias.len() == shape.k));
    assert!(
        epilogue
            .shortcut
            .is_none_or(|shortcut| shortcut.len() == y.len())
    );
    let len = packed_len(isa, algorithm, shape, Direction::Forward);
    assert_eq!(packed.len(), len, "{shape:?}");
    match algorithm {
        Algorithm::Direct => direct::forward(isa, x, shape, packed, epilogue, y),
        Algorithm::Winograd2 => winograd::forward::<F2, 4, 2>(isa, x, shape, packed, epilogue, y),
        Algorithm::Winograd4 => winograd::forward::<F4, 6, 4>(isa, x, shape, packed, epilogue, y),
    }
}

/// The convolution of `x` `[n, h, w, c]` with weights that change from call to call, to `y` `[n, oh, ow, k]`.
///
/// # Panics
/// A length that is not the shape's.
pub fn convolve(isa: Isa, x: &[f32], shape: &ConvShape, weights: &[f32], y: &mut [f32]) {
    check(isa, shape, Algorithm::Direct);
    let algorithm = Algorithm::choose(shape);
    let direction = Direction::Forward;
    scratch::with(packed_len(isa, algorithm, shape, direction), |packed| {
        pack(isa, algorithm, weights, shape, direction, packed);
        forward(isa, algorithm, x, shape, packed, Epilogue::default(), y);
    });
}

/// The gradient of the input, `[n, h, w, c]`, given that of the output, `[n, oh, ow, k]`.
///
/// # Panics
/// A length that is not the shape's.
pub fn input_gradient(isa: Isa, dy: &[f32], shape: &ConvShape, weights: &[f32], dx: &mut [f32]) {
    check(isa, shape, Algorithm::Direct);
    assert_eq!(dx.len(), shape.input_len(), "{shape:?}");
    assert_eq!(dy.len(), shape.output_len(), "{shape:?}");
    let transposed = shape.transposed();
    let (algorithm, direction) = match &transposed {
        Some(transposed) => (Algorithm::choose(transposed), Direction::BackwardTurned),
        None => (Algorithm::Direct, Direction::Backward),
    };
    scratch::with(packed_len(isa, algorithm, shape, direction), |packed| {
        pack(isa, algorithm, weights, shape, direction, packed);
        match &transposed {
            Some(shape) => forward(isa, algorithm, dy, shape, packed, Epilogue::default(), dx),
            None => direct::input_gradient(isa, dy, shape, packed, dx),
        }
    });
}

/// Adds the gradient of the weights to `dw` `[k, c, kh, kw]`, given that of the output, `[n, oh, ow, k]`.
///
/// # Panics
/// A length that is not the shape's.
pub fn weight_gradient(isa: Isa, x: &[f32], shape: &ConvShape, dy: &[f32], dw: &mut [f32]) {
    weight_gradient_by(isa, Algorithm::choose(shape), x, shape, dy, dw);
}

/// [`weight_gradient`] by a given algorithm.
pub fn weight_gradient_by(
    isa: Isa,
    algorithm: Algorithm,
    x: &[f32],
    shape: &ConvShape,
    dy: &[f32],
    dw: &mut [f32],
) {
    check(isa, shape, algorithm);
    assert_eq!(x.len(), shape.input_len(), "{shape:?}");
    assert_eq!(dy.len(), shape.output_len(), "{shape:?}");
    assert_eq!(dw.len(), shape.weights_len(), "{shape:?}");
    match algorithm {
        Algorithm::Direct => direct::weight_gradient(isa, x, shape, dy, dw),
        Algorithm::Winograd2 => winograd::weight_gradient::<F2, 4, 2>(isa, x, shape, dy, dw),
        Algorithm::Winograd4 => winograd::weight_gradient::<F4, 6, 4>(isa, x, shape, dy, dw),
    }
}

#[cfg(test)]
mod tests {
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
}
