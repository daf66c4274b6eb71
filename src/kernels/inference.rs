//! Convolutions whose weights stay as they are, for inference.
//!
//! Input: weights with the batch norm multiplied in, a bias, and images `[n, h, w, c]`. Output: images `[n, oh, ow, k]`. Weights
//! are packed at the first use of each algorithm, then kept.

use std::sync::OnceLock;

use super::conv::Packed;
use super::{Algorithm, ConvShape, Epilogue, Isa};

/// A convolution with a bias, and what follows it.
#[derive(Debug)]
pub struct FrozenConv {
    isa: Isa,
    /// Empty where they need no other packing.
    weights: Vec<f32>,
    bias: Vec<f32>,
    /// With sizes of images that don't count.
    shape: ConvShape,
    packed: [OnceLock<Packed>; 3],
}

/// Sizes of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub n: usize,
    pub h: usize,
    pub w: usize,
}

impl FrozenConv {
    /// Weights `[k, c, kh, kw]` and a bias `[k]`.
    ///
    /// # Panics
    /// Lengths that don't fit the sizes.
    pub fn new(
        isa: Isa,
        weights: Vec<f32>,
        bias: Vec<f32>,
        [k, c, kh, kw]: [usize; 4],
        stride: usize,
        pad: usize,
    ) -> Self {
        let shape = ConvShape {
            n: 1,
            h: kh,
            w: kw,
            c,
            k,
            kh,
            kw,
            stride,
            pad,
        };
        assert_eq!(weights.len(), shape.weights_len());
        assert_eq!(bias.len(), k);
        let mut packed: [OnceLock<Packed>; 3] = Default::default();
        let mut weights = weights;
        if Algorithm::possible(&shape) == [Algorithm::Direct] {
            // One packing is all that will ever be asked for.
            let values = Packed::new(isa, Algorithm::Direct, &weights, &shape);
            packed[Algorithm::Direct as usize] = OnceLock::from(values);
            weights = Vec::new();
        }
        Self {
            isa,
            weights,
            bias,
            shape,
            packed,
        }
    }

    /// The convolution of images of this size.
    pub fn shape(&self, size: Size) -> ConvShape {
        ConvShape {
            n: size.n,
            h: size.h,
            w: size.w,
            ..self.shape
        }
    }

    /// Size and channels of the result.
    pub fn output(&self, size: Size) -> (Size, usize) {
        let shape = self.shape(size);
        let size = Size {
            n: size.n,
            h: shape.oh(),
            w: shape.ow(),
        };
        (size, shape.k)
    }

    /// `relu(conv(x) + bias + shortcut)`, the last two where asked, to the front of `y`, which may be longer.
    ///
    /// # Panics
    /// Lengths that don't fit the sizes.
    pub fn forward(
        &self,
        x: &[f32],
        size: Size,
        shortcut: Option<&[f32]>,
        relu: bool,
        y: &mut [f32],
    ) {
        let shape = self.shape(size);
        let algorithm = Algorithm::choose(&shape);
        let cell = &self.packed[algorithm as usize];
        let packed = match cell.get() {
            Some(packed) => packed,
            // Not inside of the cell's initialisation: packing is parallel, a thread that waits for its parts may take up another
            // call that needs this very cell, and would wait for itself. Packing twice does no harm.
            None => {
                let packed = Packed::new(self.isa, algorithm, &self.weights, &shape);
                cell.get_or_init(|| packed)
            }
        };
        let epilogue = Epilogue {
            bias: Some(&self.bias),
            shortcut: shortcut.map(|shortcut| &shortcut[..shape.output_len()]),
            relu,
        };
        let y = &mut y[..shape.output_len()];
        packed.forward(&x[..shape.input_len()], &shape, epilogue, y);
    }
}
