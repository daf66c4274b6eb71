//! Weights in the order in which the multiplication reads them.
//!
//! Input: weights `[k, c, kh, kw]` as PyTorch stores them. Output: panels, as wide as a register block:
//!
//! ```text
//! direct      [panel][tap][input channel][lane]           lane: an output channel of the panel, 0 beyond the last one
//! Winograd    [panel][tile element][input channel][lane]
//! ```

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::shape::{Algorithm, ConvShape};
use super::simd::{Isa, Shared, load, store};
use super::tile::{F2, F4, Tile, weights_tile};

/// Widest panel of any instruction set.
const WIDEST: usize = 32;

/// Which of the two channel counts the multiplication sums over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Sums over `c`, gives `k`: the convolution itself.
    Forward,
    /// Sums over `k`, gives `c`, with the kernel as it is: the gradient of the input by parts.
    Backward,
    /// The same with the kernel turned by 180 degrees: the gradient of the input as a convolution.
    BackwardTurned,
}

/// Reads weights by output channel, input channel and tap, whatever their direction.
#[derive(Clone, Copy)]
struct Source<'a> {
    weights: &'a [f32],
    outputs: usize,
    inputs: usize,
    taps: usize,
    output_stride: usize,
    input_stride: usize,
    turned: bool,
}

impl<'a> Source<'a> {
    fn new(weights: &'a [f32], shape: &ConvShape, direction: Direction) -> Self {
        assert_eq!(weights.len(), shape.weights_len(), "{shape:?}");
        let taps = shape.kh * shape.kw;
        let (by_k, by_c) = (shape.c * taps, taps);
        let turned = direction == Direction::BackwardTurned;
        let (outputs, inputs, output_stride, input_stride) = match direction {
            Direction::Forward => (shape.k, shape.c, by_k, by_c),
            _ => (shape.c, shape.k, by_c, by_k),
        };
        Source {
            weights,
            outputs,
            inputs,
            taps,
            output_stride,
            input_stride,
            turned,
        }
    }

    /// Copies the weights between `input` and the outputs of `panel`: a line of lanes per tap.
    #[inline(always)]
    fn lanes(&self, panel: usize, width: usize, input: usize, into: &mut [f32], tap_stride: usize) {
        let first = panel * width;
        for lane in 0..width.min(self.outputs - first) {
            let at = (first + lane) * self.output_stride + input * self.input_stride;
            let taps = &self.weights[at..at + self.taps];
            for (tap, value) in taps.iter().enumerate() {
                let tap = if self.turned {
                    self.taps - 1 - tap
                } else {
                    tap
                };
                into[tap * tap_stride + lane] = *value;
            }
        }
    }
}

/// Floats that the weights of `shape` take when packed.
pub(super) fn packed_len(
    isa: Isa,
    algorithm: Algorithm,
    shape: &ConvShape,
    direction: Direction,
) -> usize {
    let elements = match algorithm {
        Algorithm::Direct => shape.kh * shape.kw,
        winograd => (winograd.tile() + 2).pow(2),
    };
    let (outputs, inputs) = match direction {
        Direction::Forward => (shape.k, shape.c),
        _ => (shape.c, shape.k),
    };
    outputs.div_ceil(isa.panel()) * isa.panel() * inputs * elements
}

/// Packs `weights` for `algorithm` into `values`; `shape` names the forward convolution in every direction.
pub(super) fn pack(
    isa: Isa,
    algorithm: Algorithm,
    weights: &[f32],
    shape: &ConvShape,
    direction: Direction,
    values: &mut [f32],
) {
    assert_eq!(values.len(), packed_len(isa, algorithm, shape, direction));
    let source = Source::new(weights, shape, direction);
    match algorithm {
        Algorithm::Direct => direct(isa, source, values),
        Algorithm::Winograd2 => winograd::<F2, 4, 2>(isa, source, values),
        Algorithm::Winograd4 => winograd::<F4, 6, 4>(isa, source, values),
    }
}

fn direct(isa: Isa, source: Source, values: &mut [f32]) {
    let width = isa.panel();
    values
        .par_chunks_mut(source.taps * source.inputs * width)
        .enumerate()
        .for_each(|(panel, values)| {
            if source.outputs - panel * width < width {
                values.fill(0.0);
            }
            for input in 0..source.inputs {
                let into = &mut values[input * width..];
                source.lanes(panel, width, input, into, source.inputs * width);
            }
        });
}

fn winograd<T: Tile<IN, OUT>, const IN: usize, const OUT: usize>(
    isa: Isa,
    source: Source,
    values: &mut [f32],
) {
    /// Input channels of a task.
    const CHUNK: usize = 64;
    let width = isa.panel();
    let panels = source.outputs.div_ceil(width);
    let into = Shared::new(values);
    let chunks = source.inputs.div_ceil(CHUNK);
    (0..panels * chunks).into_par_iter().for_each(|task| {
        let (panel, first) = (task / chunks, task % chunks * CHUNK);
        isa.run(Transform::<T, IN, OUT> {
            source,
            panel,
            width,
            inputs: first..source.inputs.min(first + CHUNK),
            into,
            tile: PhantomData,
        });
    });
}

/// Transforms the weights between some input channels and the outputs of a panel.
struct Transform<'a, T, const IN: usize, const OUT: usize> {
    source: Source<'a>,
    panel: usize,
    width: usize,
    inputs: std::ops::Range<usize>,
    into: Shared<'a>,
    tile: PhantomData<T>,
}

impl<T: Tile<IN, OUT>, const IN: usize, const OUT: usize> WithSimd for Transform<'_, T, IN, OUT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let zero = simd.splat_f32s(0.0);
        // Lanes beyond the last output stay 0.
        let mut taps = [0.0; 9 * WIDEST];
        for input in self.inputs {
            self.source
                .lanes(self.panel, self.width, input, &mut taps, WIDEST);
            for lane in (0..self.width).step_by(S::F32_LANES) {
                let mut g = [[zero; 3]; 3];
                for (i, row) in g.iter_mut().enumerate() {
                    for (j, value) in row.iter_mut().enumerate() {
                        // SAFETY: `lane` plus a vector is at most `width`, which is at most WIDEST.
                        *value =
                            unsafe { load(simd, taps.as_ptr().add((i * 3 + j) * WIDEST + lane)) };
                    }
                }
                let u = weights_tile::<S, T, IN, OUT>(simd, g);
                for (i, row) in u.into_iter().enumerate() {
                    for (j, value) in row.into_iter().enumerate() {
                        let line = (self.panel * IN * IN + i * IN + j) * self.source.inputs + input;
                        // SAFETY: this panel's line of this input channel is written by this task alone.
                        unsafe {
                            let to = self.into.at(line * self.width + lane, S::F32_LANES);
                            store(simd, to, value);
                        }
                    }
                }
            }
        }
    }
}
