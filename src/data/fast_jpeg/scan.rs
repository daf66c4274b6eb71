//! The headers of a sequential JPEG, and its compressed data unit by unit.
//!
//! Input: segments, and the data behind them. Output: [`Frame`], [`Tables`], [`Scan`]; [`Data`], which the decoder and the look for a
//! missing end go through alike.

use super::SIDE;
use super::bits::Bits;
use super::codes::{Coefficients, Differences};
use super::entropy::Block;

/// Components that a scan may have (T.81, B.2.3).
const MOST_COMPONENTS: usize = 4;

/// Markers of segments that both read.
pub(super) mod marker {
    /// Baseline and extended sequential, Huffman coded.
    pub const BASELINE: u8 = 0xC0;
    pub const EXTENDED: u8 = 0xC1;
    pub const DEFINE_HUFFMAN_TABLES: u8 = 0xC4;
    pub const END_OF_IMAGE: u8 = 0xD9;
    pub const START_OF_SCAN: u8 = 0xDA;
    pub const DEFINE_RESTART_INTERVAL: u8 = 0xDD;
}

/// Size of the picture and its components.
pub(super) struct Frame {
    /// Bits of a sample.
    pub precision: u8,
    pub width: usize,
    pub height: usize,
    pub components: Vec<Sampling>,
}

/// How a component is sampled.
pub(super) struct Sampling {
    pub id: u8,
    /// Blocks across and down in a unit.
    pub horizontal: usize,
    pub vertical: usize,
    /// Which table of factors.
    pub factors: usize,
}

impl Frame {
    /// Reads the content of a start-of-frame segment.
    pub fn parse(segment: &[u8]) -> Option<Self> {
        let (&[precision, h1, h0, w1, w0, count], components) = segment.split_first_chunk()?;
        let component = |c: &[u8]| Sampling {
            id: c[0],
            horizontal: usize::from(c[1] >> 4),
            vertical: usize::from(c[1] & 15),
            factors: usize::from(c[2]),
        };
        let mut components: Vec<_> = components.chunks_exact(3).map(component).collect();
        let sampled = components
            .iter()
            .all(|c| (1..=4).contains(&c.horizontal) && (1..=4).contains(&c.vertical));
        if let [lone] = components.as_mut_slice() {
            // It is stored block by block, whatever its sampling says.
            (lone.horizontal, lone.vertical) = (1, 1);
        }
        let frame = Self {
            precision,
            height: usize::from(u16::from_be_bytes([h1, h0])),
            width: usize::from(u16::from_be_bytes([w1, w0])),
            components,
        };
        (sampled
            && frame.width > 0
            && frame.height > 0
            && frame.components.len() == usize::from(count))
        .then_some(frame)
    }

    /// Blocks across and down in a unit, which holds all components of one part of the picture.
    pub fn unit(&self) -> (usize, usize) {
        let largest = |f: fn(&Sampling) -> usize| self.components.iter().map(f).max().unwrap_or(1);
        (largest(|c| c.horizontal), largest(|c| c.vertical))
    }

    /// Units across and down.
    pub fn units(&self) -> (usize, usize) {
        let (horizontal, vertical) = self.unit();
        (
            self.width.div_ceil(SIDE * horizontal),
            self.height.div_ceil(SIDE * vertical),
        )
    }
}

/// A Huffman code: for each length, the codes of that length are consecutive numbers.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct HuffmanTable {
    /// How many codes there are of each length from 1 to 16.
    pub counts: [u8; 16],
    /// What they mean, shortest codes first.
    pub values: Vec<u8>,
}

impl HuffmanTable {
    /// Reads one table of a segment, without its selector; returns the bytes it took.
    pub fn parse(segment: &[u8]) -> Option<(Self, usize)> {
        let (counts, rest) = segment.split_first_chunk::<16>()?;
        let values = rest.get(..counts.iter().map(|&n| usize::from(n)).sum())?;
        let table = Self {
            counts: *counts,
            values: values.to_vec(),
        };
        Some((table, 16 + values.len()))
    }
}

/// The tables defined so far.
#[derive(Default)]
pub(super) struct Tables {
    dc: [Option<HuffmanTable>; 4],
    ac: [Option<HuffmanTable>; 4],
}

impl Tables {
    /// Reads the content of a segment that defines some; `None` at the first that is damaged.
    pub fn read(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&selector, rest)) = segment.split_first() {
            let (table, length) = HuffmanTable::parse(rest)?;
            let tables = match selector >> 4 {
                0 => &mut self.dc,
                _ => &mut self.ac,
            };
            *tables.get_mut(usize::from(selector & 15))? = Some(table);
            segment = &rest[length..];
        }
        Some(())
    }
}

/// The content of a segment that defines how many units lie between restart markers; 0 for none.
pub(super) fn restart_interval(segment: &[u8]) -> Option<usize> {
    let interval = segment.first_chunk::<2>()?;
    Some(usize::from(u16::from_be_bytes(*interval)))
}

/// One pass of compressed data.
pub(super) struct Scan {
    /// Its components, and the codes of their first and their other coefficients.
    pub components: Vec<(u8, HuffmanTable, HuffmanTable)>,
    /// Units between restart markers; 0 for none.
    pub restart_interval: usize,
    /// Offset of the data in the file.
    pub data_start: usize,
}

impl Scan {
    /// Reads the content of a start-of-scan segment. A scan whose tables are unknown has no components.
    pub fn parse(
        segment: &[u8],
        tables: &Tables,
        restart_interval: usize,
        data_start: usize,
    ) -> Option<Self> {
        let (&count, rest) = segment.split_first()?;
        let component = |c: &[u8]| {
            let dc = tables.dc.get(usize::from(c[1] >> 4))?.clone()?;
            let ac = tables.ac.get(usize::from(c[1] & 15))?.clone()?;
            Some((c[0], dc, ac))
        };
        let pairs = rest.get(..2 * usize::from(count))?.chunks_exact(2);
        let components = pairs
            .map(component)
            .collect::<Option<Vec<_>>>()
            .unwrap_or_default();
        Some(Self {
            components,
            restart_interval,
            data_start,
        })
    }

    /// Whether the data of all blocks of all components of `frame` is in `bytes`.
    pub fn has_all_blocks(&self, frame: &Frame, bytes: &[u8]) -> bool {
        self.read_all(frame, bytes).is_some()
    }

    fn read_all(&self, frame: &Frame, bytes: &[u8]) -> Option<()> {
        if self.components.is_empty() || self.components.len() != frame.components.len() {
            return None;
        }
        let mut plan = Vec::new();
        for component in &frame.components {
            let blocks = component.horizontal * component.vertical;
            let mut own = self.components.iter();
            let (_, dc, ac) = own.find(|(id, ..)| *id == component.id)?;
            plan.push((blocks, Differences::new(dc)?, Coefficients::new(ac)?));
        }
        let mut data = Data::new(self, bytes)?;
        let (across, down) = frame.units();
        for _ in 0..across * down {
            data.begin_unit()?;
            for ((blocks, dc, ac), prediction) in plan.iter().zip(&mut data.predictions) {
                for _ in 0..*blocks {
                    Block::skip(dc, ac, &mut data.bits, prediction)?;
                }
            }
        }
        data.bits.is_sound().then_some(())
    }
}

/// The compressed data of a scan.
pub(super) struct Data<'a> {
    pub bits: Bits<'a>,
    /// The first coefficient of the block before, of each component.
    pub predictions: [i32; MOST_COMPONENTS],
    interval: usize,
    until_restart: usize,
}

impl<'a> Data<'a> {
    /// From the beginning; `None` where there is none, or for more components than a scan may have.
    pub fn new(scan: &Scan, bytes: &'a [u8]) -> Option<Self> {
        if scan.components.len() > MOST_COMPONENTS {
            return None;
        }
        Some(Data {
            bits: Bits::new(bytes.get(scan.data_start..)?),
            predictions: [0; MOST_COMPONENTS],
            interval: scan.restart_interval,
            until_restart: scan.restart_interval,
        })
    }

    /// Steps over the restart marker that may stand before a unit; `None` where it is missing.
    #[inline(always)]
    pub fn begin_unit(&mut self) -> Option<()> {
        if self.interval > 0 {
            if self.until_restart == 0 {
                self.bits.restart()?;
                self.predictions = [0; MOST_COMPONENTS];
                self.until_restart = self.interval;
            }
            self.until_restart -= 1;
        }
        Some(())
    }
}
