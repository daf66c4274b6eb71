//! Random generators derived from what they are for, so that no choice depends on the order in which threads run.
//!
//! Input: the user's seed, a purpose and up to two counters. Output: an independent generator.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// What a generator is for; two purposes never share a random stream.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    Split = 1,
    Subset = 2,
    Shuffle = 3,
    Augment = 4,
    Mixup = 5,
    Search = 6,
}

/// The generator of (`seed`, `purpose`, `a`, `b`). The key of the stream cipher behind `StdRng` has room for all four
/// values, so distinct inputs give distinct streams without hashing.
pub fn rng(seed: u64, purpose: Purpose, a: u64, b: u64) -> StdRng {
    let mut key = [0u8; 32];
    for (chunk, value) in key.chunks_exact_mut(8).zip([seed, purpose as u64, a, b]) {
        chunk.copy_from_slice(&value.to_le_bytes());
    }
    StdRng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn each_input_changes_the_stream_and_equal_inputs_do_not() {
        let first = |seed, purpose, a, b| rng(seed, purpose, a, b).random::<u64>();
        let base = first(7, Purpose::Augment, 1, 2);
        assert_eq!(base, first(7, Purpose::Augment, 1, 2));
        for other in [
            first(8, Purpose::Augment, 1, 2),
            first(7, Purpose::Shuffle, 1, 2),
            first(7, Purpose::Augment, 2, 2),
            first(7, Purpose::Augment, 1, 3),
        ] {
            assert_ne!(base, other);
        }
    }
}
