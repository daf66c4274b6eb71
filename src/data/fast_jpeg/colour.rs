//! Samples of components to RGB.
//!
//! Input: [`Plane`]s, the chroma ones maybe of half the width or size. Output: pixels within a [`Window`]. Chroma is brought to full size
//! by a triangle filter, three parts of the nearer sample and one of the farther, and turned into RGB by JFIF's equations in 16 bits
//! of fraction, both rounded as libjpeg rounds them.

use image::RgbImage;

use super::header::Header;
use super::{Instructions, Plane, SIDE, Window};

/// Pixels that are computed at once.
pub(super) const GROUP: usize = 32;

/// The pixels that were computed so far, from the top down.
pub(super) struct Picture<'a> {
    header: &'a Header,
    window: &'a Window,
    pixels: Vec<u8>,
    /// The next row.
    y: usize,
    upsampled: [Row; 2],
}

impl<'a> Picture<'a> {
    pub(super) fn new(header: &'a Header, window: &'a Window) -> Self {
        Picture {
            header,
            window,
            pixels: Vec::with_capacity(header.width * header.height * 3),
            y: window.rows.start,
            upsampled: [(); 2].map(|()| Row::new(window.columns.clone())),
        }
    }

    /// Writes the pixels within the window that can be told once `planes` hold the samples of a row of units.
    #[inline(always)]
    pub(super) fn write(&mut self, planes: &[Plane], unit_row: usize, with: impl Instructions) {
        let (header, columns) = (self.header, self.window.columns.clone());
        let known = (unit_row + 1) * SIDE * header.vertical;
        let end = match known >= header.height {
            true => self.window.rows.end,
            // The filter for chroma looks one sample down.
            false => self.window.rows.end.min(known - (header.vertical - 1)),
        };
        let [luma, chroma @ ..] = planes else { return };
        for y in self.y..end {
            if columns.is_empty() {
                break;
            }
            // What is not wanted is black.
            let at = (y * header.width + columns.start) * 3;
            self.pixels.resize(at, 0);
            let luma = &luma.row(y)[columns.clone()];
            match chroma {
                [blue, red] => {
                    let [blue_row, red_row] = &mut self.upsampled;
                    let blue = blue_row.of(blue, y, header);
                    let red = red_row.of(red, y, header);
                    to_rgb(with, luma, blue, red, &mut self.pixels);
                }
                _ => self.pixels.extend(luma.iter().flat_map(|luma| [*luma; 3])),
            }
        }
        self.y = self.y.max(end);
    }

    pub(super) fn finished(mut self) -> Option<RgbImage> {
        let (width, height) = (self.header.width, self.header.height);
        self.pixels.resize(width * height * 3, 0);
        RgbImage::from_raw(width as u32, height as u32, self.pixels)
    }
}

/// A row of chroma at full size.
struct Row {
    columns: std::ops::Range<usize>,
    /// Sums down a column, with one more at either side.
    sums: Vec<u16>,
    samples: Vec<u8>,
}

impl Row {
    fn new(columns: std::ops::Range<usize>) -> Self {
        Row {
            columns,
            sums: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Row `y` of the picture, its wanted columns.
    #[inline(always)]
    fn of<'a>(&'a mut self, plane: &'a Plane, y: usize, header: &Header) -> &'a [u8] {
        let columns = self.columns.clone();
        if header.horizontal == 1 {
            return &plane.row(y)[columns];
        }
        // Samples of the plane, and pixels that come of them.
        let wanted = columns.start / 2..columns.end.div_ceil(2).min(plane.width);
        let skipped = columns.start - 2 * wanted.start;
        // Of pixels at the picture's edge the farther sample is the edge again.
        let left = wanted.start.saturating_sub(1);
        let right = (wanted.end + 1).min(plane.width);
        self.sums.clear();
        match header.vertical {
            1 => {
                let row = &plane.row(y)[left..right];
                self.sums
                    .extend(row.iter().map(|sample| u16::from(*sample)));
            }
            _ => {
                let near = y / 2;
                let far = match y % 2 {
                    0 => near.saturating_sub(1),
                    _ => (near + 1).min(plane.height - 1),
                };
                let rows = plane.row(near)[left..right].iter();
                let rows = rows.zip(&plane.row(far)[left..right]);
                self.sums
                    .extend(rows.map(|(near, far)| 3 * u16::from(*near) + u16::from(*far)));
            }
        }
        if wanted.start == 0 {
            self.sums.insert(0, self.sums[0]);
        }
        if wanted.end == plane.width {
            self.sums.extend(self.sums.last().copied());
        }
        self.samples.resize(2 * wanted.len(), 0);
        match header.vertical {
            1 => widen::<2, 1, 2>(&self.sums, &mut self.samples),
            _ => widen::<4, 8, 7>(&self.sums, &mut self.samples),
        }
        &self.samples[skipped..skipped + columns.len()]
    }
}

/// Two samples of each sum but the outermost, which have a quarter in their neighbours.
#[inline(always)]
fn widen<const SHIFT: u32, const LEFT: u16, const RIGHT: u16>(sums: &[u16], samples: &mut [u8]) {
    let neighbours = sums.iter().zip(&sums[1..]).zip(&sums[2..]);
    for (pair, ((before, here), after)) in samples.chunks_exact_mut(2).zip(neighbours) {
        pair[0] = ((3 * here + before + LEFT) >> SHIFT) as u8;
        pair[1] = ((3 * here + after + RIGHT) >> SHIFT) as u8;
    }
}

/// Appends the pixels of these samples.
#[inline(always)]
fn to_rgb(with: impl Instructions, luma: &[u8], blue: &[u8], red: &[u8], pixels: &mut Vec<u8>) {
    let groups = luma
        .chunks(GROUP)
        .zip(blue.chunks(GROUP))
        .zip(red.chunks(GROUP));
    for ((luma, blue), red) in groups {
        let whole = |from: &[u8]| {
            let mut group = [0u8; GROUP];
            group[..from.len()].copy_from_slice(from);
            group
        };
        match (luma.first_chunk(), blue.first_chunk(), red.first_chunk()) {
            (Some(luma), Some(blue), Some(red)) => {
                pixels.extend_from_slice(&with.pixels(luma, blue, red));
            }
            _ => {
                let group = with.pixels(&whole(luma), &whole(blue), &whole(red));
                pixels.extend_from_slice(&group[..3 * luma.len()]);
            }
        }
    }
}

/// A number times 2^16, to the nearest whole one.
pub(super) const fn fixed(value: f64) -> i32 {
    (value * 65536.0 + 0.5) as i32
}

#[inline(always)]
pub(super) fn pixels(luma: &[u8; GROUP], blue: &[u8; GROUP], red: &[u8; GROUP]) -> [u8; 3 * GROUP] {
    const HALF: i32 = 1 << 15;
    let mut channels = [[0u8; GROUP]; 3];
    for index in 0..GROUP {
        let y = i32::from(luma[index]);
        let (cb, cr) = (i32::from(blue[index]) - 128, i32::from(red[index]) - 128);
        let byte = |value: i32| value.clamp(0, 255) as u8;
        channels[0][index] = byte(y + ((fixed(1.402) * cr + HALF) >> 16));
        let green = -fixed(0.344_14) * cb - fixed(0.714_14) * cr + HALF;
        channels[1][index] = byte(y + (green >> 16));
        channels[2][index] = byte(y + ((fixed(1.772) * cb + HALF) >> 16));
    }
    let mut out = [0; 3 * GROUP];
    for (index, pixel) in out.chunks_exact_mut(3).enumerate() {
        pixel[0] = channels[0][index];
        pixel[1] = channels[1][index];
        pixel[2] = channels[2][index];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_the_equations() {
        let (mut luma, mut blue, mut red) = ([0; GROUP], [0; GROUP], [0; GROUP]);
        for index in 0..GROUP {
            luma[index] = (index * 67 % 256) as u8;
            blue[index] = (index * 101 % 256) as u8;
            red[index] = (index * 29 % 256) as u8;
        }
        let out = pixels(&luma, &blue, &red);
        for (index, pixel) in out.chunks_exact(3).enumerate() {
            let (y, cb, cr) = (
                f64::from(luma[index]),
                f64::from(blue[index]) - 128.0,
                f64::from(red[index]) - 128.0,
            );
            let expected = [
                y + 1.402 * cr,
                y - 0.344_14 * cb - 0.714_14 * cr,
                y + 1.772 * cb,
            ];
            for (found, expected) in pixel.iter().zip(expected) {
                assert!((f64::from(*found) - expected.clamp(0.0, 255.0)).abs() <= 0.51);
            }
        }
    }

    #[test]
    fn widening_keeps_what_is_even_and_mixes_three_to_one() {
        let mut samples = [0; 6];
        widen::<2, 1, 2>(&[40, 40, 80, 80, 80], &mut samples);
        assert_eq!(samples, [40, 50, 70, 80, 80, 80]);
        let mut samples = [0; 4];
        widen::<4, 8, 7>(&[4 * 9, 4 * 9, 4 * 9, 4 * 9], &mut samples);
        assert_eq!(samples, [9; 4]);
    }
}
