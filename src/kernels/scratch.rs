//! Memory for intermediate results.
//!
//! Input: a length. Output: that many floats with arbitrary contents, for the time of a call. Small pieces stay with their
//! thread, whose cache they are in; large ones come from the [free feature maps](super::memory).

use std::cell::RefCell;

use super::memory::{Map, Piece};

/// Longest piece that stays with a thread, in floats.
const SMALL: usize = 1 << 20;

thread_local! {
    static FREE: RefCell<Vec<Piece>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `len` floats of scratch memory. Calls may be nested.
pub(crate) fn with<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    if len > SMALL {
        return work(&mut Map::new(len));
    }
    // The last one given back first: nested calls in the same order find the same pieces again.
    let last = FREE.with_borrow_mut(Vec::pop);
    let mut piece = last
        .filter(|piece| piece.len() >= len)
        .unwrap_or_else(|| Piece::new(len));
    let result = work(&mut piece.floats()[..len]);
    FREE.with_borrow_mut(|free| free.push(piece));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_pieces_are_distinct_and_kept() {
        let first = with(100, |a| {
            a.fill(1.0);
            with(50, |b| b.fill(2.0));
            assert!(a.iter().all(|v| *v == 1.0) && a.len() == 100);
            a.as_ptr() as usize
        });
        assert_eq!(first % 64, 0);
        with(10, |a| assert_eq!(a.as_ptr() as usize, first));
    }
}
