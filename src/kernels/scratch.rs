//! Memory that a thread keeps for its intermediate results.
//!
//! Input: a length. Output: that many floats with arbitrary contents. Fresh memory costs a page fault every 4 KB, which took
//! longer than filling it.

use std::cell::RefCell;

/// Floats that start on a cache line: vectors that straddle two lines cost double.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `len` floats of this thread's scratch memory. Calls may be nested.
pub(crate) fn with<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    // The largest piece first, so that nested calls in the same order find the same pieces again.
    let mut lines = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if lines.len() * 16 < len {
        lines.resize(len.div_ceil(16), Line([0.0; 16]));
    }
    let result = work(&mut as_floats(&mut lines)[..len]);
    FREE.with_borrow_mut(|free| free.push(lines));
    result
}

fn as_floats(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: a Line is 16 floats without padding.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 16) }
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
