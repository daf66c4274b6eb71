//! Serving: what a server answers with.
//!
//! Input: nothing yet. Output: [`page::PAGE`].

pub mod page;
