//! Predictions over HTTP, as a SageMaker endpoint gives them.
//!
//! Input: requests with images or arrays. Output: class probabilities in the form that the client asked for.

pub mod codec;
