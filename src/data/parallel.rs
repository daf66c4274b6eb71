//! The same work on many items, by several threads.
//!
//! Input: items, a number of threads and a function. Output: its results, in the order of the items.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Applies `work` to each item on up to `workers` threads; 0 counts as 1. A panic in `work` is passed on.
pub fn map<T: Sync, R: Send>(items: &[T], workers: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let run = || {
        while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < items.len())
        {
            let result = work(&items[i]);
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.push((i, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers.min(items.len()) {
            // The calling thread works too, so a thread that cannot be started only costs time.
            let _ = std::thread::Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        let expected: Vec<usize> = items.iter().map(|i| i * i).collect();
        for workers in [0, 1, 3, 200] {
            assert_eq!(map(&items, workers, |i| i * i), expected);
        }
        assert_eq!(map(&[0; 0], 4, |i: &i32| *i), [0; 0]);
    }
}
