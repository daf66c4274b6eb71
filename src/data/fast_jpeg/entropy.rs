//! Huffman codes to coefficients.
//!
//! Input: the compressed data of a scan. Output: [`Block`]s of 64 coefficients, before they are multiplied with the factors of their
//! quantisation (ITU-T T.81, F.2.2).

use super::bits::Bits;
use super::codes::{Coefficients, Differences, END};

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
    head.drop(entry.taken());
    // The coefficient that was read last.
    let mut index = 0;
    let pairs = ac.pairs();
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
                    _ => (first, second, pair.first().taken()),
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
            head.drop(pair.first().taken());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::HuffmanTable;
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
        let (block, taken) = read("0010010").unwrap();
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
}
