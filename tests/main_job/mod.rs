//! The program as its users meet it: every test starts the real binary in an empty folder of its own.
//!
//! Input: pictures drawn by [`pictures`] and the narrow networks of `tests/golden/onnx`, so that a whole training takes
//! a fraction of a second. Output: exit codes, both output streams and the files left behind. Nothing here needs a
//! network, a GPU or files from outside the repository.

pub mod pictures;
pub mod run;
pub mod running;

mod broken_files;
mod configuration;
mod data_sets;
mod failures;
mod model_directory;
mod options;
mod outputs;
mod prediction;
mod resume;
mod seeds;
mod signals;
