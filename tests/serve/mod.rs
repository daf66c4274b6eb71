//! The endpoint as its clients meet it: the real binary on a free port of this machine.
//!
//! Input: a narrow network that was trained a moment ago. Output: answers over HTTP. The acceptance tests T11 to T13 of the
//! platform's contract, and what else an endpoint promises.

mod answers;
mod arrays;
mod content_types;
mod endings;
mod hosted;
mod overload;
mod refusals;
mod sdk;
pub mod server;
