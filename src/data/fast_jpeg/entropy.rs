//! Huffman codes to coefficients.
//!
//! Input: the compressed data of a scan. Output: [`Block`]s of 64 coefficients, before they are multiplied with the factors of their
//! quantisation (ITU-T T.81, F.2.2).

use super::scan::HuffmanTable;

/// Bits of the data with which a table is entered. Longer codes are rare.
const LOOKUP: u32 = 10;
/// The longest code.
const LONGEST: u32 = 16;
/// Larger values do not occur in pictures of 8 bits: 11 bits for a difference, 10 for a coefficient.
const LARGEST: u8 = 11;

/// The places of the coefficients in a block, in the order of the data. Beyond the last one all are its own: [`END`] leads there, when it
/// has not been read.
pub(super) const PLACES: [u8; 256] = {
    let mut places = [63u8; 256];
    let (mut x, mut y, mut index) = (0i32, 0i32, 0);
    while index < 64 {
        places[index] = (y * 8 + x) as u8;
        // Diagonals, up to the right and down to the left in turns.
        let up = (x + y) % 2 == 0;
        if (up && x == 7) || (!up && x == 0 && y < 7) {
            y += 1;
        } else if (up && y == 0) || (!up && y == 7) {
            x += 1;
        } else {
            x += if up { 1 } else { -1 };
            y += if up { -1 } else { 1 };
        }
        index += 1;
    }
    places
};

/// What a code means, in one word: it is loaded once a coefficient.
///
/// Bits 0 to 7: how many bits code and value take together; 0 where the code is longer than [`LOOKUP`] bits or there is none. Bits 8 to 15:
/// how many the value takes. Bits 16 to 23: coefficients from the one before to this one.
#[derive(Clone, Copy, Default)]
struct Entry(u32);

impl Entry {
    fn new(length: u32, (step, size): (u8, u32)) -> Self {
        Entry((u32::from(step) << 16) | (size << 8) | (length + size))
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        self.0 & 0xFF
    }

    #[inline(always)]
    fn size(self) -> u32 {
        (self.0 >> 8) & 0xFF
    }

    #[inline(always)]
    fn step(self) -> u32 {
        self.0 >> 16
    }
}

/// The step of the symbol that says that no more coefficients follow: farther than any other leads.
const END: u8 = 128;

/// A Huffman code, by the next [`LOOKUP`] bits of the data.
pub(super) struct Codes {
    entries: Box<[Entry; 1 << LOOKUP]>,
    is_dc: bool,
    /// For each length: the first code that is too large for it, its bits at the head of 16.
    limits: [u32; LONGEST as usize + 1],
    /// For each length: what to add to a code to find its place among the values.
    offsets: [i32; LONGEST as usize + 1],
    values: Vec<u8>,
}

impl Codes {
    /// Codes of differences (`dc`) or of runs and coefficients; `None` where they are none that a picture of 8 bits can have.
    pub(super) fn new(table: &HuffmanTable, is_dc: bool) -> Option<Self> {
        let mut codes = Codes {
            entries: Box::new([Entry::default(); 1 << LOOKUP]),
            is_dc,
            limits: [0; LONGEST as usize + 1],
            offsets: [0; LONGEST as usize + 1],
            values: table.values.clone(),
        };
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=LONGEST {
            let count = usize::from(table.counts[length as usize - 1]);
            codes.offsets[length as usize] = index as i32 - code as i32;
            for symbol in table.values.get(index..index + count)? {
                if code >> length != 0 || symbol & 15 > LARGEST || (is_dc && *symbol > LARGEST) {
                    return None;
                }
                codes.enter(code, length, *symbol);
                code += 1;
            }
            index += count;
            codes.limits[length as usize] = code << (LONGEST - length);
            code <<= 1;
        }
        Some(codes)
    }

    /// Fills the entries that begin with `code`.
    fn enter(&mut self, code: u32, length: u32, symbol: u8) {
        if let Some(rest) = LOOKUP.checked_sub(length) {
            let entry = Entry::new(length, self.meaning(symbol));
            let first = (code << rest) as usize;
            self.entries[first..first + (1 << rest)].fill(entry);
        }
    }

    /// The step to the coefficient of a symbol and the bits of its value.
    #[inline(always)]
    fn meaning(&self, symbol: u8) -> (u8, u32) {
        let (run, size) = (symbol >> 4, u32::from(symbol & 15));
        match (self.is_dc, run, size) {
            (true, ..) => (1, size),
            (false, 0..15, 0) => (END, 0),
            (false, ..) => (run + 1, size),
        }
    }

    /// The step and the value at the head of the data.
    #[inline(always)]
    fn next(&self, bits: &mut Bits) -> Option<(u32, i16)> {
        let mut entry = self.entries[(bits.head >> (64 - LOOKUP)) as usize];
        if entry.bits() == 0 {
            let (symbol, length) = self.long(bits.head)?;
            entry = Entry::new(length, self.meaning(symbol));
        }
        let value = value_at(bits.head << (entry.bits() - entry.size()), entry.size());
        bits.drop(entry.bits());
        Some((entry.step(), value))
    }

    /// The symbol at the head of the data, and the length of its code.
    #[cold]
    #[inline(never)]
    fn long(&self, head: u64) -> Option<(u8, u32)> {
        let head = (head >> (64 - LONGEST)) as u32;
        let length = (1..=LONGEST).find(|length| head < self.limits[*length as usize])?;
        let code = (head >> (LONGEST - length)) as i32;
        let index = usize::try_from(code + self.offsets[length as usize]).ok()?;
        Some((*self.values.get(index)?, length))
    }
}

/// The value that the first `size` bits of `head` stand for (T.81, table F.1): those that begin with 0 are negative.
#[inline(always)]
fn value_at(head: u64, size: u32) -> i16 {
    // In two steps, since none may be taken.
    let bits = (head >> 1 >> (63 - size)) as i32;
    let is_positive = (head as i64 >> 63) as i32;
    (bits + (((-1 << size) + 1) & !is_positive)) as i16
}

/// The coefficients of 8 x 8 pixels, by rows.
pub(super) struct Block {
    pub(super) values: [i16; 64],
    /// Which one of the file's order is the last that is not 0.
    pub(super) last: u8,
}

impl Default for Block {
    fn default() -> Self {
        Block {
            values: [0; 64],
            last: 0,
        }
    }
}

impl Block {
    /// Reads the next block. `prediction` is the first coefficient of the one before, in this component.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        dc: &Codes,
        ac: &Codes,
        bits: &mut Bits,
        prediction: &mut i32,
    ) -> Option<()> {
        if self.last > 0 {
            self.values = [0; 64];
        }
        let place = |index: u32| usize::from(PLACES[usize::from(index as u8)]) & 63;
        let keep = |index: u32, value: i16| {
            self.values[place(index)] = value;
        };
        self.last = walk(dc, ac, bits, prediction, keep)?;
        self.values[0] = *prediction as i16;
        Some(())
    }

    /// Reads over the next block, of which only the prediction of those after it matters.
    #[inline(always)]
    pub(super) fn skip(
        dc: &Codes,
        ac: &Codes,
        bits: &mut Bits,
        prediction: &mut i32,
    ) -> Option<()> {
        walk(dc, ac, bits, prediction, |_, _| {}).map(|_| ())
    }
}

/// Goes through the coefficients of a block but for the first, which becomes `prediction`. Output: which one of them is the last.
#[inline(always)]
fn walk(
    dc: &Codes,
    ac: &Codes,
    bits: &mut Bits,
    prediction: &mut i32,
    mut keep: impl FnMut(u32, i16),
) -> Option<u8> {
    // A copy of its own, which stays in registers.
    let mut own = *bits;
    own.fill();
    let (_, difference) = dc.next(&mut own)?;
    *prediction = prediction.wrapping_add(i32::from(difference));
    // The coefficient behind the last one.
    let mut index = 1;
    let before = 'block: loop {
        own.fill();
        // Twice at most 27 bits.
        for _ in 0..2 {
            let (step, value) = ac.next(&mut own)?;
            let before = index;
            index += step;
            keep(index - 1, value);
            if index >= 64 {
                break 'block before;
            }
        }
    };
    *bits = own;
    match index {
        64 => Some(63),
        _ if index >= u32::from(END) => Some(before as u8 - 1),
        _ => None,
    }
}

/// The compressed data, a bit after the other.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, the first one highest; 0 behind those that there are.
    head: u64,
    /// How many there are, at least 56 after [`fill`](Self::fill).
    count: u32,
    /// How many of them, the last ones, are not from the file.
    invented: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Bits {
            bytes,
            at: 0,
            head: 0,
            count: 0,
            invented: 0,
        }
    }

    /// Makes sure that there are 56 bits. Behind the end of the data they are zeros.
    #[inline(always)]
    pub(super) fn fill(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHS: u64 = 0x8080_8080_8080_8080;
        if self.count >= 56 {
            return;
        }
        if let Some(next) = self.bytes.get(self.at..self.at + 8)
            && let Ok(next) = next.try_into()
        {
            let next = u64::from_be_bytes(next);
            // A byte of ones may begin a marker.
            if (!next).wrapping_sub(ONES) & next & HIGHS == 0 {
                self.head |= next >> self.count;
                let taken = (63 - self.count) / 8;
                self.at += taken as usize;
                self.count += taken * 8;
                // Bits of a byte that was not taken stand where they will stand when it is.
                return;
            }
        }
        *self = self.filled_with_care();
    }

    #[cold]
    #[inline(never)]
    fn filled_with_care(mut self) -> Self {
        while self.count < 56 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xFF, 0, ..]) => {
                    self.at += 2;
                    0xFF
                }
                Some([byte, ..]) if *byte != 0xFF => {
                    self.at += 1;
                    *byte
                }
                _ => {
                    self.invented += 8;
                    0
                }
            };
            self.head |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
        self
    }

    #[inline(always)]
    fn drop(&mut self, bits: u32) {
        self.head <<= bits;
        self.count = self.count.wrapping_sub(bits);
    }

    /// Whether all that was read was in the file.
    pub(super) fn is_sound(&self) -> bool {
        self.count >= self.invented
    }

    /// Steps over a restart marker, which must come next.
    pub(super) fn restart(&mut self) -> Option<()> {
        // At most seven bits fill up the last byte, and none of the next part's was read: a marker ends filling.
        if !self.is_sound() || self.count - self.invented >= 8 {
            return None;
        }
        match self.bytes.get(self.at..)? {
            [0xFF, 0xD0..=0xD7, rest @ ..] => *self = Bits::new(rest),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_along_diagonals() {
        assert_eq!(PLACES[..10], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24]);
        assert_eq!(PLACES[60..64], [47, 55, 62, 63]);
        let mut all = PLACES[..64].to_vec();
        all.sort_unstable();
        assert!(
            all.iter()
                .enumerate()
                .all(|(index, place)| index == usize::from(*place))
        );
    }

    #[test]
    fn values_of_either_sign() {
        let all: Vec<i16> = (0..8).map(|bits| value_at(bits << 61, 3)).collect();
        assert_eq!(all, [-7, -6, -5, -4, 4, 5, 6, 7]);
        let one = [value_at(0, 1), value_at(!0, 1)];
        assert_eq!((one, value_at(0, 0), value_at(!0, 0)), ([-1, 1], 0, 0));
        assert_eq!([value_at(0, 11), value_at(!0, 11)], [-2047, 2047]);
    }

    fn take(bits: &mut Bits, count: u32) -> i32 {
        let taken = (bits.head >> (64 - count)) as i32;
        bits.drop(count);
        taken
    }

    #[test]
    fn bits_come_in_order_over_stuffed_bytes_and_stop_at_markers() {
        let data: Vec<u8> = (0..40u8)
            .flat_map(|n| [n * 3, 0xFF, 0])
            .chain([0xFF, 0xD9])
            .collect();
        let plain: Vec<u8> = (0..40u8).flat_map(|n| [n * 3, 0xFF]).collect();
        let mut bits = Bits::new(&data);
        let mut read = 0;
        for count in (1..12).cycle().take(100) {
            bits.fill();
            let expected = (read..read + count).fold(0, |all, bit| {
                (all << 1) | i32::from((plain[bit as usize / 8] >> (7 - bit % 8)) & 1)
            });
            assert_eq!(take(&mut bits, count), expected, "{read}");
            assert!(bits.is_sound());
            read += count;
        }
        // 640 bits there are.
        for _ in 0..6 {
            bits.fill();
            take(&mut bits, 16);
        }
        assert!(!bits.is_sound());
        assert!(bits.restart().is_none());
    }

    #[test]
    fn long_codes_and_codes_that_are_none() {
        // One code of each length up to 16.
        let mut segment = [1u8; 16].to_vec();
        segment.extend((1..=16).map(|n| n % 11));
        let (table, _) = HuffmanTable::parse(&segment).unwrap();
        let codes = Codes::new(&table, true).unwrap();
        for length in [1, 9, 12, 16] {
            // The code of this length is all ones but for the last bit.
            let head = u64::MAX.checked_shl(65 - length).unwrap_or(0);
            assert_eq!(codes.long(head), Some(((length % 11) as u8, length)));
        }
        assert_eq!(codes.long(!0), None);
        // 17 bits of value cannot be.
        segment[16] = 17;
        let (table, _) = HuffmanTable::parse(&segment).unwrap();
        assert!(Codes::new(&table, true).is_none());
    }
}
