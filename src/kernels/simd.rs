//! Instruction sets, and loads and stores of a vector or a part of one.
//!
//! Input: an [`Isa`] and an operation that is generic over [`pulp::Simd`]. Output: what the operation returns, computed with
//! that instruction set. pulp holds the intrinsics; the choice is made at run time, so one binary fits all processors.

use std::fmt;
use std::sync::OnceLock;

use pulp::{Scalar128b, Simd, WithSimd};

/// Environment variable that narrows the choice of kernels: `avx512`, `avx2`, `neon` or `plain`, and `direct` for no Winograd,
/// separated by commas.
pub const OVERRIDE: &str = "SAGEMAKER_BURN_KERNELS";

/// What this process computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub isa: Isa,
    /// Whether Winograd's algorithms may be used.
    pub winograd: bool,
}

impl Choice {
    /// The best that this processor has, narrowed by [`OVERRIDE`]; the same for the whole life of the process.
    pub fn of_process() -> Self {
        static CHOSEN: OnceLock<Choice> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let wish = std::env::var(OVERRIDE).unwrap_or_default();
            let (choice, unknown) = Self::parse(&wish);
            if !unknown.is_empty() {
                let here: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
                let (unknown, here) = (unknown.join(","), here.join(", "));
                tracing::warn!(
                    "{OVERRIDE}: {unknown} is ignored; on this processor it can be {here} or direct"
                );
            }
            choice
        })
    }

    /// The choice that `wish` leaves, and the words in it that mean nothing here.
    fn parse(wish: &str) -> (Self, Vec<&str>) {
        let available = Isa::available();
        let mut choice = Self {
            isa: available[0],
            winograd: true,
        };
        let mut unknown = Vec::new();
        for word in wish.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            match available.iter().find(|isa| isa.name() == word) {
                Some(isa) => choice.isa = *isa,
                None if word == "direct" => choice.winograd = false,
                None => unknown.push(word),
            }
        }
        (choice, unknown)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (isa, winograd) = (self.isa.name(), self.winograd);
        let algorithms = if winograd {
            "winograd and direct"
        } else {
            "direct"
        };
        write!(f, "{isa}, {algorithms} convolutions")
    }
}

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// x86-64-v4: 16 floats per vector.
    Avx512,
    /// x86-64-v3, AVX2 with FMA: 8 floats per vector.
    Avx2,
    /// aarch64: 4 floats per vector.
    Neon,
    /// What the compiler makes of groups of 4 floats on any processor.
    Plain,
}

impl Isa {
    /// Best first.
    const ALL: [Isa; 4] = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Plain];

    /// The one that this process uses.
    pub fn detect() -> Self {
        Choice::of_process().isa
    }

    /// All that this processor has, best first; [`Isa::Plain`] is always among them.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_here()).collect()
    }

    /// As [`OVERRIDE`] spells it.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Neon => "neon",
            Isa::Plain => "plain",
        }
    }

    pub(super) fn is_here(self) -> bool {
        match self {
            Isa::Plain => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => pulp::aarch64::Neon::try_new().is_some(),
            _ => false,
        }
    }

    /// Runs `op` with this instruction set; where the processor lacks it, with the plain one. What depends on
    /// [`Isa::panel`] must not be called then.
    pub(crate) fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        #[cfg(target_arch = "x86_64")]
        match self {
            Isa::Avx512 => {
                if let Some(simd) = pulp::x86::V4::try_new() {
                    return Simd::vectorize(simd, op);
                }
            }
            Isa::Avx2 => {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    return Simd::vectorize(simd, op);
                }
            }
            _ => {}
        }
        #[cfg(target_arch = "aarch64")]
        if self == Isa::Neon
            && let Some(simd) = pulp::aarch64::Neon::try_new()
        {
            return Simd::vectorize(simd, op);
        }
        Simd::vectorize(Scalar128b, op)
    }

    /// Columns of a packed panel: the width of the multiplication's register block, in floats.
    pub(super) fn panel(self) -> usize {
        match self {
            Isa::Avx512 => 32,
            Isa::Avx2 | Isa::Neon => 16,
            Isa::Plain => 8,
        }
    }
}

/// `a * b + c`, rounded once where the processor can: pulp's portable vectors would call a function for every lane.
#[inline(always)]
pub(super) fn fma<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    match (S::F32_LANES, S::REGISTER_COUNT) {
        (4, 16) => simd.add_f32s(simd.mul_f32s(a, b), c),
        _ => simd.mul_add_e_f32s(a, b, c),
    }
}

/// The value where it is positive or NaN, else 0. Vector maxima would turn NaN into 0, on some processors, and so hide that a
/// training has diverged.
#[inline(always)]
pub(super) fn relu<S: Simd>(simd: S, value: S::f32s) -> S::f32s {
    stopped(simd, value, value)
}

/// 0 where a ReLU stopped its input, that is where `output` is not positive, else `value`.
#[inline(always)]
pub(super) fn stopped<S: Simd>(simd: S, output: S::f32s, value: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_or_equal_f32s(output, zero), zero, value)
}

/// A vector from `from`.
///
/// # Safety
/// `S::F32_LANES` floats must be readable there.
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(_: S, from: *const f32) -> S::f32s {
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// Writes a vector to `to`.
///
/// # Safety
/// `S::F32_LANES` floats must be writable there.
#[inline(always)]
pub(super) unsafe fn store<S: Simd>(_: S, to: *mut f32, value: S::f32s) {
    unsafe { to.cast::<S::f32s>().write_unaligned(value) }
}

/// The first `count` lanes from `from`, the others 0; a whole vector if `count` is at least its length.
///
/// # Safety
/// As many floats must be readable there.
#[inline(always)]
pub(super) unsafe fn load_part<S: Simd>(simd: S, from: *const f32, count: usize) -> S::f32s {
    if count >= S::F32_LANES {
        return unsafe { load(simd, from) };
    }
    simd.partial_load_f32s(unsafe { std::slice::from_raw_parts(from, count) })
}

/// Writes the first `count` lanes to `to`; a whole vector if `count` is at least its length.
///
/// # Safety
/// As many floats must be writable there.
#[inline(always)]
pub(super) unsafe fn store_part<S: Simd>(simd: S, to: *mut f32, value: S::f32s, count: usize) {
    if count >= S::F32_LANES {
        return unsafe { store(simd, to, value) };
    }
    simd.partial_store_f32s(unsafe { std::slice::from_raw_parts_mut(to, count) }, value);
}

/// Memory that several tasks write, each a part of its own.
///
/// The borrow keeps the memory alive and unseen by others; that the parts don't overlap is the duty of the code that hands
/// them out.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    memory: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for a `&mut [f32]`, which is Send; tasks write disjoint parts, as the type's contract says.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(memory: &'a mut [f32]) -> Self {
        Self {
            start: memory.as_mut_ptr(),
            len: memory.len(),
            memory: std::marker::PhantomData,
        }
    }

    /// Address of `count` floats from `offset` on.
    ///
    /// # Safety
    /// They must lie inside, and no other task may use them meanwhile.
    #[inline(always)]
    pub unsafe fn at(self, offset: usize, count: usize) -> *mut f32 {
        debug_assert!(
            offset + count <= self.len,
            "{offset} + {count} of {}",
            self.len
        );
        unsafe { self.start.add(offset) }
    }

    /// `count` floats from `offset` on.
    ///
    /// # Safety
    /// No other task may use them meanwhile.
    pub unsafe fn slice(self, offset: usize, count: usize) -> &'a mut [f32] {
        assert!(
            offset + count <= self.len,
            "{offset} + {count} of {}",
            self.len
        );
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset), count) }
    }
}

/// Address of `count` floats of `memory` from `offset` on.
///
/// # Safety
/// They must lie inside.
#[inline(always)]
pub(super) unsafe fn at(memory: &[f32], offset: usize, count: usize) -> *const f32 {
    debug_assert!(
        offset + count <= memory.len(),
        "{offset} + {count} of {}",
        memory.len()
    );
    unsafe { memory.as_ptr().add(offset) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_narrows_the_choice_and_nonsense_is_named() {
        let best = Isa::available()[0];
        let choice = |isa, winograd| Choice { isa, winograd };
        assert_eq!(Choice::parse(""), (choice(best, true), vec![]));
        let (plain, none) = Choice::parse(" plain , direct");
        assert_eq!((plain, none), (choice(Isa::Plain, false), vec![]));
        assert_eq!(
            Choice::parse("plain,sse9"),
            (choice(Isa::Plain, true), vec!["sse9"])
        );
    }

    struct Lanes;

    impl WithSimd for Lanes {
        type Output = usize;

        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }

    #[test]
    fn each_instruction_set_runs_as_itself() {
        for isa in Isa::available() {
            let lanes = match isa {
                Isa::Avx512 => 16,
                Isa::Avx2 => 8,
                Isa::Neon | Isa::Plain => 4,
            };
            assert_eq!(isa.run(Lanes), lanes, "{isa:?}");
            assert_eq!(isa.panel() % lanes, 0);
        }
    }
}
