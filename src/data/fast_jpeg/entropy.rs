//! Huffman codes to coefficients.
//!
//! Input: the compressed data of a scan. Output: [`Block`]s of 64 coefficients, before they are multiplied with the factors of their
//! quantisation (ITU-T T.81, F.2.2).

use super::bits::Bits;
use super::scan::HuffmanTable;

/// Bits of the data with which a table is entered. Longer codes are rare, and larger tables do not stay in the fastest cache.
const DIFFERENCE_LOOKUP: u32 = 9;
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

/// What a code means, in one word: it is loaded once a coefficient. Shifts look at six bits of what they take, so it needs no masks.
///
/// Bits 0 to 7: how many bits code and value take together; 0 where the code is too long for the table or there is none. Bits 8 to 15: how
/// many the code takes. Bits 16 to 23: 63 less how many the value takes. Bits 24 to 31: coefficients from the one before to this one.
#[derive(Clone, Copy, Default)]
struct Entry(u32);

impl Entry {
    fn new(length: u32, (step, size): (u8, u32)) -> Self {
        Entry((u32::from(step) << 24) | ((63 - size) << 16) | (length << 8) | (length + size))
    }

    #[inline(always)]
    fn is_known(self) -> bool {
        self.0 & 0xFF != 0
    }

    fn bits(self) -> u32 {
        self.0 & 0xFF
    }

    /// The value that follows the code at the head of `bits` (T.81, table F.1): those that begin with 0 are negative.
    #[inline(always)]
    fn value(self, bits: u64) -> i16 {
        value(bits, self.0 >> 8, self.0 >> 16)
    }
}

/// The value in `bits` behind `skipped` ones, which takes 63 less `shift`.
#[inline(always)]
fn value(bits: u64, skipped: u32, shift: u32) -> i16 {
    let bits = bits.wrapping_shl(skipped) as i64;
    // In front of them stands the opposite of the first bit: it is the sign.
    let signed = (bits >> 1) ^ i64::MIN;
    // Two's complement is one less than what is meant by a negative value.
    let is_negative = signed as u64 >> 63;
    signed.wrapping_shr(shift).wrapping_add(is_negative as i64) as i16
}

/// Two codes that follow each other, where the second lies within the bits of the table: the search for one waits for that of the one
/// before, so fewer searches are what makes it fast.
///
/// Bits 0 to 31: the [`Entry`] of the first one, with the bits of both together. Bits 32 to 39: where the second one's value begins. Bits 40
/// to 47: 63 less how many bits that takes. Bits 48 to 55: coefficients from the first one to the second; 0 where there is none.
#[derive(Clone, Copy, Default)]
struct Pair(u64);

impl Pair {
    fn of(first: Entry) -> Self {
        Pair(u64::from(first.0) | (63 << 40))
    }

    fn with(self, second: Entry) -> Self {
        let first = Entry(self.0 as u32);
        let begin = first.bits() + ((second.0 >> 8) & 0xFF);
        let rest = (u64::from(second.0 >> 16) << 40) | (u64::from(begin) << 32);
        Pair(rest | u64::from(first.0 + second.bits()))
    }

    fn first(self) -> Entry {
        Entry(self.0 as u32)
    }

    #[inline(always)]
    fn steps(self) -> (u32, u32) {
        (self.0 as u32 >> 24, (self.0 >> 48) as u32)
    }

    #[inline(always)]
    fn values(self, bits: u64) -> (i16, i16) {
        let first = Entry(self.0 as u32).value(bits);
        (
            first,
            value(bits, (self.0 >> 32) as u32, (self.0 >> 40) as u32),
        )
    }

    /// The bits of the first code and its value.
    fn first_bits(self) -> u32 {
        ((self.0 >> 8) & 0xFF) as u32 + 63 - ((self.0 >> 16) & 0xFF) as u32
    }
}

/// The step of the symbol that says that no more coefficients follow: farther than any other leads.
const END: u8 = 128;

/// What the codes of any length are.
struct Code {
    /// For each length: the first code that is too large for it, its bits at the head of 16.
    limits: [u32; LONGEST as usize + 1],
    /// For each length: what to add to a code to find its place among the values.
    offsets: [i32; LONGEST as usize + 1],
    values: Vec<u8>,
}

impl Code {
    /// `enter` is called with each code, its length and its symbol. `None` where they are none that a picture of 8 bits can have.
    fn new(
        table: &HuffmanTable,
        mut enter: impl FnMut(u32, u32, u8) -> Option<()>,
    ) -> Option<Self> {
        let mut codes = Code {
            limits: [0; LONGEST as usize + 1],
            offsets: [0; LONGEST as usize + 1],
            values: table.values.clone(),
        };
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=LONGEST {
            let count = usize::from(table.counts[length as usize - 1]);
            codes.offsets[length as usize] = index as i32 - code as i32;
            for symbol in table.values.get(index..index + count)? {
                if code >> length != 0 || symbol & 15 > LARGEST {
                    return None;
                }
                enter(code, length, *symbol)?;
                code += 1;
            }
            index += count;
            codes.limits[length as usize] = code << (LONGEST - length);
            code <<= 1;
        }
        Some(codes)
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

/// Fills the entries that begin with `code`, where those are so long.
fn enter(entries: &mut [Entry], lookup: u32, code: u32, length: u32, meaning: (u8, u32)) {
    if let Some(rest) = lookup.checked_sub(length) {
        let first = (code << rest) as usize;
        entries[first..first + (1 << rest)].fill(Entry::new(length, meaning));
    }
}

/// The Huffman code of differences between the first coefficients of blocks.
pub(super) struct Differences {
    entries: Box<[Entry; 1 << DIFFERENCE_LOOKUP]>,
    code: Code,
}

impl Differences {
    /// `None` where they are none that a picture of 8 bits can have.
    pub(super) fn new(table: &HuffmanTable) -> Option<Self> {
        let mut entries = Box::new([Entry::default(); 1 << DIFFERENCE_LOOKUP]);
        let code = Code::new(table, |code, length, symbol| {
            let meaning = Self::meaning(symbol);
            enter(&mut *entries, DIFFERENCE_LOOKUP, code, length, meaning);
            (symbol <= LARGEST).then_some(())
        })?;
        Some(Differences { entries, code })
    }

    fn meaning(symbol: u8) -> (u8, u32) {
        (1, u32::from(symbol & 15))
    }

    #[inline(always)]
    fn entry(&self, bits: u64) -> Option<Entry> {
        let entry = self.entries[(bits >> (64 - DIFFERENCE_LOOKUP)) as usize];
        if entry.is_known() {
            return Some(entry);
        }
        let (symbol, length) = self.code.long(bits)?;
        Some(Entry::new(length, Self::meaning(symbol)))
    }
}

/// The Huffman code of runs of zeros and the coefficients behind them.
pub(super) struct Coefficients {
    pairs: Box<[Pair; 1 << LOOKUP]>,
    code: Code,
}

impl Coefficients {
    /// `None` where they are none that a picture of 8 bits can have.
    pub(super) fn new(table: &HuffmanTable) -> Option<Self> {
        let mut entries = [Entry::default(); 1 << LOOKUP];
        let code = Code::new(table, |code, length, symbol| {
            enter(&mut entries, LOOKUP, code, length, Self::meaning(symbol));
            Some(())
        })?;
        let mut pairs = Box::new([Pair::default(); 1 << LOOKUP]);
        for (index, (pair, first)) in pairs.iter_mut().zip(&entries).enumerate() {
            if !first.is_known() {
                continue;
            }
            *pair = Pair::of(*first);
            let is_end = first.0 >> 24 == u32::from(END);
            if let Some(rest) = LOOKUP.checked_sub(first.bits())
                && !is_end
            {
                let second = entries[(index << first.bits()) & (entries.len() - 1)];
                if second.is_known() && (second.0 >> 8) & 0xFF <= rest {
                    *pair = pair.with(second);
                }
            }
        }
        Some(Coefficients { pairs, code })
    }

    /// The step to the coefficient of a symbol and the bits of its value.
    fn meaning(symbol: u8) -> (u8, u32) {
        match (symbol >> 4, u32::from(symbol & 15)) {
            (0..15, 0) => (END, 0),
            (run, size) => (run + 1, size),
        }
    }

    #[inline(always)]
    fn pair(&self, pairs: &[Pair; 1 << LOOKUP], bits: u64) -> Option<Pair> {
        let pair = pairs[(bits >> (64 - LOOKUP)) as usize];
        if pair.first().is_known() {
            return Some(pair);
        }
        let (symbol, length) = self.code.long(bits)?;
        Some(Pair::of(Entry::new(length, Self::meaning(symbol))))
    }
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
        dc: &Differences,
        ac: &Coefficients,
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
        dc: &Differences,
        ac: &Coefficients,
        bits: &mut Bits,
        prediction: &mut i32,
    ) -> Option<()> {
        walk(dc, ac, bits, prediction, |_, _| {}).map(|_| ())
    }
}

/// Goes through the coefficients of a block but for the first, which becomes `prediction`. Output: which one of them is the last.
#[inline(always)]
fn walk(
    dc: &Differences,
    ac: &Coefficients,
    bits: &mut Bits,
    prediction: &mut i32,
    mut keep: impl FnMut(u32, i16),
) -> Option<u8> {
    // A copy, which stays in registers.
    let (mut head, plain) = bits.block()?;
    head.fill(plain);
    let entry = dc.entry(head.bits)?;
    *prediction = prediction.wrapping_add(i32::from(entry.value(head.bits)));
    head.drop(entry.0);
    // The coefficient that was read last.
    let mut index = 0;
    let pairs = &*ac.pairs;
    loop {
        head.fill(plain);
        // Twice at most 27 bits.
        for _ in 0..2 {
            let pair = ac.pair(pairs, head.bits)?;
            let (step, next_step) = pair.steps();
            let first = index + step;
            let second = first + next_step;
            let (value, next_value) = pair.values(head.bits);
            // Where there is no second one, its place is that of the first.
            keep(second, next_value);
            keep(first, value);
            if second >= 63 {
                // A second one behind the last coefficient belongs to the next block.
                let (before, index, taken) = match first {
                    63.. => (index, first, pair.first_bits()),
                    _ => (first, second, pair.first().0),
                };
                head.drop(taken);
                bits.set(head);
                return match index {
                    63 => Some(63),
                    _ if index >= u32::from(END) => Some(before as u8),
                    _ => None,
                };
            }
            index = second;
            head.drop(pair.first().0);
        }
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
        let all: Vec<i16> = (0..8).map(|bits| value(bits << 61, 0, 60)).collect();
        assert_eq!(all, [-7, -6, -5, -4, 4, 5, 6, 7]);
        let one = [value(0, 0, 62), value(!0, 0, 62)];
        assert_eq!((one, value(0, 0, 63), value(!0, 0, 63)), ([-1, 1], 0, 0));
        assert_eq!([value(0, 9, 52), value(!0, 9, 52)], [-2047, 2047]);
    }

    /// A table of codes of these lengths.
    fn table(codes: &[(usize, u8)]) -> HuffmanTable {
        let mut counts = [0; 16];
        codes.iter().for_each(|(length, _)| counts[length - 1] += 1);
        let values = codes.iter().map(|(_, symbol)| *symbol).collect();
        HuffmanTable { counts, values }
    }

    #[test]
    fn a_pair_of_codes_ends_with_the_block() {
        // 0: a difference of no bits; 0: a coefficient of one bit, 10: no more, 110: 15 zeros and a coefficient of one bit.
        let dc = Differences::new(&table(&[(1, 0)])).unwrap();
        let ac = Coefficients::new(&table(&[(1, 1), (2, 0), (3, 0xF1)])).unwrap();
        let read = |bits: &str| {
            let padded = format!("{bits:0<800}");
            let bytes: Vec<u8> = (0..100)
                .map(|at| u8::from_str_radix(&padded[8 * at..][..8], 2).unwrap())
                .collect();
            let (mut block, mut prediction) = (Block::default(), 0);
            let mut data = Bits::new(&bytes);
            let found = block.read(&dc, &ac, &mut data, &mut prediction);
            let skipped = Block::skip(&dc, &ac, &mut Bits::new(&bytes), &mut prediction);
            assert_eq!(found, skipped);
            found.map(|()| (block, data.read()))
        };
        let (block, taken) = read("0 01 00 10".replace(' ', "").as_str()).unwrap();
        assert_eq!((block.values[1], block.values[8], block.last), (1, -1, 2));
        assert_eq!(taken, 7);
        // All 63 of them; what follows is the next block's.
        let (block, taken) = read(&format!("0{}", "01".repeat(66))).unwrap();
        assert!(block.values[1..].iter().all(|value| *value == 1));
        assert_eq!((block.last, taken), (63, 127));
        // 48 of them and 15, and one too many.
        assert!(read(&format!("0{}", "1101".repeat(4))).is_none());
        let (block, taken) = read(&format!("0{}{}", "1101".repeat(3), "01".repeat(15))).unwrap();
        assert_eq!((block.last, taken), (63, 43));
    }

    #[test]
    fn long_codes_and_codes_that_are_none() {
        // One code of each length up to 16.
        let mut segment = [1u8; 16].to_vec();
        segment.extend((1..=16).map(|n| n % 11));
        let (table, _) = HuffmanTable::parse(&segment).unwrap();
        let codes = Code::new(&table, |_, _, _| Some(())).unwrap();
        for length in [1, 9, 12, 16] {
            // The code of this length is all ones but for the last bit.
            let head = u64::MAX.checked_shl(65 - length).unwrap_or(0);
            assert_eq!(codes.long(head), Some(((length % 11) as u8, length)));
        }
        assert_eq!(codes.long(!0), None);
        // 17 bits of value cannot be.
        segment[16] = 17;
        let (table, _) = HuffmanTable::parse(&segment).unwrap();
        assert!(Differences::new(&table).is_none());
    }
}
