//! Where the time of a training goes.
//!
//! ```text
//! training loop -> Profiler (phases of each step) -> timeline (framework/pevents/*.json, for smdebug and Perfetto)
//! /proc, NVML   -> sampler thread                 -> system/incremental/*.json, one JSON object a line
//!                       both -> Profile -> rules, and one sentence: what holds training up, and what to do about it
//! stored files, ours or Amazon's -> Profile
//! ```
//!
//! Work on a GPU is asynchronous: there, phases of the network are measured on every fiftieth step alone, which waits for the GPU after
//! each of them. On a CPU every step is measured.

mod bottleneck;
mod config;
mod phase;
mod proc;
mod profile;
mod reader;
mod recorder;
mod rules;
mod sampler;
mod summary;
mod timeline;

pub use config::{Follow, ProfilerConfig};
pub use phase::Phase;
pub use profile::{Event, Facts, Profile, Sample};
pub use reader::{ProfileError, read};
pub use recorder::{Profiler, Setup};
pub use rules::{RuleReport, evaluate, write_reports};
pub use summary::{PhaseShare, Series, Span, Summary};
