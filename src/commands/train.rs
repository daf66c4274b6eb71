//! `train`, the default command.

use std::path::PathBuf;
use std::process::ExitCode;

use super::CommandError;
use crate::cli::TrainArgs;
use crate::config::{Layer, Resolved, Source, from_environment, read_file, resolve};
use crate::run_folder::RunFolder;
use crate::train::{Destination, Ended, Request, Stop, train};

/// Exit code after Ctrl-C, as shells expect it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// What the demo sets below any flag: a small network input, no pretrained weights, and as many epochs as it takes.
const DEMO_SETTINGS: [(&str, &str); 7] = [
    ("weights", "none"),
    ("model", "resnet18"),
    ("image-size", "64"),
    ("batch-size", "16"),
    ("epochs", "6"),
    ("augmentation", "none"),
    ("top-k", "2"),
];

pub fn run(args: &TrainArgs) -> Result<ExitCode, CommandError> {
    if args.resume.is_some() && args.output.is_some() {
        return Err("--resume continues in the run's own folder: leave --output out".into());
    }
    let resumed = args
        .resume
        .as_ref()
        .map(|name| RunFolder::resume(name.as_deref()))
        .transpose()?;
    let said = resumed.as_ref().map(RunFolder::read_args).transpose()?;

    let mut layers = vec![Layer {
        source: Source::CommandLine,
        flags: args.flags.clone(),
    }];
    if let (Some(folder), Some((_, settings))) = (&resumed, &said) {
        let pairs = settings.iter().map(|s| (s.name.clone(), s.value.clone()));
        layers.push(Layer::from_pairs(
            Source::Resumed(folder.path().display().to_string()),
            pairs,
        )?);
    }
    if let Some(path) = &args.hyperparameters {
        layers.push(read_file(path)?);
    }
    let environment = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    layers.push(from_environment(environment)?);
    if args.demo {
        let pairs = DEMO_SETTINGS.map(|(k, v)| (k.to_string(), v.to_string()));
        layers.push(Layer::from_pairs(Source::Demo, pairs)?);
    }
    let resolved = resolve(&layers)?;
    if args.dry_run {
        print_settings(&resolved);
        return Ok(ExitCode::SUCCESS);
    }

    let previous_data = said.map(|(args, _)| args.data);
    let data = match (&args.local_data, previous_data) {
        (Some(path), _) => Some(absolute(path)?),
        (None, Some(path)) => Some(path),
        (None, None) if args.demo => None,
        (None, None) => return Err(NO_DATA.into()),
    };
    let destination = match resumed {
        Some(folder) => Destination::Resumed(folder),
        None => Destination::New {
            output: args.output.clone(),
        },
    };
    let outcome = train(
        resolved,
        Request {
            data,
            destination,
            // An argument need not be UTF-8; this is a note for people.
            command: std::env::args_os()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect(),
        },
    )?;
    Ok(match outcome.ended {
        Ended::Stopped(Stop::Interrupt) => ExitCode::from(INTERRUPTED),
        _ => ExitCode::SUCCESS,
    })
}

const NO_DATA: &str = "no data to train on: give --local-data DIR, a folder of photos with train/ and valid/ (or just a \
folder per class), or try --demo, which needs no files";

fn absolute(path: &std::path::Path) -> Result<PathBuf, CommandError> {
    std::fs::canonicalize(path)
        .map_err(|error| format!("--local-data {}: {error}", path.display()).into())
}

fn print_settings(resolved: &Resolved) {
    let width = |text: fn(&crate::config::Setting) -> &str| {
        resolved
            .settings
            .iter()
            .map(|s| text(s).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (names, values) = (width(|s| &s.name), width(|s| &s.value));
    for setting in &resolved.settings {
        println!(
            "{:names$}  {:values$}  {}",
            setting.name, setting.value, setting.source
        );
    }
}
