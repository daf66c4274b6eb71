//! The search for hyperparameters: many trainings, of which the best is kept.
//!
//! ```text
//! --space -> Space -> Search (strategy: grid, random, bayesian, hyperband) -> values
//! values -> trial (a process that trains) -> results.csv -> Objective -> StopRule
//!                                               '-> Journal -> Study -> table, best hyperparameters, page
//! ```
//!
//! Input: a [`Definition`], [`Bench`] and [`Options`]. Output: a study folder, see [`Study`], that any crash leaves in a state from
//! which the same command goes on.

mod definition;
mod importance;
mod journal;
mod keep;
mod objective;
mod progress;
mod results;
mod room;
mod run;
mod scaling;
mod space;
mod stopping;
mod strategy;
mod study;
mod table;
mod trial;
mod verdict;

pub use definition::Definition;
pub use journal::{Outcome, Record, Status, Trial};
pub use objective::{Direction, Metric, Objective};
pub use progress::shown;
pub use results::{BEST, PAGE, ResultsError, write as write_results};
pub use room::{need_bytes, slots};
pub use run::{Options, Runner, TuneError};
pub use scaling::Scaling;
pub use space::{Dimension, Domain, Space, SpaceError, Values};
pub use stopping::StopRule;
pub use strategy::StrategyKind;
pub use study::{Study, StudyError};
pub use table::Table;
pub use trial::{Bench, is_trial};
