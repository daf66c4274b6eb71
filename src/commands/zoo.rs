//! `zoo list|fetch|verify`: pretrained weights by name.

use serde_json::json;

use super::{CommandError, say_line};
use crate::cli::ZooCommand;
use crate::logging::terminal;
use crate::model::Architecture;
use crate::zoo::{Cache, Entry, Zoo, ZooError, progress_bar};

pub fn run(command: &ZooCommand) -> Result<(), CommandError> {
    let zoo = Zoo::builtin();
    let cache = Cache::from_env()?;
    match command {
        ZooCommand::List { json: true } => say_line(format_args!(
            "{}",
            serde_json::to_string_pretty(&json!(zoo.list()))?
        ))?,
        ZooCommand::List { json: false } => {
            say_line(format_args!(
                "{:18} {:10} {:>7} {:>7}  {:9} licence",
                "name", "network", "top-1", "MB", "state"
            ))?;
            for entry in zoo.list() {
                let state = if cache.path(entry).is_file() {
                    "cached"
                } else {
                    "not here"
                };
                let megabytes = entry.bytes as f64 / 1e6;
                say_line(format_args!(
                    "{:18} {:10} {:>5.2} % {megabytes:>7.1}  {state:9} {}",
                    entry.name, entry.architecture, entry.top1_percent, entry.licence
                ))?;
            }
            say_line(format_args!(
                "\nsagemaker-burn zoo fetch NAME downloads into {}",
                cache.folder().display()
            ))?;
        }
        ZooCommand::Fetch { name } => {
            let entry = match name {
                Some(name) => zoo.find(name)?,
                None => default_entry(zoo)?,
            };
            let path = cache.fetch(entry, &mut progress_bar(&terminal(), entry))?;
            say_line(format_args!("{}", path.display()))?;
        }
        ZooCommand::Verify { name: Some(name) } => {
            let path = cache.verify(zoo.find(name)?)?;
            say_line(format_args!("{}: ok", path.display()))?;
        }
        ZooCommand::Verify { name: None } => {
            let cached: Vec<_> = zoo
                .list()
                .iter()
                .filter(|entry| cache.path(entry).is_file())
                .collect();
            if cached.is_empty() {
                say_line(format_args!(
                    "nothing cached in {}",
                    cache.folder().display()
                ))?;
            }
            for entry in cached {
                say_line(format_args!("{}: ok", cache.verify(entry)?.display()))?;
            }
        }
    }
    Ok(())
}

/// What training takes when nothing is said.
fn default_entry(zoo: &Zoo) -> Result<&Entry, ZooError> {
    let architecture = Architecture::default().name();
    let entry = zoo.default_for(architecture);
    entry.map_or_else(|| zoo.find(architecture), Ok)
}
