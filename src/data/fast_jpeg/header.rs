//! What stands before the compressed data.
//!
//! Input: a file. Output: [`Header`], or `None` for whatever the rest of this module is not made for.

use std::rc::Rc;

use image::metadata::Orientation;

use super::codes::{Coefficients, Differences};
use super::end::{next_marker, segment};
use super::scan::{Frame, Sampling, Scan, Tables, marker, restart_interval};
use super::transform::Factors;

/// Markers that matter here alone.
const DEFINE_QUANTISATION_TABLES: u8 = 0xDB;
const APPLICATION_0: u8 = 0xE0;
const APPLICATION_1: u8 = 0xE1;
const APPLICATION_14: u8 = 0xEE;
const COMMENT: u8 = 0xFE;

/// The sizes and tables of a picture.
pub(super) struct Header {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks of the first component in a unit; the others have one.
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    /// Units across and down.
    pub(super) units: (usize, usize),
    pub(super) components: Vec<Component>,
    pub(super) scan: Scan,
    /// Whether the file ends as one does that was written to its end.
    pub(super) has_end: bool,
}

pub(super) struct Component {
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    pub(super) factors: Factors,
    pub(super) dc: Rc<Differences>,
    pub(super) ac: Rc<Coefficients>,
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    factors: [Option<Factors>; 4],
    tables: Tables,
    restart_interval: usize,
    frame: Option<Frame>,
    is_jfif: bool,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::default();
        let mut at = bytes.starts_with(&[0xFF, 0xD8]).then_some(2)?;
        loop {
            let (found, after) = next_marker(bytes, at)?;
            let segment = segment(bytes, after)?;
            at = after + 2 + segment.len();
            if found == marker::START_OF_SCAN {
                let scan = Scan::parse(segment, &reader.tables, reader.restart_interval, at)?;
                // All coefficients in this scan.
                let is_all = segment.ends_with(&[0, 63, 0]);
                let has_end = bytes.ends_with(&[0xFF, marker::END_OF_IMAGE]);
                return is_all.then(|| reader.header(scan, has_end)).flatten();
            }
            reader.read(found, segment)?;
        }
    }
}

impl Reader {
    /// Takes note of a segment; `None` where it makes the file one for another decoder.
    fn read(&mut self, found: u8, segment: &[u8]) -> Option<()> {
        match found {
            marker::BASELINE | marker::EXTENDED => self.frame = Some(Frame::parse(segment)?),
            marker::DEFINE_HUFFMAN_TABLES => self.tables.read(segment)?,
            DEFINE_QUANTISATION_TABLES => self.read_factors(segment)?,
            marker::DEFINE_RESTART_INTERVAL => self.restart_interval = restart_interval(segment)?,
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

    fn read_factors(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&selector, rest)) = segment.split_first() {
            // Bytes, of tables 0 to 3.
            let (factors, rest) = rest.split_first_chunk::<64>()?;
            *self.factors.get_mut(usize::from(selector))? = Some(Factors::new(factors));
            segment = rest;
        }
        Some(())
    }

    /// The header, with the scan that begins.
    fn header(self, scan: Scan, has_end: bool) -> Option<Header> {
        let frame = self.frame?;
        if frame.precision != 8 || scan.components.len() != frame.components.len() {
            return None;
        }
        let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
        let is_colour = match ids.as_slice() {
            [_] => false,
            // Without a word about colours these mean YCbCr.
            [1, 2, 3] => true,
            [_, _, _] if self.is_jfif => true,
            _ => return None,
        };
        let (horizontal, vertical) = frame.unit();
        let is_whole = |c: &Sampling| (c.horizontal, c.vertical) == (1, 1);
        // What upsampling is there for: chroma of one block a unit, and rows that are long enough for its filter.
        if ![(1, 1), (2, 1), (2, 2)].contains(&(horizontal, vertical))
            || !frame.components[1..].iter().all(is_whole)
            || (is_colour && horizontal == 2 && frame.width.div_ceil(2) <= 2)
        {
            return None;
        }
        let mut components = Vec::<Component>::new();
        for (index, (component, (id, dc, ac))) in
            frame.components.iter().zip(&scan.components).enumerate()
        {
            if component.id != *id {
                return None;
            }
            // Both chroma components have the same codes as a rule. Once in the cache they are faster than twice.
            let before = scan.components[..index].iter().zip(&components);
            let mut same = before.filter(|((_, own_dc, own_ac), _)| (own_dc, own_ac) == (dc, ac));
            let (dc, ac) = match same.next() {
                Some((_, same)) => (Rc::clone(&same.dc), Rc::clone(&same.ac)),
                None => (
                    Rc::new(Differences::new(dc)?),
                    Rc::new(Coefficients::new(ac)?),
                ),
            };
            components.push(Component {
                horizontal: component.horizontal,
                vertical: component.vertical,
                factors: self.factors.get(component.factors)?.clone()?,
                dc,
                ac,
            });
        }
        Some(Header {
            width: frame.width,
            height: frame.height,
            horizontal,
            vertical,
            units: frame.units(),
            components,
            scan,
            has_end,
        })
    }
}
