//! A convolution and its two gradients, by whichever algorithm suits.
//!
//! Input: a [`ConvShape`], images `[n, h, w, c]` and weights `[k, c, kh, kw]`. Output: see each function.

use std::fmt;

use super::direct;
use super::epilogue::Epilogue;
use super::memory::Map;
use super::pack::{Direction, pack, packed_len};
use super::scratch;
use super::shape::{Algorithm, ConvShape};
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
mod tests;
