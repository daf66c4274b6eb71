//! What a convolution is to the kernels: which of them computes it, over which places, and where its operands come from.
//!
//! Input: the sizes of images and weights. Output: what the kernels are launched with.

use super::places::{
    DivisorLaunch, PatchesLaunch, PlacesLaunch, ResultsLaunch, Source, TILE, Taps,
};

/// Widest images over which a kernel of 3x3 slides: with their neighbours 256 places must fit into 96 KB of shared memory, which every GPU
/// that computes in bfloat16 has.
const WIDEST: usize = 240;

/// A convolution without bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conv {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    pub k: usize,
    pub side: usize,
    pub stride: usize,
    pub pad: usize,
}

impl Conv {
    /// Of images `[n, c, h, w]` and weights `[k, c, side, side]`.
    pub(super) fn new(x: &[usize], weight: &[usize], stride: usize, pad: usize) -> Self {
        Conv {
            n: x[0],
            c: x[1],
            h: x[2],
            w: x[3],
            k: weight[0],
            side: weight[2],
            stride,
            pad,
        }
    }

    /// Height and width of the result.
    pub(super) fn output(&self) -> [usize; 2] {
        [self.h, self.w].map(|size| (size + 2 * self.pad - self.side) / self.stride + 1)
    }

    /// Whether the kernels slide over the images themselves.
    pub(super) fn is_direct(&self) -> bool {
        let kernel = (self.side, self.stride, self.pad);
        let slides = match kernel {
            (1, 1, 0) => true,
            (3, 1, 1) => self.w <= WIDEST,
            _ => false,
        };
        slides && self.c.is_multiple_of(TILE)
    }

    /// Where the rows of the convolution of 1x1 come from: straight from the images where whole tiles of a row lie side by side there.
    pub(super) fn source(&self) -> Source {
        let kernel = (self.side, self.stride, self.pad);
        match kernel {
            _ if self.c.is_multiple_of(TILE) => Source::Patches,
            (7, 2, 3) if self.c == 3 && self.w.is_multiple_of(2) => Source::Stem,
            _ => Source::Rows,
        }
    }

    /// Columns of a gathered row.
    pub(super) fn columns(&self) -> usize {
        match self.source() {
            Source::Stem => 8 * 8 * 4,
            _ => (self.side * self.side * self.c).next_multiple_of(TILE),
        }
    }

    /// The convolution of 1x1 over gathered rows.
    pub(super) fn over_rows(&self) -> Conv {
        let [h, w] = self.output();
        Conv {
            n: self.n,
            c: self.columns(),
            h,
            w,
            k: self.k,
            side: 1,
            stride: 1,
            pad: 0,
        }
    }

    pub(super) fn taps(&self) -> Taps {
        match self.side {
            1 => Taps { side: 1, halo: 0 },
            side => Taps {
                side,
                halo: self.w + 2,
            },
        }
    }

    /// Places of a row, of an image and of all images.
    pub(super) fn places(&self) -> [usize; 3] {
        let empty = self.side / 2;
        let row = self.w + empty;
        let image = row * (self.h + empty);
        [row, image, image * self.n]
    }

    /// The images that the rows of a convolution of 1x1 are taken from.
    pub(super) fn patches_launch(&self) -> PatchesLaunch {
        PatchesLaunch::new(
            self.h as u32,
            self.w as u32,
            self.stride as u32,
            self.pad as u32,
            self.pad as u32,
            DivisorLaunch::of(self.side),
            DivisorLaunch::of(self.c.div_ceil(TILE)),
            0,
            self.side as u32,
            1,
            (self.side * self.side) as u32,
        )
    }

    /// Results that lie side by side.
    pub(super) fn results_launch(&self) -> ResultsLaunch {
        ResultsLaunch::new(self.h as u32, self.w as u32, 1, 0, 0)
    }

    pub(super) fn places_launch(&self) -> PlacesLaunch {
        let [row, image, total] = self.places();
        PlacesLaunch::new(
            DivisorLaunch::of(image),
            DivisorLaunch::of(row),
            self.h as u32,
            self.w as u32,
            total as u32,
        )
    }
}

/// Every `stride`th pixel of an axis of the input. The same taps reach all of them.
pub(super) struct Phase {
    /// The first pixel, and how many there are.
    pub first: usize,
    pub size: usize,
    /// Taps that reach them. Each belongs to another pixel of the result.
    pub taps: usize,
    /// From the number of such a pixel back to the first pixel of the result that reaches it; modulo 2^32.
    pub pad: u32,
    /// The tap of that pixel, in the turned round order of [`Role::Backward`](super::gather_kernels::Role::Backward).
    pub first_tap: usize,
}

impl Conv {
    /// The phases of an axis of `length` pixels.
    pub(super) fn phases(&self, length: usize) -> impl Iterator<Item = Phase> {
        let Conv {
            side, stride, pad, ..
        } = *self;
        (0..stride.min(length)).map(move |first| {
            // Tap `t` of result `o` reaches pixel `o * stride + t - pad`.
            let (last_result, tap) = ((first + pad) / stride, (first + pad) % stride);
            let taps = side.saturating_sub(tap).div_ceil(stride);
            let first_result = (last_result + 1) as i32 - taps as i32;
            Phase {
                first,
                size: (length - first).div_ceil(stride),
                taps,
                pad: -first_result as u32,
                first_tap: (side - 1).saturating_sub(tap + taps.saturating_sub(1) * stride),
            }
        })
    }
}
