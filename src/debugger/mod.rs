//! A look inside a training, in the files of SageMaker Debugger.
//!
//! ```text
//! debughookconfig.json or --debugger -> HookConfig (collections: which tensors, when, whole or reduced)
//! training loop -> Debugger::step -> Capture (None on steps where nothing is due)
//!                                      '-> StepRecord -> a thread of its own: TrialWriter (events/, index/, collections/)
//!                                                                            |- Histograms (TensorBoard)
//!                                                                            '-> Rules (findings, maybe the end of the run)
//! stored run -> Trial -> StepRecord -> Rules
//! ```
//!
//! Nothing that is looked at changes what is learned: layers that training fuses are computed again, beside it.

mod capture;
mod collection;
mod config;
mod histograms;
mod hook;
mod parameters;
mod reader;
mod record;
mod reduction;
pub mod rules;
mod save;
mod tensor;
mod writer;

pub(crate) use capture::TrainingStep;
pub use capture::{Capture, Epochs};
pub use collection::Collection;
pub use config::{HookConfig, HookConfigError};
pub use hook::{Debugger, DebuggerError, Output, Setup};
pub use parameters::{ParameterError, Parameters};
pub use reader::{ReadError, Trial};
pub use reduction::{Operation, Reduction};
pub use save::{SAVE_INTERVAL, SaveConfig};
pub use tensor::{Entry, HostTensor, ModeKey, StepRecord, Values};
pub use writer::{END, TrialWriter, WriteError};
