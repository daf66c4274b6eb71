//! A look inside trainings: the files of the debugger, and what rules find in runs that were made to go wrong.

mod files;
mod histograms;
mod hosted;
mod peer;
mod rules;
mod trace;
