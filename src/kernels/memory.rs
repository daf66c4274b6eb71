//! Memory for feature maps, kept for the next one.
//!
//! Input: a length. Output: [`Map`], that many floats with arbitrary contents, which a Burn tensor can own. Fresh memory costs a page
//! fault for every 4 KB and is cleared by the system: an eighth of a training step's time went there. Dropped maps are
//! therefore kept and given out again; pieces that were not needed for the last thousand requests go back to the system.

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

/// Memory that starts on a cache line: vectors that straddle two lines cost double.
pub(super) struct Piece {
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

impl Piece {
    /// Bytes of a cache line.
    const LINE: usize = 64;

    pub fn new(len: usize) -> Self {
        let spare = Self::LINE / size_of::<f32>() - 1;
        // The system clears large memory at the first touch, which may be on any thread.
        let memory = vec![0.0f32; len + spare];
        let start = memory.as_ptr().align_offset(Self::LINE).min(spare);
        Self { memory, start, len }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn floats(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..][..self.len]
    }

    fn as_floats(&self) -> &[f32] {
        &self.memory[self.start..][..self.len]
    }
}

/// Pieces that are not in use.
struct Free {
    /// With the request at which each was given back.
    pieces: Vec<(Piece, u64)>,
    /// Counts requests.
    now: u64,
}

static FREE: Mutex<Free> = Mutex::new(Free {
    pieces: Vec::new(),
    now: 0,
});

fn free() -> MutexGuard<'static, Free> {
    // The list is whole between any two statements.
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Free {
    /// Requests after which a piece that nobody wanted is given up: more than a training step of the deepest network makes.
    const PATIENCE: u64 = 1024;
    /// A piece may be so many times longer than what is asked for.
    const WASTE: usize = 2;

    /// The shortest piece that holds `len` floats.
    fn take(&mut self, len: usize) -> Option<Piece> {
        self.now += 1;
        let fits = |piece: &Piece| piece.len >= len && piece.len / Self::WASTE <= len;
        let found = (0..self.pieces.len())
            .filter(|i| fits(&self.pieces[*i].0))
            .min_by_key(|i| self.pieces[*i].0.len);
        let found = found.map(|i| self.pieces.swap_remove(i).0);
        let oldest = self.now.saturating_sub(Self::PATIENCE);
        self.pieces.retain(|(_, last)| *last >= oldest);
        found
    }
}

/// Memory for the floats of a feature map; goes back to the free pieces when dropped.
pub(crate) struct Map {
    /// `None` while being dropped.
    piece: Option<Piece>,
    len: usize,
    /// Whether it goes back to the system instead.
    exact: bool,
}

impl Map {
    /// `len` floats with arbitrary contents.
    pub fn new(len: usize) -> Self {
        let found = free().take(len);
        let piece = Some(found.unwrap_or_else(|| Piece::new(len)));
        let exact = false;
        Self { piece, len, exact }
    }

    /// `len` floats with arbitrary contents in memory of just that length, for what is kept: it comes from the system and goes
    /// back there.
    pub fn exact(len: usize) -> Self {
        let piece = Some(Piece::new(len));
        let exact = true;
        Self { piece, len, exact }
    }

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut map = Self::new(len);
        map.fill(0.0);
        map
    }

    /// The map as the storage of a tensor.
    pub fn into_bytes(self) -> Bytes {
        let len = self.len * size_of::<f32>();
        // SAFETY: all floats of a piece are initialised, always.
        unsafe { Bytes::from_controller(Box::new(self), len) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if self.exact {
            return;
        }
        let piece = self.piece.take();
        let mut free = free();
        let now = free.now;
        free.pieces.extend(piece.map(|piece| (piece, now)));
    }
}

impl Deref for Map {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.piece {
            Some(piece) => &piece.as_floats()[..self.len],
            None => &[],
        }
    }
}

impl DerefMut for Map {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.piece {
            Some(piece) => &mut piece.floats()[..self.len],
            None => &mut [],
        }
    }
}

impl AllocationController for Map {
    fn alloc_align(&self) -> usize {
        // The most that a copy of these bytes may ask for.
        align_of::<u128>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(
        &mut self,
        _: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let floats: &mut [f32] = self;
        let (start, bytes) = (floats.as_mut_ptr(), size_of_val(floats));
        // SAFETY: the floats as bytes; the caller writes only initialised ones.
        Ok(unsafe { std::slice::from_raw_parts_mut(start.cast(), bytes) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let floats: &[f32] = self;
        let (start, bytes) = (floats.as_ptr(), size_of_val(floats));
        // SAFETY: the floats as bytes.
        Ok(unsafe { std::slice::from_raw_parts(start.cast(), bytes) })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;

    fn free_pieces(lengths: &[(usize, u64)], now: u64) -> Free {
        let pieces = lengths.iter().map(|(len, last)| (Piece::new(*len), *last));
        Free {
            pieces: pieces.collect(),
            now,
        }
    }

    #[test]
    fn the_shortest_piece_that_fits_is_taken_unless_it_wastes_too_much() {
        let mut free = free_pieces(&[(100, 0), (30, 0)], 0);
        assert_eq!(free.take(20).unwrap().len(), 30);
        assert!(free.take(20).is_none(), "five times too long");
        assert_eq!(free.take(50).unwrap().len(), 100);
        assert!(free.take(1).is_none());
    }

    #[test]
    fn pieces_that_nobody_wants_are_given_up() {
        let mut free = free_pieces(&[(1, 0), (1, 50)], Free::PATIENCE + 10);
        assert!(free.take(1000).is_none());
        assert_eq!(free.pieces.len(), 1);
        let mut free = free_pieces(&[(1, 0), (500, 50)], Free::PATIENCE + 10);
        assert!(free.take(500).is_some() && free.pieces.is_empty());
    }

    #[test]
    fn exact_memory_goes_back_to_the_system() {
        // A length that no other test asks for.
        const LEN: usize = 54_321;
        let is_free = || free().pieces.iter().any(|(piece, _)| piece.len() == LEN);
        drop(Map::exact(LEN));
        assert!(!is_free());
        drop(Map::new(LEN));
        assert!(is_free());
    }

    #[test]
    fn a_tensor_owns_a_map_copies_it_and_detaches_from_it() {
        let mut map = Map::zeros(20);
        map[3] = 5.0;
        assert_eq!(map.as_ptr() as usize % 64, 0);
        let data = TensorData::from_bytes(map.into_bytes(), [4, 5], burn::tensor::DType::F32);
        let tensor = Tensor::<2>::from_data(data, &Device::flex());
        let doubled = tensor.clone() * 2.0;
        let bytes = Map::zeros(20).into_bytes();
        assert_eq!(bytes.clone()[..], bytes[..]);
        assert_eq!(doubled.into_data().try_to_vec::<f32>().unwrap()[3], 10.0);
        assert_eq!(tensor.into_data().try_into_vec::<f32>().unwrap().len(), 20);
    }
}
