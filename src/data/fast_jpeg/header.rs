//! What stands before the compressed data.
//!
//! Input: a file. Output: [`Header`], or `None` for whatever the rest of this module is not made for.

use super::super::jpeg_end::{next_marker, segment};
use super::super::jpeg_scan::HuffmanTable;
use super::entropy::Codes;
use super::{SIDE, transform::Factors};
use image::metadata::Orientation;

/// Markers.
const SEQUENTIAL: [u8; 2] = [0xC0, 0xC1];
const DEFINE_HUFFMAN_TABLES: u8 = 0xC4;
const START_OF_SCAN: u8 = 0xDA;
const DEFINE_QUANTISATION_TABLES: u8 = 0xDB;
const DEFINE_RESTART_INTERVAL: u8 = 0xDD;
const APPLICATION_0: u8 = 0xE0;
const APPLICATION_1: u8 = 0xE1;
const APPLICATION_14: u8 = 0xEE;
const COMMENT: u8 = 0xFE;

/// The sizes and tables of a picture.
pub(super) struct Header {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks of the first component in a unit; the others have one. With one component a unit is a block.
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    pub(super) components: Vec<Component>,
    pub(super) scan: Scan,
    /// Whether the file ends as one does that was written to its end.
    pub(super) has_end: bool,
}

pub(super) struct Component {
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    pub(super) factors: Factors,
    pub(super) dc: Codes,
    pub(super) ac: Codes,
}

pub(super) struct Scan {
    /// Units from one restart marker to the next; 0 where there are none.
    pub(super) restart_interval: usize,
    /// Where the data begins in the file.
    pub(super) data_start: usize,
}

/// The tables read so far.
#[derive(Default)]
struct Tables {
    factors: [Option<Factors>; 4],
    dc: [Option<HuffmanTable>; 4],
    ac: [Option<HuffmanTable>; 4],
    restart_interval: usize,
    frame: Option<Frame>,
    is_jfif: bool,
}

/// Start of frame.
struct Frame {
    width: usize,
    height: usize,
    /// Name, blocks across and down in a unit, quantisation table.
    components: Vec<(u8, usize, usize, usize)>,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut tables = Tables::default();
        let mut at = bytes.starts_with(&[0xFF, 0xD8]).then_some(2)?;
        loop {
            let (marker, after) = next_marker(bytes, at)?;
            let segment = segment(bytes, after)?;
            at = after + 2 + segment.len();
            if marker == START_OF_SCAN {
                let scan = Scan {
                    restart_interval: tables.restart_interval,
                    data_start: at,
                };
                return tables.header(segment, scan, bytes.ends_with(&[0xFF, 0xD9]));
            }
            tables.read(marker, segment)?;
        }
    }

    /// How many units there are across and down.
    pub(super) fn units(&self) -> (usize, usize) {
        (
            self.width.div_ceil(SIDE * self.horizontal),
            self.height.div_ceil(SIDE * self.vertical),
        )
    }
}

impl Tables {
    /// Takes note of a segment; `None` where it makes the file one for another decoder.
    fn read(&mut self, marker: u8, segment: &[u8]) -> Option<()> {
        match marker {
            marker if SEQUENTIAL.contains(&marker) => self.frame = Some(Frame::parse(segment)?),
            DEFINE_HUFFMAN_TABLES => self.read_huffman(segment)?,
            DEFINE_QUANTISATION_TABLES => self.read_factors(segment)?,
            DEFINE_RESTART_INTERVAL => {
                let interval = segment.first_chunk::<2>()?;
                self.restart_interval = usize::from(u16::from_be_bytes(*interval));
            }
            APPLICATION_0 => self.is_jfif |= segment.starts_with(b"JFIF\0"),
            APPLICATION_1 if segment.starts_with(b"Exif\0\0") => {
                let orientation = Orientation::from_exif_chunk(&segment[6..]);
                let is_upright = matches!(orientation, None | Some(Orientation::NoTransforms));
                is_upright.then_some(())?;
            }
            // Adobe's programs say here that colours are something else than YCbCr.
            APPLICATION_14 if segment.starts_with(b"Adobe") && segment.get(11) != Some(&1) => {
                return None;
            }
            APPLICATION_0..=0xEF | COMMENT => {}
            // Progressive, lossless, arithmetic: other formats under the same name.
            _ => return None,
        }
        Some(())
    }

    fn read_huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&selector, rest)) = segment.split_first() {
            let (table, length) = HuffmanTable::parse(rest)?;
            let tables = match selector >> 4 {
                0 => &mut self.dc,
                _ => &mut self.ac,
            };
            *tables.get_mut(usize::from(selector & 15))? = Some(table);
            segment = rest.get(length..)?;
        }
        Some(())
    }

    fn read_factors(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&selector, rest)) = segment.split_first() {
            // Bytes, of tables 0 to 3.
            let (factors, rest) = rest.split_first_chunk::<64>()?;
            *self.factors.get_mut(usize::from(selector))? = Some(Factors::new(factors));
            segment = rest;
        }
        Some(())
    }

    /// The header, from the start of the scan.
    fn header(self, segment: &[u8], scan: Scan, has_end: bool) -> Option<Header> {
        let frame = self.frame?;
        let (&count, rest) = segment.split_first()?;
        let (chosen, rest) = rest.split_at_checked(2 * usize::from(count))?;
        // All components and all coefficients in this scan.
        if usize::from(count) != frame.components.len() || !rest.starts_with(&[0, 63, 0]) {
            return None;
        }
        let names: Vec<u8> = frame.components.iter().map(|(name, ..)| *name).collect();
        let is_colour = match names.as_slice() {
            [_] => false,
            // Without a word about colours these names mean YCbCr.
            [1, 2, 3] => true,
            [_, _, _] if self.is_jfif => true,
            _ => return None,
        };
        let (horizontal, vertical) = match frame.components.as_slice() {
            // A lone component is stored block by block, whatever its sampling says.
            [_] => (1, 1),
            [(_, h, v, _), (_, 1, 1, _), (_, 1, 1, _)] => (*h, *v),
            _ => return None,
        };
        // What upsampling is there for.
        if ![(1, 1), (2, 1), (2, 2)].contains(&(horizontal, vertical)) {
            return None;
        }
        if is_colour && horizontal == 2 && frame.width.div_ceil(2) <= 2 {
            return None;
        }
        let mut components = Vec::new();
        for (index, ((name, _, _, table), choice)) in frame
            .components
            .iter()
            .zip(chosen.chunks_exact(2))
            .enumerate()
        {
            if choice[0] != *name {
                return None;
            }
            let table_of = |tables: &[Option<HuffmanTable>; 4], selector: u8, is_dc: bool| {
                let table = tables.get(usize::from(selector))?.as_ref()?;
                Codes::new(table, is_dc)
            };
            let is_first = index == 0;
            components.push(Component {
                horizontal: if is_first { horizontal } else { 1 },
                vertical: if is_first { vertical } else { 1 },
                factors: self.factors.get(*table)?.clone()?,
                dc: table_of(&self.dc, choice[1] >> 4, true)?,
                ac: table_of(&self.ac, choice[1] & 15, false)?,
            });
        }
        Some(Header {
            width: frame.width,
            height: frame.height,
            horizontal,
            vertical,
            components,
            scan,
            has_end,
        })
    }
}

impl Frame {
    fn parse(segment: &[u8]) -> Option<Self> {
        let ([8, h1, h0, w1, w0, count], components) = segment.split_first_chunk::<6>()? else {
            return None;
        };
        let component = |c: &[u8]| {
            let sampling = (usize::from(c[1] >> 4), usize::from(c[1] & 15));
            (c[0], sampling.0, sampling.1, usize::from(c[2]))
        };
        let frame = Frame {
            width: usize::from(u16::from_be_bytes([*w1, *w0])),
            height: usize::from(u16::from_be_bytes([*h1, *h0])),
            components: components.chunks_exact(3).map(component).collect(),
        };
        let is_whole = frame.components.len() == usize::from(*count);
        (is_whole && frame.width > 0 && frame.height > 0).then_some(frame)
    }
}
