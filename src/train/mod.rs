//! Training: from a configuration and a folder of photos to a model directory.
//!
//! ```text
//! TrainConfig + Splits + weights -> Source x2 -> fit (TrainState) -> best weights -> Artifact
//!                                                 |-> Event -> Sinks
//!                                                 '-> Checkpoint (weights/last, weights/best)
//! ```

mod checkpoint;
mod early_stop;
mod ema;
mod epoch;
mod feature_pass;
mod feeds;
mod finish;
mod fit;
mod gradients;
mod inside;
mod keeper;
mod launch;
mod ledger;
mod loss;
mod optimizer;
mod pictures;
mod rescue;
mod run;
mod schedule;
mod setup;
mod start;
mod stop;
mod summary;

pub use checkpoint::{BEST, Checkpoint, CheckpointError, LAST};
pub use early_stop::Best;
pub use fit::{Ended, FitError};
pub use launch::{Destination, Request, RunData, Trained, train};
pub use loss::Loss;
pub use optimizer::build as build_optimizer;
pub use run::TrainError;
pub use schedule::Schedule;
pub use stop::{Stop, StopSignal};
