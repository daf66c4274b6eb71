//! Photos as cameras write them, decoded fast: sequential JPEG of 8 bits with Huffman codes, grey or YCbCr, in one scan.
//!
//! Input: the bytes of a file, and which part of the picture is wanted. Output: its pixels, equal to those of libjpeg (accurate integer
//! transform, triangle filter for chroma), or `None`: then the file is something else, or broken, and another decoder has to read it
//! or say what is wrong. A picture that comes from here is whole.
//!
//! ```text
//! bytes -> Header (tables, sizes) -> Data (bits, codes) -> Blocks (64 coefficients) -> transform -> Planes (rows of samples) -> colour -> RGB
//! ```
//!
//! [`is_complete`] reads headers and data in the same way to tell whether a file that is left to another decoder is whole.
//!
//! Why it is here: entropy decoding is half of the work of reading a photo, and all readers that were tried take as long for it as
//! libjpeg-turbo. What makes this one faster: one search in a table tells two codes and the sizes of their values, without a branch; pixels
//! outside of the part that is wanted are never computed, which are a third to a half where a network sees a crop of a photo; samples stay
//! in the fastest cache, as only two rows of units are kept.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod bits;
mod codes;
mod colour;
mod end;
mod entropy;
mod header;
mod scan;
mod transform;

pub(super) use end::is_complete;

use image::RgbImage;
use pulp::{Simd, WithSimd};

use self::colour::{GROUP, Picture};
use self::entropy::Block;
use self::header::{Component, Header};
use self::scan::Data;
use self::transform::Factors;
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
    Isa::detect().run(Decode {
        bytes,
        header: &header,
        part: part(width, height),
    })
}

/// What is said in the instructions of a processor where a compiler does not find the right ones.
trait Instructions: Copy {
    /// The samples of a block in which only the first `USED` rows and columns, four or eight, hold anything.
    fn samples<const USED: usize>(self, block: &Block, factors: &Factors) -> [[u8; SIDE]; SIDE];

    /// The pixels of these samples.
    fn pixels(self, luma: &[u8; GROUP], blue: &[u8; GROUP], red: &[u8; GROUP]) -> [u8; 3 * GROUP];
}

/// For any processor.
#[derive(Clone, Copy)]
struct Portable;

impl Instructions for Portable {
    #[inline(always)]
    fn samples<const USED: usize>(self, block: &Block, factors: &Factors) -> [[u8; SIDE]; SIDE] {
        transform::samples::<USED>(block, factors)
    }

    #[inline(always)]
    fn pixels(self, luma: &[u8; GROUP], blue: &[u8; GROUP], red: &[u8; GROUP]) -> [u8; 3 * GROUP] {
        colour::pixels(luma, blue, red)
    }
}

/// What is compiled for each instruction set.
struct Decode<'a> {
    bytes: &'a [u8],
    header: &'a Header,
    part: Crop,
}

impl WithSimd for Decode<'_> {
    type Output = Option<RgbImage>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<RgbImage> {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = avx2::of(simd) {
            return self.picture(simd);
        }
        let _ = simd;
        self.picture(Portable)
    }
}

impl Decode<'_> {
    /// `None` where the file's data ends before that of the picture does.
    #[inline(always)]
    fn picture(self, with: impl Instructions) -> Option<RgbImage> {
        let header = self.header;
        let window = Window::of(header, self.part);
        let mut data = Data::new(&header.scan, self.bytes)?;
        let mut planes: Vec<Plane> = header
            .components
            .iter()
            .map(|c| Plane::of(c, header))
            .collect();
        let mut picture = Picture::new(header, &window);
        // What lies below the window need not be read where the file has its end.
        let rows = match header.has_end {
            true => window.unit_rows.end,
            false => header.units.1,
        };
        for unit_row in 0..rows {
            match window.unit_rows.contains(&unit_row) {
                true => {
                    read_row(&mut data, header, &window, unit_row, &mut planes, with)?;
                    picture.write(&planes, unit_row, with);
                }
                false => skip_units(&mut data, header, header.units.0)?,
            }
        }
        data.bits.is_sound().then(|| picture.finished()).flatten()
    }
}

/// The samples of a component, one byte each, in whole units: those of the last two rows of units, which stay in the fastest cache.
pub(super) struct Plane {
    samples: Vec<u8>,
    /// Samples from one row to the next.
    stride: usize,
    /// Rows that are kept.
    kept: usize,
    /// Those that the picture has; the rest fills up blocks.
    width: usize,
    height: usize,
}

impl Plane {
    fn of(component: &Component, header: &Header) -> Self {
        let stride = header.units.0 * component.horizontal * SIDE;
        let kept = 2 * component.vertical * SIDE;
        Plane {
            samples: vec![0; stride * kept],
            stride,
            kept,
            width: (header.width * component.horizontal).div_ceil(header.horizontal),
            height: (header.height * component.vertical).div_ceil(header.vertical),
        }
    }

    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y % self.kept * self.stride..][..self.width]
    }

    /// What begins with the block at this place.
    #[inline(always)]
    fn block(&mut self, row: usize, column: usize) -> Option<&mut [u8]> {
        let at = row * SIDE % self.kept * self.stride + column * SIDE;
        self.samples.get_mut(at..)
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

/// Reads a row of units into `planes`, as far as it lies within `window`.
#[inline(always)]
fn read_row(
    data: &mut Data,
    header: &Header,
    window: &Window,
    unit_row: usize,
    planes: &mut [Plane],
    with: impl Instructions,
) -> Option<()> {
    // Those of a unit are read before the first is transformed, which would have to wait for the last coefficient to reach memory.
    let mut blocks: [Block; MOST_BLOCKS] = Default::default();
    let columns = window.unit_columns.clone();
    skip_units(data, header, columns.start)?;
    for unit_column in columns.clone() {
        data.begin_unit()?;
        let mut unread = blocks.iter_mut();
        for (component, prediction) in header.components.iter().zip(&mut data.predictions) {
            for _ in 0..component.horizontal * component.vertical {
                let (dc, ac) = (&component.dc, &component.ac);
                unread.next()?.read(dc, ac, &mut data.bits, prediction)?;
            }
        }
        let mut read = blocks.iter();
        for (component, plane) in header.components.iter().zip(&mut *planes) {
            for v in 0..component.vertical {
                for h in 0..component.horizontal {
                    let row = unit_row * component.vertical + v;
                    let column = unit_column * component.horizontal + h;
                    let (block, stride) = (read.next()?, plane.stride);
                    let target = plane.block(row, column)?;
                    transform::inverse(with, block, &component.factors, target, stride);
                }
            }
        }
    }
    skip_units(data, header, header.units.0 - columns.end)
}

/// Reads over `count` units.
#[inline(always)]
fn skip_units(data: &mut Data, header: &Header, count: usize) -> Option<()> {
    for _ in 0..count {
        data.begin_unit()?;
        for (component, prediction) in header.components.iter().zip(&mut data.predictions) {
            for _ in 0..component.horizontal * component.vertical {
                Block::skip(&component.dc, &component.ac, &mut data.bits, prediction)?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests;
