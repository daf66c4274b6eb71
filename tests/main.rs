//! Integration tests of the real binary.
mod sinks;
