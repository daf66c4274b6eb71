//! The gradient of a convolution's input, for any stride.
//!
//! Input: the gradient of the output, and packed weights. Output: the gradient of the input.

use super::{Frame, Job};
use crate::kernels::epilogue::Epilogue;
use crate::kernels::gemm::{Rows, Segment};
use crate::kernels::shape::ConvShape;
use crate::kernels::simd::{Isa, Shared};

/// The gradient of the input, given that of the output and weights packed for it.
///
/// Pixels of the input fall into `stride * stride` classes by their remainders. All pixels of a class meet the same taps of the
/// kernel, at neighbouring outputs for neighbouring pixels, so that each class is a convolution of its own.
pub(in crate::kernels) fn input_gradient(
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
