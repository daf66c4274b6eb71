//! Reading through the compressed data of a sequential JPEG without making pixels of it.
//!
//! Input: the headers of the frame and the scan, and the file. Output: whether the data of every block is there.

/// Size of the picture and the sampling of its components.
pub struct Frame {
    width: usize,
    height: usize,
    components: Vec<Component>,
}

struct Component {
    id: u8,
    horizontal: usize,
    vertical: usize,
}

impl Frame {
    /// Reads the content of a start-of-frame segment.
    pub fn parse(segment: &[u8]) -> Option<Self> {
        let (header, components) = segment.split_at_checked(6)?;
        let size = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
        let component = |c: &[u8]| Component {
            id: c[0],
            horizontal: usize::from(c[1] >> 4),
            vertical: usize::from(c[1] & 15),
        };
        let components: Vec<_> = components.chunks_exact(3).map(component).collect();
        let sampled = components
            .iter()
            .all(|c| (1..=4).contains(&c.horizontal) && (1..=4).contains(&c.vertical));
        let frame = Self {
            height: size(1),
            width: size(3),
            components,
        };
        (sampled
            && frame.width > 0
            && frame.height > 0
            && frame.components.len() == usize::from(header[5]))
        .then_some(frame)
    }

    /// Units that the scan's data is made of, each with the blocks of all components.
    fn units(&self) -> usize {
        let largest = |f: fn(&Component) -> usize| self.components.iter().map(f).max().unwrap_or(1);
        // A lone component is stored block by block, whatever its sampling says.
        let (horizontal, vertical) = match self.components.len() {
            1 => (1, 1),
            _ => (largest(|c| c.horizontal), largest(|c| c.vertical)),
        };
        self.width.div_ceil(8 * horizontal) * self.height.div_ceil(8 * vertical)
    }
}

/// A Huffman code: for each length, the codes of that length are consecutive numbers.
#[derive(Clone)]
pub struct HuffmanTable {
    counts: [u8; 16],
    values: Vec<u8>,
}

impl HuffmanTable {
    /// How many codes there are of each length from 1 to 16.
    pub fn counts(&self) -> &[u8; 16] {
        &self.counts
    }

    /// What they mean, shortest codes first.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// Reads one table of a segment, without its selector; returns the bytes it took.
    pub fn parse(segment: &[u8]) -> Option<(Self, usize)> {
        let (counts, rest) = segment.split_first_chunk::<16>()?;
        let values = rest.get(..counts.iter().map(|&n| usize::from(n)).sum())?;
        Some((
            Self {
                counts: *counts,
                values: values.to_vec(),
            },
            16 + values.len(),
        ))
    }

    fn decode(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let (mut code, mut first, mut index) = (0usize, 0usize, 0usize);
        for count in self.counts.map(usize::from) {
            code = code << 1 | bits.next()?;
            if code < first + count {
                return self.values.get(index + code.checked_sub(first)?).copied();
            }
            index += count;
            first = (first + count) << 1;
        }
        None
    }
}

/// One pass of compressed data.
pub struct Scan {
    /// Tables of each component: DC, AC.
    components: Vec<(u8, HuffmanTable, HuffmanTable)>,
    /// Units between restart markers; 0 for none.
    restart_interval: usize,
    /// Offset of the data in the file.
    data_start: usize,
}

type Tables = [Option<HuffmanTable>; 4];

impl Scan {
    /// Reads the content of a start-of-scan segment. A scan whose tables are unknown has no components.
    pub fn parse(
        segment: &[u8],
        (dc, ac): (&Tables, &Tables),
        restart_interval: usize,
        data_start: usize,
    ) -> Option<Self> {
        let (&count, rest) = segment.split_first()?;
        let component = |c: &[u8]| {
            let table = |tables: &Tables, i: u8| tables.get(usize::from(i))?.clone();
            Some((c[0], table(dc, c[1] >> 4)?, table(ac, c[1] & 15)?))
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
            let blocks = if frame.components.len() == 1 {
                1
            } else {
                component.horizontal * component.vertical
            };
            let (_, dc, ac) = self
                .components
                .iter()
                .find(|(id, ..)| *id == component.id)?;
            plan.extend(std::iter::repeat_n((dc, ac), blocks));
        }
        let mut bits = Bits {
            bytes: bytes.get(self.data_start..)?,
            byte: 0,
            left: 0,
        };
        for unit in 0..frame.units() {
            if self.restart_interval > 0 && unit > 0 && unit % self.restart_interval == 0 {
                bits.restart()?;
            }
            for (dc, ac) in &plan {
                read_block(dc, ac, &mut bits)?;
            }
        }
        Some(())
    }
}

/// Reads over one block of 64 coefficients.
fn read_block(dc: &HuffmanTable, ac: &HuffmanTable, bits: &mut Bits<'_>) -> Option<()> {
    let size = dc.decode(bits)?;
    bits.skip(size)?;
    let mut coefficient = 1;
    while coefficient < 64 {
        // A code holds a run of zeros and the size of the value behind it.
        match ac.decode(bits)? {
            0xF0 => coefficient += 16,
            code if code & 15 == 0 => break,
            code => {
                coefficient += usize::from(code >> 4) + 1;
                bits.skip(code & 15)?;
            }
        }
    }
    Some(())
}

/// The bits of compressed data, up to the next marker or the end of the file.
struct Bits<'a> {
    bytes: &'a [u8],
    byte: u8,
    left: u8,
}

impl Bits<'_> {
    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            self.byte = match self.bytes {
                // A data byte 0xFF is followed by a zero byte; anything else behind it makes a marker.
                [0xFF, 0x00, rest @ ..] => {
                    self.bytes = rest;
                    0xFF
                }
                [0xFF, ..] | [] => return None,
                [byte, rest @ ..] => {
                    self.bytes = rest;
                    *byte
                }
            };
            self.left = 8;
        }
        self.left -= 1;
        Some(usize::from(self.byte >> self.left & 1))
    }

    fn skip(&mut self, count: u8) -> Option<()> {
        for _ in 0..count {
            self.next()?;
        }
        Some(())
    }

    /// Steps over a restart marker.
    fn restart(&mut self) -> Option<()> {
        self.left = 0;
        let [0xFF, 0xD0..=0xD7, rest @ ..] = self.bytes else {
            return None;
        };
        self.bytes = rest;
        Some(())
    }
}
