//! The geometry of a convolution, and how it is computed.
//!
//! Input: sizes. Output: a [`ConvShape`] that knows its output size and its gradient's convolution.

use super::simd::Choice;

/// Sizes of a two-dimensional convolution over images `[n, h, w, c]` with weights `[k, c, kh, kw]`, with equal strides and
/// zero padding on all sides, giving `[n, oh, ow, k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub k: usize,
    pub kh: usize,
    pub kw: usize,
    pub stride: usize,
    pub pad: usize,
}

impl ConvShape {
    /// Height of the output.
    pub fn oh(&self) -> usize {
        (self.h + 2 * self.pad - self.kh) / self.stride + 1
    }

    /// Width of the output.
    pub fn ow(&self) -> usize {
        (self.w + 2 * self.pad - self.kw) / self.stride + 1
    }

    /// Values of the input.
    pub fn input_len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Values of the output.
    pub fn output_len(&self) -> usize {
        self.n * self.oh() * self.ow() * self.k
    }

    /// Values of the weights.
    pub fn weights_len(&self) -> usize {
        self.k * self.c * self.kh * self.kw
    }

    /// The convolution of the output's gradient that gives the input's, for stride 1.
    pub(super) fn transposed(&self) -> Option<Self> {
        let fits = self.stride == 1 && self.kh == self.kw && self.pad < self.kh;
        fits.then(|| Self {
            h: self.oh(),
            w: self.ow(),
            c: self.k,
            k: self.c,
            pad: self.kh - 1 - self.pad,
            ..*self
        })
    }

    pub(super) fn check(&self) {
        assert!(
            self.n > 0 && self.c > 0 && self.k > 0 && self.kh > 0 && self.kw > 0 && self.stride > 0,
            "empty convolution: {self:?}"
        );
        assert!(
            self.h + 2 * self.pad >= self.kh && self.w + 2 * self.pad >= self.kw,
            "the kernel is larger than the padded image: {self:?}"
        );
        // What the lengths are compared with must not have wrapped around.
        let product = |sizes: [usize; 4]| sizes.into_iter().try_fold(1usize, usize::checked_mul);
        let fits = product([self.n, self.h, self.w, self.c]).is_some()
            && product([self.n, self.oh(), self.ow(), self.k]).is_some()
            && product([self.k, self.c, self.kh, self.kw]).is_some();
        assert!(fits, "too large: {self:?}");
    }
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The sum itself.
    Direct,
    /// Winograd F(2x2, 3x3): 2.25 times fewer multiplications.
    Winograd2,
    /// Winograd F(4x4, 3x3): 4 times fewer multiplications.
    Winograd4,
}

impl Algorithm {
    /// Those that can compute `shape`.
    pub fn possible(shape: &ConvShape) -> &'static [Algorithm] {
        let three = shape.kh == 3 && shape.kw == 3 && shape.stride == 1 && shape.pad <= 2;
        match three {
            true => &[Self::Winograd4, Self::Winograd2, Self::Direct],
            false => &[Self::Direct],
        }
    }

    /// The one that should be fastest. Depends on the shape alone, so a result never depends on the machine's load or its
    /// number of threads; [`OVERRIDE`](super::simd::OVERRIDE) can rule Winograd out.
    pub fn choose(shape: &ConvShape) -> Self {
        if !Choice::of_process().winograd {
            return Self::Direct;
        }
        let cost = |algorithm: &&Algorithm| algorithm.cost(shape);
        let possible = Self::possible(shape);
        let best = possible.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
        best.copied().unwrap_or(Self::Direct)
    }

    /// Side of the square of outputs that a tile gives; 1 for the direct sum.
    pub(super) fn tile(self) -> usize {
        match self {
            Self::Direct => 1,
            Self::Winograd2 => 2,
            Self::Winograd4 => 4,
        }
    }

    /// Expected time in units of one multiplication.
    fn cost(self, shape: &ConvShape) -> f64 {
        /// Reading one weight from beyond the caches takes as long as so many multiplications. Measured: whole ResNet18s of
        /// one image take 5.6 ms with 10, 6.0 with 16, 6.4 with 0 and 6.8 with 40; those of eight hardly care.
        const PER_WEIGHT: f64 = 10.0;
        /// Likewise for transforming one value of an image there, or a result back.
        const PER_VALUE: f64 = 10.0;
        let out = self.tile();
        let (c, k, n) = (shape.c as f64, shape.k as f64, shape.n as f64);
        if out == 1 {
            let taps = (shape.kh * shape.kw) as f64;
            let pixels = n * (shape.oh() * shape.ow()) as f64;
            return pixels * c * k * taps + c * k * taps * PER_WEIGHT;
        }
        let area = ((out + 2) * (out + 2)) as f64;
        let tiles = n * (shape.oh().div_ceil(out) * shape.ow().div_ceil(out)) as f64;
        tiles * area * (c * k + PER_VALUE * (c + k)) + area * c * k * PER_WEIGHT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(n: usize, channels: usize, side: usize, kernel: usize, stride: usize) -> ConvShape {
        ConvShape {
            n,
            h: side,
            w: side,
            c: channels,
            k: channels,
            kh: kernel,
            kw: kernel,
            stride,
            pad: kernel / 2,
        }
    }

    #[test]
    fn sizes_of_resnets_stem() {
        let stem = ConvShape {
            c: 3,
            k: 64,
            ..shape(2, 64, 224, 7, 2)
        };
        assert_eq!((stem.oh(), stem.ow()), (112, 112));
        assert_eq!(stem.output_len(), 2 * 112 * 112 * 64);
        assert_eq!(stem.transposed(), None);
        let odd = shape(1, 8, 7, 3, 2);
        assert_eq!((odd.oh(), odd.ow()), (4, 4));
    }

    #[test]
    fn winograd_is_for_three_by_three_of_stride_one_with_enough_work() {
        let choose = |shape| Algorithm::choose(&shape);
        assert_eq!(choose(shape(32, 64, 56, 3, 1)), Algorithm::Winograd4);
        assert_eq!(choose(shape(32, 512, 7, 3, 1)), Algorithm::Winograd4);
        // Small images are too little to read so many times more weights for.
        assert_eq!(choose(shape(1, 512, 7, 3, 1)), Algorithm::Winograd2);
        assert_eq!(choose(shape(1, 512, 2, 3, 1)), Algorithm::Direct);
        for other in [shape(32, 64, 56, 3, 2), shape(32, 64, 56, 1, 1)] {
            assert_eq!(Algorithm::possible(&other), [Algorithm::Direct]);
            assert_eq!(choose(other), Algorithm::Direct);
        }
    }
}
