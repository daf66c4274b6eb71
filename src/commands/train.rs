//! `train`, the default command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{CommandError, say_line};
use crate::cli::TrainArgs;
use crate::config::{
    Layer, Resolved, Setting, Source, from_environment, read_file, resolve, resumed_layer,
    settle_resumed,
};
use crate::data::{DataSource, Images};
use crate::run_folder::RunFolder;
use crate::s3::{self, S3Uri};
use crate::sagemaker::Environment;
use crate::train::{Destination, Ended, Request, RunData, Stop, StopSignal, train};

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

pub fn run(args: &TrainArgs, stop: StopSignal) -> Result<ExitCode, CommandError> {
    if args.resume.is_some() && (args.output.is_some() || args.demo) {
        return Err(
            "--resume continues in the run's own folder: leave --output and --demo out".into(),
        );
    }
    let resumed = match &args.resume {
        Some(name) => Some(RunFolder::resume(name.as_deref())?),
        None => None,
    };
    let before = resumed.as_ref().map(RunFolder::read_args).transpose()?;
    let resolved = resolve_all(args, resumed.as_ref(), before.as_ref().map(|(_, s)| &s[..]))?;
    if args.dry_run {
        print_settings(&resolved)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (old_data, old_command) = before.map(|(args, _)| (args.data, args.command)).unzip();
    let data = match args.local_data.as_ref().or(old_data.as_ref()) {
        Some(place) => match photos(place, &stop)? {
            Some(photos) => RunData::Photos(photos),
            None => return Ok(ExitCode::SUCCESS),
        },
        None if args.demo => RunData::Demo,
        None => return Err(NO_DATA.into()),
    };
    let to_s3 = args
        .output
        .as_deref()
        .map(s3::address)
        .transpose()?
        .flatten();
    if let Some(address) = &to_s3 {
        s3::check_writable(address)?;
    }
    let destination = match resumed {
        Some(folder) => Destination::Resumed(folder),
        None => Destination::New {
            // What goes to S3 is made here first, in a folder of its own.
            output: args.output.clone().filter(|_| to_s3.is_none()),
        },
    };
    let start = Start {
        data,
        destination,
        command: old_command,
        feature_cache: args.feature_cache.clone(),
        stop,
    };
    ended(resolved, start, to_s3.as_ref())
}

/// The photos at `place`, a folder or an address in S3; `None` where a signal came while they were fetched.
pub fn photos(place: &Path, stop: &StopSignal) -> Result<Option<DataSource>, CommandError> {
    let folder = match s3::address(place)? {
        None => absolute(place),
        Some(address) => match s3::fetch_folder(&address, &|| stop.requested().is_some())? {
            Some(folder) => folder,
            None => {
                tracing::warn!("stopped by SIGTERM while data came in: there is no model");
                return Ok(None);
            }
        },
    };
    Ok(Some(DataSource::of(Images::in_folder(&folder)?)))
}

/// What is left to say once the configuration is resolved.
pub struct Start {
    pub data: RunData,
    pub destination: Destination,
    /// The command that made the run, where that is an earlier one than this.
    pub command: Option<Vec<String>>,
    /// Folder in which runs share the features of a frozen backbone.
    pub feature_cache: Option<PathBuf>,
    pub stop: StopSignal,
}

/// Trains, sends the results `to` S3 if they belong there, and turns the way it ended into an exit code.
pub fn ended(
    resolved: Resolved,
    start: Start,
    to: Option<&S3Uri>,
) -> Result<ExitCode, CommandError> {
    let command = start.command.unwrap_or_else(|| {
        let typed = std::env::args_os();
        typed
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect()
    });
    let trained = train(
        resolved,
        Request {
            data: start.data,
            destination: start.destination,
            command,
            feature_cache: start.feature_cache,
            stop: start.stop,
        },
    )?;
    if let Some(address) = to {
        s3::send_folder(&trained.folder, address)?;
    }
    Ok(match trained.ended {
        Ended::Stopped(Stop::Interrupt) => ExitCode::from(INTERRUPTED),
        _ => ExitCode::SUCCESS,
    })
}

/// Folds everything that was said: command line, the run that is resumed, file, environment, demo.
fn resolve_all(
    args: &TrainArgs,
    resumed: Option<&RunFolder>,
    before: Option<&[Setting]>,
) -> Result<Resolved, CommandError> {
    let mut layers = vec![Layer {
        source: Source::CommandLine,
        flags: args.flags.clone(),
    }];
    if let (Some(folder), Some(settings)) = (resumed, before) {
        layers.push(resumed_layer(
            &folder.path().display().to_string(),
            settings,
        )?);
    }
    if let Some(path) = &args.hyperparameters {
        layers.push(read_file(path)?);
    }
    layers.push(from_environment(&Environment::of_process())?);
    if args.demo {
        layers.push(demo_layer()?);
    }
    let mut resolved = resolve(&layers)?;
    if let Some(settings) = before {
        settle_resumed(
            &mut resolved,
            settings,
            "leave the flag out, or start a new run",
        )?;
    }
    Ok(resolved)
}

/// What the demo sets.
pub fn demo_layer() -> Result<Layer, CommandError> {
    let pairs = DEMO_SETTINGS.map(|(k, v)| (k.to_string(), v.to_string()));
    Ok(Layer::from_pairs(Source::Demo, pairs)?)
}

pub const NO_DATA: &str = "no data to train on: give --local-data DIR, a folder of photos with train/ and valid/ (or just a \
folder per class), or try --demo, which needs no files";

/// The path from the root, so that a run can be resumed from anywhere; a path that does not exist stays as it was typed
/// for the error that follows.
fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Prints a table of settings with their origin.
pub fn print_settings(resolved: &Resolved) -> std::io::Result<()> {
    let width = |text: fn(&Setting) -> &str| {
        resolved
            .settings
            .iter()
            .map(|s| text(s).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (names, values) = (width(|s| &s.name), width(|s| &s.value));
    for setting in &resolved.settings {
        say_line(format_args!(
            "{:names$}  {:values$}  {}",
            setting.name, setting.value, setting.source
        ))?;
    }
    Ok(())
}
