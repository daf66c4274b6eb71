//! Photos as cameras write them, decoded fast: sequential JPEG of 8 bits with Huffman codes, grey or YCbCr, in one scan.
//!
//! Input: the bytes of a file, and which part of the picture is wanted. Output: its pixels, equal to those of libjpeg (accurate integer
//! transform, triangle filter for chroma), or `None`: then the file is something else, or broken, and another decoder has to read it
//! or say what is wrong. A picture that comes from here is whole.
//!
//! ```text
//! bytes -> Header (tables, sizes) -> Data -> Blocks (64 coefficients) -> transform -> Plane (one a component) -> colour -> RGB
//! ```
//!
//! [`is_complete`] reads headers and data in the same way to tell whether a file that is left to another decoder is whole.
//!
//! Why it is here: entropy decoding is half of the work of reading a photo, and all readers that were tried take as long for it as
//! libjpeg-turbo. Two things make this one faster: one table entry tells a code and its value's size, without a branch, and pixels outside of
//! the part that is wanted are never computed. Where a network sees a crop of a photo, that is a third to a half of them.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod bits;
mod colour;
mod end;
mod entropy;
mod header;
mod scan;
mod transform;

pub(super) use end::is_complete;

use image::RgbImage;
use pulp::{Simd, WithSimd};

use self::entropy::Block;
use self::header::{Component, Header};
use self::scan::Data;
use self::transform::Transform;
use super::pixels::Crop;
use crate::kernels::Isa;

/// Blocks of a unit, of the largest that there are here: luma of two by two, and two of chroma.
const MOST_BLOCKS: usize = 6;
/// Pixels of a block's side.
const SIDE: usize = 8;

/// The pixels of a photo, or `None`. Those outside of what `part` answers to the photo's width and height are black, as far as whole
/// blocks allow. `fits` says whether a picture of this width and height may be decoded.
pub(super) fn decode(
    bytes: &[u8],
    fits: impl Fn(u32, u32) -> bool,
    part: impl Fn(u32, u32) -> Crop,
) -> Option<RgbImage> {
    let header = Header::parse(bytes)?;
    let (width, height) = (header.width as u32, header.height as u32);
    if !fits(width, height) {
        return None;
    }
    let part = part(width, height);
    let whole = RgbImage::new(width, height);
    Isa::detect().run(Decode {
        bytes,
        header: &header,
        part,
        pixels: whole.into_raw(),
    })
}

/// What is compiled for each instruction set.
struct Decode<'a> {
    bytes: &'a [u8],
    header: &'a Header,
    part: Crop,
    pixels: Vec<u8>,
}

impl WithSimd for Decode<'_> {
    type Output = Option<RgbImage>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<RgbImage> {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = avx2::of(simd) {
            return self.with(simd);
        }
        let _ = simd;
        self.with(transform::Portable)
    }
}

impl Decode<'_> {
    #[inline(always)]
    fn with(mut self, transform: impl Transform) -> Option<RgbImage> {
        let header = self.header;
        let window = Window::of(header, self.part);
        let planes = read_planes(self.bytes, header, &window, transform)?;
        colour::write(&planes, header, &window, &mut self.pixels);
        RgbImage::from_raw(header.width as u32, header.height as u32, self.pixels)
    }
}

/// The samples of a component, one byte each, in whole units.
pub(super) struct Plane {
    samples: Vec<u8>,
    /// Samples from one row to the next.
    stride: usize,
    /// Those that the picture has; the rest fills up blocks.
    width: usize,
    height: usize,
}

impl Plane {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.stride..][..self.width]
    }
}

/// Which pixels are wanted, and which units are transformed for them.
pub(super) struct Window {
    /// Pixels.
    columns: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
    unit_columns: std::ops::Range<usize>,
    unit_rows: std::ops::Range<usize>,
}

impl Window {
    fn of(header: &Header, part: Crop) -> Self {
        let range = |start: u32, length: u32, size: usize, unit: usize| {
            let end = (start as usize + length as usize).min(size);
            let start = (start as usize).min(end);
            // The filter for chroma looks one sample beyond, which may lie in the next unit.
            let units = (start.saturating_sub(2) / unit)..((end + 2).min(size).div_ceil(unit));
            (start..end, units)
        };
        let (columns, unit_columns) = range(
            part.left,
            part.width,
            header.width,
            SIDE * header.horizontal,
        );
        let (rows, unit_rows) = range(part.top, part.height, header.height, SIDE * header.vertical);
        Window {
            columns,
            rows,
            unit_columns,
            unit_rows,
        }
    }
}

/// The samples of all components within `window`; `None` where the file's data ends before that of the picture does.
#[inline(always)]
fn read_planes(
    bytes: &[u8],
    header: &Header,
    window: &Window,
    transform: impl Transform,
) -> Option<Vec<Plane>> {
    let (units_across, units_down) = header.units;
    let plane = |component: &Component| {
        let stride = units_across * component.horizontal * SIDE;
        Plane {
            samples: vec![0; stride * units_down * component.vertical * SIDE],
            stride,
            width: (header.width * component.horizontal).div_ceil(header.horizontal),
            height: (header.height * component.vertical).div_ceil(header.vertical),
        }
    };
    let mut planes: Vec<Plane> = header.components.iter().map(plane).collect();
    let mut data = Data::new(&header.scan, bytes)?;
    // Those of a unit are read before the first is transformed, which would have to wait for the last coefficient to reach memory.
    let mut blocks: [Block; MOST_BLOCKS] = Default::default();
    // What lies below the window need not be read where the file has its end.
    let last_row = match header.has_end {
        true => window.unit_rows.end,
        false => units_down,
    };
    for unit_row in 0..last_row {
        let is_row_wanted = window.unit_rows.contains(&unit_row);
        for unit_column in 0..units_across {
            data.begin_unit()?;
            let is_wanted = is_row_wanted && window.unit_columns.contains(&unit_column);
            let mut unread = blocks.iter_mut();
            for (component, prediction) in header.components.iter().zip(&mut data.predictions) {
                let (dc, ac) = (&component.dc, &component.ac);
                for _ in 0..component.horizontal * component.vertical {
                    match is_wanted {
                        true => unread.next()?.read(dc, ac, &mut data.bits, prediction)?,
                        false => Block::skip(dc, ac, &mut data.bits, prediction)?,
                    }
                }
            }
            if !is_wanted {
                continue;
            }
            let mut read = blocks.iter();
            for (component, plane) in header.components.iter().zip(&mut planes) {
                for v in 0..component.vertical {
                    for h in 0..component.horizontal {
                        let column = unit_column * component.horizontal + h;
                        let row = unit_row * component.vertical + v;
                        let at = row * SIDE * plane.stride + column * SIDE;
                        let target = plane.samples.get_mut(at..)?;
                        let block = read.next()?;
                        transform::inverse(
                            transform,
                            block,
                            &component.factors,
                            target,
                            plane.stride,
                        );
                    }
                }
            }
        }
    }
    data.bits.is_sound().then_some(planes)
}

#[cfg(test)]
mod tests;
