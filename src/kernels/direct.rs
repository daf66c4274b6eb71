//! Convolutions by the sum itself, of any kernel, stride and padding.
//!
//! Input: images `[n, h, w, c]` and packed weights. Output: `[n, oh, ow, k]`, or either gradient. Images are copied into a
//! frame of zeros, a few at a time, so that a line of the kernel meets `kw * c` consecutive values and no pixel needs a check.

mod input_gradient;
mod weight_gradient;

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

pub(super) use self::input_gradient::input_gradient;
pub(super) use self::weight_gradient::weight_gradient;
use super::epilogue::{Epilogue, finish};
use super::gemm::{Panel, Rows, Segment, Sink, multiply};
use super::scratch;
use super::shape::ConvShape;
use super::simd::{Isa, Shared, at};

/// Framed images that are held at a time, in floats: a part of the third cache.
const GROUP: usize = 1 << 20;

/// Zeros around an image.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Size of the image.
    h: usize,
    w: usize,
    c: usize,
    top: usize,
    left: usize,
    /// Size with the zeros.
    height: usize,
    width: usize,
}

impl Frame {
    fn image_len(&self) -> usize {
        self.h * self.w * self.c
    }

    fn len(&self) -> usize {
        self.height * self.width * self.c
    }

    fn line_len(&self) -> usize {
        self.width * self.c
    }

    fn is_empty(&self) -> bool {
        (self.height, self.width) == (self.h, self.w)
    }

    /// Copies an image into the middle of `framed`.
    fn fill(&self, image: &[f32], framed: &mut [f32]) {
        let (line, row) = (self.line_len(), self.w * self.c);
        framed[..self.top * line].fill(0.0);
        framed[(self.top + self.h) * line..].fill(0.0);
        let lines = framed[self.top * line..].chunks_mut(line);
        for (from, to) in image.chunks(row).zip(lines) {
            to[..self.left * self.c].fill(0.0);
            to[self.left * self.c..][..row].copy_from_slice(from);
            to[self.left * self.c + row..].fill(0.0);
        }
    }

    /// Calls `work` with the numbers of the first and of the last image of each group, and the group in its frame.
    fn for_groups(&self, images: &[f32], mut work: impl FnMut(Range<usize>, &[f32])) {
        let n = images.len() / self.image_len();
        if self.is_empty() {
            return work(0..n, images);
        }
        let group = (GROUP / self.len()).clamp(1, n);
        scratch::with(group * self.len(), |framed| {
            for first in (0..n).step_by(group) {
                let range = first..n.min(first + group);
                let framed = &mut framed[..range.len() * self.len()];
                let from = images[range.start * self.image_len()..].par_chunks(self.image_len());
                let to = framed.par_chunks_mut(self.len());
                to.zip(from).for_each(|(to, from)| self.fill(from, to));
                work(range, framed);
            }
        });
    }
}

/// The frame of `shape`'s input.
fn input_frame(shape: &ConvShape) -> Frame {
    Frame {
        h: shape.h,
        w: shape.w,
        c: shape.c,
        top: shape.pad,
        left: shape.pad,
        height: shape.h + 2 * shape.pad,
        width: shape.w + 2 * shape.pad,
    }
}

/// The convolution of `x` with packed weights.
pub(super) fn forward(
    isa: Isa,
    x: &[f32],
    shape: &ConvShape,
    packed: &[f32],
    epilogue: Epilogue,
    y: &mut [f32],
) {
    let frame = input_frame(shape);
    let (oh, ow, k) = (shape.oh(), shape.ow(), shape.k);
    let run = shape.kw * shape.c;
    let segments: Vec<_> = (0..shape.kh)
        .map(|i| Segment {
            a: i * frame.line_len(),
            b: i * run * isa.panel(),
            len: run,
        })
        .collect();
    let job = Job {
        isa,
        segments: &segments,
        packed,
        panel_len: shape.kh * run * isa.panel(),
        image_len: frame.len(),
        pixels: oh * ow,
        from: Rows {
            base: 0,
            width: ow as u32,
            line_stride: shape.stride * frame.line_len(),
            stride: shape.stride * shape.c,
        },
        to: Rows::linear(k),
        channels: k,
        epilogue,
    };
    let y = Shared::new(y);
    frame.for_groups(x, |images, framed| {
        job.run(framed, images, oh * ow * k, y);
    });
}

/// A product of framed images and packed weights.
struct Job<'a> {
    isa: Isa,
    segments: &'a [Segment],
    packed: &'a [f32],
    panel_len: usize,
    /// Floats of an image in its frame.
    image_len: usize,
    /// Results per image, where their inputs begin, and where they go.
    pixels: usize,
    from: Rows,
    to: Rows,
    channels: usize,
    epilogue: Epilogue<'a>,
}

impl Job<'_> {
    /// Works on `images`, which are in `framed`; results have `result_len` floats per image.
    fn run(&self, framed: &[f32], images: Range<usize>, result_len: usize, y: Shared) {
        /// Fewer results are not worth a task.
        const LEAST: usize = 48;
        let panels = self.channels.div_ceil(self.isa.panel());
        // Enough tasks for all threads to end at the same time; a split of pixels changes no sum.
        let wanted = (6 * rayon::current_num_threads()).div_ceil(images.len() * panels);
        let parts = wanted.clamp(1, self.pixels.div_ceil(LEAST));
        let tasks = images.len() * parts * panels;
        (0..tasks).into_par_iter().for_each(|task| {
            let (image, rest) = (task / (parts * panels), task % (parts * panels));
            let (panel, part) = (rest / parts, rest % parts);
            self.isa.run(Part {
                job: self,
                framed: &framed[image * self.image_len..][..self.image_len],
                panel,
                pixels: self.pixels * part / parts..self.pixels * (part + 1) / parts,
                base: (images.start + image) * result_len,
                y,
            });
        });
    }
}

/// One panel of some results of an image.
struct Part<'a> {
    job: &'a Job<'a>,
    framed: &'a [f32],
    panel: usize,
    pixels: Range<usize>,
    base: usize,
    y: Shared<'a>,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let job = self.job;
        // SAFETY: the frame makes every pixel's kernel lie inside; the panel's channels of these results are this task's own.
        unsafe {
            let panel = Panel {
                a: self.framed.as_ptr(),
                rows: job.from,
                segments: job.segments,
                b: at(job.packed, self.panel * job.panel_len, job.panel_len),
            };
            let sink = ToImage {
                y: self.y,
                to: Rows {
                    base: self.base + job.to.base,
                    ..job.to
                },
                first: self.panel * job.isa.panel(),
                channels: job.channels,
                epilogue: job.epilogue,
            };
            multiply(simd, panel, self.pixels, sink);
        }
    }
}

/// Writes rows to pixels of images.
#[derive(Clone, Copy)]
struct ToImage<'a> {
    y: Shared<'a>,
    to: Rows,
    /// First channel of the panel.
    first: usize,
    channels: usize,
    epilogue: Epilogue<'a>,
}

impl<S: Simd> Sink<S> for ToImage<'_> {
    #[inline(always)]
    unsafe fn put<const V: usize>(self, simd: S, row: usize, values: [S::f32s; V]) {
        let pixel = self.to.offset(row);
        for (v, value) in values.into_iter().enumerate() {
            let channel = self.first + v * S::F32_LANES;
            let lanes = self.channels.saturating_sub(channel).min(S::F32_LANES);
            if lanes > 0 {
                let place = pixel + channel;
                unsafe { finish(simd, self.epilogue, value, self.y, place, channel, lanes) };
            }
        }
    }
}
