//! The compressed data of a scan, bit by bit.
//!
//! Input: the bytes of the file behind a scan's header. Output: [`Head`], the next bits of one stretch of data, between two markers.
//!
//! In the file a 0 follows each byte of ones that is data. These are taken out in pieces, before they are read: bits then come
//! eight bytes at a time, without a look at what is in them and without a branch.

/// More bytes than a block can take, with those that are loaded ahead: 64 coefficients of at most 27 bits.
const MOST: usize = 256;
/// Bytes that are brought into [`Bits::plain`] at once. With the tables of codes they stay in the fastest cache.
const PIECE: usize = 4096;
const LENGTH: usize = PIECE + 2 * MOST;

/// The data of a scan.
pub(super) struct Bits<'a> {
    /// What was not yet brought into `plain`; a marker comes first when `is_end`.
    rest: &'a [u8],
    /// Data without what is not data. Zeros follow it at its end.
    plain: Box<[u8; LENGTH]>,
    /// Bytes of data in `plain`.
    length: usize,
    is_end: bool,
    head: Head,
}

/// The next bits, small enough for registers.
#[derive(Clone, Copy, Default)]
pub(super) struct Head {
    /// The first one highest.
    pub(super) bits: u64,
    /// How many of them there are at least, 56 or more after [`fill`](Self::fill). Those behind stand where they belong, too.
    count: u32,
    /// Bytes of the data from which they are.
    at: usize,
}

impl Head {
    /// Makes sure that there are 56 bits.
    #[inline(always)]
    pub(super) fn fill(&mut self, plain: &[u8; LENGTH]) {
        let next = plain.get(self.at..self.at + 8);
        let next = next.and_then(|next| next.try_into().ok());
        self.bits |= u64::from_be_bytes(next.unwrap_or_default()) >> (self.count & 63);
        self.at += ((!self.count >> 3) & 7) as usize;
        self.count |= 56;
    }

    /// Drops as many as the lowest six bits of `bits` say.
    #[inline(always)]
    pub(super) fn drop(&mut self, bits: u32) {
        self.bits = self.bits.wrapping_shl(bits);
        self.count = self.count.wrapping_sub(bits);
    }
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Bits {
            rest: bytes,
            plain: Box::new([0; LENGTH]),
            length: 0,
            is_end: false,
            head: Head::default(),
        }
    }

    /// The next bits, and the data from which [`Head::fill`] takes more: enough for a block, with zeros behind the data's end. `None` when
    /// that lies behind.
    #[inline(always)]
    pub(super) fn block(&mut self) -> Option<(Head, &[u8; LENGTH])> {
        // At the end `MOST` zeros follow, and eight bytes more that may be loaded.
        let end = match self.is_end {
            true => self.length + MOST + 8,
            false => self.length,
        };
        if self.head.at + MOST > end {
            self.load()?;
        }
        Some((self.head, &self.plain))
    }

    /// Goes on behind what was read of a block.
    #[inline(always)]
    pub(super) fn set(&mut self, head: Head) {
        self.head = head;
    }

    /// Brings in more.
    #[cold]
    #[inline(never)]
    fn load(&mut self) -> Option<()> {
        if self.is_end {
            return None;
        }
        let unread = self.head.at.min(self.length)..self.length;
        self.length = unread.len();
        self.plain.copy_within(unread, 0);
        self.head.at = 0;
        while self.length < PIECE && !self.is_end {
            self.load_some();
        }
        if self.is_end {
            self.plain[self.length..].fill(0);
        }
        Some(())
    }

    /// The next bytes, up to one of ones if there is one among them.
    #[inline(always)]
    fn load_some(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHS: u64 = 0x8080_8080_8080_8080;
        const MANY: usize = 32;
        if let Some(next) = self.rest.first_chunk::<MANY>()
            && !next.iter().fold(false, |any, byte| any | (*byte == 0xFF))
        {
            self.plain[self.length..][..MANY].copy_from_slice(next);
            self.length += MANY;
            self.rest = &self.rest[MANY..];
            return;
        }
        let Some(next) = self.rest.first_chunk::<8>() else {
            return self.load_one();
        };
        self.plain[self.length..][..8].copy_from_slice(next);
        let next = u64::from_le_bytes(*next);
        // The lowest bit that is set is in the first byte of ones.
        let ones = (!next).wrapping_sub(ONES) & next & HIGHS;
        let plain = (ones.trailing_zeros() / 8) as usize;
        self.length += plain;
        self.rest = &self.rest[plain..];
        if ones != 0 {
            self.load_one();
        }
    }

    fn load_one(&mut self) {
        let (byte, taken) = match self.rest {
            [0xFF, 0, ..] => (0xFF, 2),
            [byte, ..] if *byte != 0xFF => (*byte, 1),
            _ => {
                self.is_end = true;
                return;
            }
        };
        self.plain[self.length] = byte;
        self.length += 1;
        self.rest = &self.rest[taken..];
    }

    /// How many bits were read since the beginning or the last restart marker, as long as all of them fit into a piece.
    #[cfg(test)]
    pub(super) fn read(&self) -> usize {
        8 * self.head.at - (self.head.count & 63) as usize
    }

    /// Bits of the data that were not read; `None` where more were read than there are.
    fn unread(&self) -> Option<usize> {
        (8 * self.length + (self.head.count & 63) as usize).checked_sub(8 * self.head.at)
    }

    /// Whether all that was read was in the file.
    pub(super) fn is_sound(&self) -> bool {
        self.unread().is_some()
    }

    /// Steps over a restart marker, which must come next.
    pub(super) fn restart(&mut self) -> Option<()> {
        if !self.is_end {
            self.load()?;
        }
        // At most seven bits fill up the last byte.
        if !self.is_end || self.unread()? >= 8 {
            return None;
        }
        let rest = self.rest;
        let ([0xFF, 0xD0..=0xD7], rest) = rest.split_first_chunk()? else {
            return None;
        };
        self.rest = rest;
        self.length = 0;
        self.is_end = false;
        self.head = Head::default();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next `count` bits, as a block would take them.
    fn take(bits: &mut Bits, count: u32) -> Option<u64> {
        let (mut head, plain) = bits.block()?;
        head.fill(plain);
        let taken = head.bits >> (64 - count);
        head.drop(count);
        bits.set(head);
        Some(taken)
    }

    #[test]
    fn bits_come_in_order_over_stuffed_bytes_and_stop_at_markers() {
        // More than two pieces.
        const BYTES: u32 = 3 * PIECE as u32;
        let plain: Vec<u8> = (0..BYTES / 2).flat_map(|n| [(n * 3) as u8, 0xFF]).collect();
        let stuffed = |byte: &u8| match byte {
            0xFF => vec![0xFF, 0],
            byte => vec![*byte],
        };
        let mut stuffed: Vec<u8> = plain.iter().flat_map(stuffed).collect();
        stuffed.extend([0xFF, 0xD9]);
        let mut bits = Bits::new(&stuffed);
        let mut read = 0;
        for count in (1..28).cycle() {
            if read + count > 8 * plain.len() as u32 {
                break;
            }
            let expected = (read..read + count).fold(0, |all, bit| {
                (all << 1) | u64::from((plain[bit as usize / 8] >> (7 - bit % 8)) & 1)
            });
            assert_eq!(take(&mut bits, count), Some(expected), "{read}");
            assert!(bits.is_sound());
            read += count;
        }
        // Behind the end there are zeros, for a while.
        for _ in 0..4 {
            take(&mut bits, 16);
        }
        assert!(!bits.is_sound());
        assert!(bits.restart().is_none());
        assert!((0..2 * MOST).any(|_| take(&mut bits, 16).is_none()));
    }

    #[test]
    fn restart_markers_are_stepped_over_where_they_stand() {
        let data = [
            0xAB, 0xFF, 0xD0, 0xCD, 0xFF, 0xD1, 0xFF, 0xD2, 0x12, 0xFF, 0xD9,
        ];
        let mut bits = Bits::new(&data);
        assert_eq!(take(&mut bits, 5), Some(0b10101));
        bits.restart().unwrap();
        assert!(bits.restart().is_none(), "a byte was not read");
        assert_eq!(take(&mut bits, 8), Some(0xCD));
        bits.restart().unwrap();
        bits.restart().unwrap();
        assert_eq!(take(&mut bits, 8), Some(0x12));
        assert!(bits.restart().is_none(), "another marker");
    }
}
