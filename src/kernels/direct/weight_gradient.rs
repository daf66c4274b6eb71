//! The gradient of a convolution's weights.
//!
//! Input: images and the gradient of the output. Output: sums of their products, added to the gradient of the weights.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{Frame, input_frame};
use crate::kernels::gemm::{Columns, Samples, accumulate};
use crate::kernels::scratch;
use crate::kernels::shape::ConvShape;
use crate::kernels::simd::{Isa, Shared, at};

/// Adds the gradient of the weights `[k, c, kh, kw]` to `dw`, given the input and the gradient of the output.
pub(in crate::kernels) fn weight_gradient(
    isa: Isa,
    x: &[f32],
    shape: &ConvShape,
    dy: &[f32],
    dw: &mut [f32],
) {
    let width = isa.panel();
    let (pixels, k) = (shape.oh() * shape.ow(), shape.k);
    let padded_k = k.div_ceil(width) * width;
    let run = shape.kw * shape.c;
    let frame = input_frame(shape);
    scratch::with(shape.kh * run * padded_k, |sums| {
        frame.for_groups(x, |images, framed| {
            let dy = &dy[images.start * pixels * k..images.end * pixels * k];
            let add = images.start > 0;
            let job = WeightJob {
                isa,
                shape,
                frame,
                k: padded_k,
            };
            if padded_k == k {
                return job.run(framed, images.len(), dy, add, sums);
            }
            scratch::with(images.len() * pixels * padded_k, |wide| {
                for (to, from) in wide.chunks_mut(padded_k).zip(dy.chunks(k)) {
                    to[..k].copy_from_slice(from);
                    to[k..].fill(0.0);
                }
                job.run(framed, images.len(), wide, add, sums);
            });
        });
        // [tap][c][k] to [k][c][tap]
        let taps = shape.kh * shape.kw;
        dw.par_chunks_mut(shape.c * taps)
            .enumerate()
            .for_each(|(output, dw)| {
                for (c, dw) in dw.chunks_mut(taps).enumerate() {
                    for (tap, value) in dw.iter_mut().enumerate() {
                        *value += sums[(tap * shape.c + c) * padded_k + output];
                    }
                }
            });
    });
}

struct WeightJob<'a> {
    isa: Isa,
    shape: &'a ConvShape,
    frame: Frame,
    /// Channels of dy, a multiple of a panel.
    k: usize,
}

impl WeightJob<'_> {
    /// `sums[tap][c][k]` = or += the products of inputs and gradients of `images` framed images.
    fn run(&self, framed: &[f32], images: usize, dy: &[f32], add: bool, sums: &mut [f32]) {
        /// Fewer rows are not worth a task.
        const LEAST: usize = 32;
        let rows = self.shape.kh * self.shape.kw * self.shape.c;
        let panels = self.k / self.isa.panel();
        // A split of rows changes no sum.
        let wanted = (4 * rayon::current_num_threads()).div_ceil(panels);
        let parts = wanted.clamp(1, rows.div_ceil(LEAST));
        let sums = Shared::new(sums);
        (0..parts * panels).into_par_iter().for_each(|task| {
            let (part, panel) = (task / panels, task % panels);
            self.isa.run(WeightPart {
                job: self,
                framed,
                images,
                dy,
                rows: rows * part / parts..rows * (part + 1) / parts,
                panel: panel * self.isa.panel(),
                add,
                sums,
            });
        });
    }
}

/// One panel of some rows of the weights' gradient.
struct WeightPart<'a> {
    job: &'a WeightJob<'a>,
    framed: &'a [f32],
    images: usize,
    dy: &'a [f32],
    /// Rows of the sums: line of the kernel, then column, then channel.
    rows: Range<usize>,
    panel: usize,
    add: bool,
    sums: Shared<'a>,
}

impl WithSimd for WeightPart<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        /// Samples whose values stay in the first cache while all blocks of rows use them.
        const SAMPLES: usize = 96;
        let WeightJob {
            shape, frame, k, ..
        } = *self.job;
        let (oh, ow) = (shape.oh(), shape.ow());
        let run = shape.kw * shape.c;
        let lines = (SAMPLES / ow).max(1);
        for image in 0..self.images {
            for first in (0..oh).step_by(lines) {
                let mut row = self.rows.start;
                while row < self.rows.end {
                    let (line, column) = (row / run, row % run);
                    let count = (run - column).min(self.rows.end - row);
                    let top = first * shape.stride + line;
                    let a = image * frame.len() + top * frame.line_len() + column;
                    let b = (image * oh + first) * ow * k + self.panel;
                    // SAFETY: the frame makes every pixel's kernel lie inside; these rows of the panel are this task's own.
                    unsafe {
                        let columns = Columns {
                            a: at(self.framed, a, 1),
                            b: at(self.dy, b, 1),
                            samples: Samples {
                                lines: lines.min(oh - first),
                                width: ow,
                                a: (shape.stride * frame.line_len(), shape.stride * shape.c),
                                b: (ow * k, k),
                            },
                            c: self.sums.at(row * k + self.panel, (count - 1) * k + 1),
                            c_stride: k,
                            add: self.add || image > 0 || first > 0,
                        };
                        accumulate(simd, columns, count);
                    }
                    row += count;
                }
            }
        }
    }
}
