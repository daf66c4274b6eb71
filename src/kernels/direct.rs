//! Convolutions by the sum itself, of any kernel, stride and padding.
//!
//! Input: images `[n, h, w, c]` and packed weights. Output: `[n, oh, ow, k]`, or either gradient. Images are copied into a
//! frame of zeros, a few at a time, so that a line of the kernel meets `kw * c` consecutive values and no pixel needs a check.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::gemm::{Columns, Panel, Rows, Samples, Segment, Sink, accumulate, multiply};
use super::scratch;
use super::shape::{ConvShape, Epilogue};
use super::simd::{Isa, Shared, at};
use super::winograd::finish;

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

/// The gradient of the input, given that of the output and weights packed for it.
///
/// Pixels of the input fall into `stride * stride` classes by their remainders. All pixels of a class meet the same taps of the
/// kernel, at neighbouring outputs for neighbouring pixels, so that each class is a convolution of its own.
pub(super) fn input_gradient(
    isa: Isa,
    dy: &[f32],
    shape: &ConvShape,
    packed: &[f32],
    dx: &mut [f32],
) {
    let (oh, ow) = (shape.oh(), shape.ow());
    let (vertical, frame_top, frame_height) = taps_by_class(shape.kh, shape, shape.h, oh);
    let (horizontal, frame_left, frame_width) = taps_by_class(shape.kw, shape, shape.w, ow);
    let frame = Frame {
        h: oh,
        w: ow,
        c: shape.k,
        top: frame_top,
        left: frame_left,
        height: frame_height,
        width: frame_width,
    };
    // Classes without taps, and pixels beyond the last kernel, have no gradient.
    let all_covered = vertical
        .iter()
        .chain(&horizontal)
        .all(|class| !class.taps.is_empty());
    if !all_covered {
        dx.fill(0.0);
    }
    let dx = Shared::new(dx);
    let width = isa.panel();
    frame.for_groups(dy, |images, framed| {
        for down in &vertical {
            for right in &horizontal {
                let segments: Vec<_> = (down.taps.iter())
                    .flat_map(|a| right.taps.iter().map(move |b| (a, b)))
                    .map(|((i, y), (j, x))| Segment {
                        a: (y * frame.width + x) * shape.k,
                        b: (i * shape.kw + j) * shape.k * width,
                        len: shape.k,
                    })
                    .collect();
                if segments.is_empty() || down.count == 0 || right.count == 0 {
                    continue;
                }
                let job = Job {
                    isa,
                    segments: &segments,
                    packed,
                    panel_len: shape.kh * shape.kw * shape.k * width,
                    image_len: frame.len(),
                    pixels: down.count * right.count,
                    from: Rows {
                        base: 0,
                        width: right.count as u32,
                        line_stride: frame.line_len(),
                        stride: shape.k,
                    },
                    to: Rows {
                        base: (down.first * shape.w + right.first) * shape.c,
                        width: right.count as u32,
                        line_stride: shape.stride * shape.w * shape.c,
                        stride: shape.stride * shape.c,
                    },
                    channels: shape.c,
                    epilogue: Epilogue::default(),
                };
                job.run(framed, images.clone(), shape.h * shape.w * shape.c, dx);
            }
        }
    });
}

/// Positions of the input along one axis that have the same remainder.
struct Class {
    first: usize,
    count: usize,
    /// Taps of the kernel, and the framed output that each meets at the class's first position.
    taps: Vec<(usize, usize)>,
}

/// The classes along an axis of `size` inputs and `outputs` outputs, zeros before the outputs, and their number with zeros.
fn taps_by_class(
    kernel: usize,
    shape: &ConvShape,
    size: usize,
    outputs: usize,
) -> (Vec<Class>, usize, usize) {
    let stride = shape.stride as isize;
    // Position p meets tap t at output (p + pad - t) / stride, where that is whole.
    let meets = |first: usize, tap: usize| {
        let reach = first as isize + shape.pad as isize - tap as isize;
        (reach.rem_euclid(stride) == 0).then(|| reach.div_euclid(stride))
    };
    let classes = 0..shape.stride.min(size);
    let all = classes
        .clone()
        .flat_map(|first| (0..kernel).filter_map(move |t| meets(first, t)));
    let before = all.min().map_or(0, |least| (-least).max(0)) as usize;
    let mut padded = before + outputs;
    let classes = classes
        .map(|first| {
            let count = (size - first).div_ceil(shape.stride);
            let taps = (0..kernel).filter_map(|t| meets(first, t).map(|output| (t, output)));
            let taps: Vec<_> = taps
                .map(|(t, output)| (t, (output + before as isize) as usize))
                .collect();
            for (_, output) in &taps {
                padded = padded.max(output + count);
            }
            Class { first, count, taps }
        })
        .collect();
    (classes, before, padded)
}

/// Adds the gradient of the weights `[k, c, kh, kw]` to `dw`, given the input and the gradient of the output.
pub(super) fn weight_gradient(isa: Isa, x: &[f32], shape: &ConvShape, dy: &[f32], dw: &mut [f32]) {
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
