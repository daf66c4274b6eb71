//! Huffman codes as tables, entered with the next bits of the data.
//!
//! Input: a [`HuffmanTable`]. Output: [`Differences`] and [`Coefficients`], which tell codes, how long they and the values behind them are,
//! and the values.

use super::scan::HuffmanTable;

/// Bits of the data with which a table is entered. Longer codes are rare, and larger tables do not stay in the fastest cache.
const DIFFERENCE_LOOKUP: u32 = 9;
const LOOKUP: u32 = 10;
/// The longest code.
const LONGEST: u32 = 16;
/// Larger values do not occur in pictures of 8 bits: 11 bits for a difference, 10 for a coefficient.
const LARGEST: u8 = 11;

/// What a code means, in one word: it is loaded once a coefficient. Shifts look at six bits of what they take, so it needs no masks.
///
/// Bits 0 to 7: how many bits code and value take together; 0 where the code is too long for the table or there is none. Bits 8 to 15: how
/// many the code takes. Bits 16 to 23: 63 less how many the value takes. Bits 24 to 31: coefficients from the one before to this one.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry(u32);

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

    /// What to drop of the data behind it; see [`Head::drop`](super::bits::Head::drop).
    #[inline(always)]
    pub(super) fn taken(self) -> u32 {
        self.0
    }

    /// The value that follows the code at the head of `bits` (T.81, table F.1): those that begin with 0 are negative.
    #[inline(always)]
    pub(super) fn value(self, bits: u64) -> i16 {
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
/// Bits 0 to 31: the [`Entry`] of the first one, but with the bits of both together. Bits 32 to 39: where the second one's value begins. Bits 40
/// to 47: 63 less how many bits that takes. Bits 48 to 55: coefficients from the first one to the second; 0 where there is none.
#[derive(Clone, Copy, Default)]
pub(super) struct Pair(u64);

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

    #[inline(always)]
    pub(super) fn first(self) -> Entry {
        Entry(self.0 as u32)
    }

    #[inline(always)]
    pub(super) fn steps(self) -> (u32, u32) {
        (self.0 as u32 >> 24, (self.0 >> 48) as u32)
    }

    #[inline(always)]
    pub(super) fn values(self, bits: u64) -> (i16, i16) {
        let first = Entry(self.0 as u32).value(bits);
        (
            first,
            value(bits, (self.0 >> 32) as u32, (self.0 >> 40) as u32),
        )
    }

    /// The bits of the first code and its value.
    pub(super) fn first_bits(self) -> u32 {
        ((self.0 >> 8) & 0xFF) as u32 + 63 - ((self.0 >> 16) & 0xFF) as u32
    }
}

/// The step of the symbol that says that no more coefficients follow: farther than any other leads.
pub(super) const END: u8 = 128;

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
    pub(super) fn entry(&self, bits: u64) -> Option<Entry> {
        let entry = self.entries[(bits >> (64 - DIFFERENCE_LOOKUP)) as usize];
        if entry.is_known() {
            return Some(entry);
        }
        let (symbol, length) = self.code.long(bits)?;
        Some(Entry::new(length, Self::meaning(symbol)))
    }
}

/// By the next bits of the data.
type Pairs = [Pair; 1 << LOOKUP];

/// The Huffman code of runs of zeros and the coefficients behind them.
pub(super) struct Coefficients {
    pairs: Box<Pairs>,
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

    /// The table, for a loop that keeps its address.
    #[inline(always)]
    pub(super) fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    /// The pair at the head of the data, from the table.
    #[inline(always)]
    pub(super) fn pair(&self, pairs: &Pairs, bits: u64) -> Option<Pair> {
        let pair = pairs[(bits >> (64 - LOOKUP)) as usize];
        if pair.first().is_known() {
            return Some(pair);
        }
        let (symbol, length) = self.code.long(bits)?;
        Some(Pair::of(Entry::new(length, Self::meaning(symbol))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_either_sign() {
        let all: Vec<i16> = (0..8).map(|bits| value(bits << 61, 0, 60)).collect();
        assert_eq!(all, [-7, -6, -5, -4, 4, 5, 6, 7]);
        let one = [value(0, 0, 62), value(!0, 0, 62)];
        assert_eq!((one, value(0, 0, 63), value(!0, 0, 63)), ([-1, 1], 0, 0));
        assert_eq!([value(0, 9, 52), value(!0, 9, 52)], [-2047, 2047]);
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
