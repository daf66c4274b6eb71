//! What is done with a convolution's results while they are in registers.
//!
//! Input: a vector of results. Output: the same in memory, with bias, shortcut and ReLU.

use pulp::Simd;

use super::simd::{Shared, at, load_part, relu, store_part};

/// What is added to an output value `[n, oh, ow, k]` before it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// `[k]`
    pub bias: Option<&'a [f32]>,
    /// `[n, oh, ow, k]`
    pub shortcut: Option<&'a [f32]>,
    /// Negative values become 0, after the additions.
    pub relu: bool,
}

/// Adds what `epilogue` says to `value` and writes it to `y` at `place`, whose channel is `channel`.
///
/// # Safety
/// `lanes` floats there must be the task's own, and inside of `y` and the shortcut.
#[inline(always)]
pub(super) unsafe fn finish<S: Simd>(
    simd: S,
    epilogue: Epilogue,
    mut value: S::f32s,
    y: Shared,
    place: usize,
    channel: usize,
    lanes: usize,
) {
    unsafe {
        if let Some(bias) = epilogue.bias {
            value = simd.add_f32s(value, load_part(simd, at(bias, channel, lanes), lanes));
        }
        if let Some(shortcut) = epilogue.shortcut {
            value = simd.add_f32s(value, load_part(simd, at(shortcut, place, lanes), lanes));
        }
        if epilogue.relu {
            value = relu(simd, value);
        }
        store_part(simd, y.at(place, lanes), value, lanes);
    }
}
