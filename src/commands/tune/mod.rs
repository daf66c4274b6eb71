//! `tune`: the search for hyperparameters on this machine.

mod place;
mod setup;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::place::{DEMO, data_of, draw_demo, next_free, under_way};
use self::setup::{Setup, resolved_with};
use super::train::{NO_DATA, photos};
use super::{CommandError, say};
use crate::cli::TuneArgs;
use crate::data::DataError;
use crate::report::{duration, shell_line};
use crate::s3;
use crate::train::{Stop, StopSignal};
use crate::tune::{
    BEST, Bench, Options, PAGE, Runner, Status, Study, Table, Values, shown, slots, write_results,
};

/// Exit codes after signals, as shells expect them: 128 + SIGINT, 128 + SIGTERM.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

pub fn run(args: &TuneArgs) -> Result<ExitCode, CommandError> {
    let setup = Setup::of(args)?;
    if args.dry_run {
        return setup.print().map(|()| ExitCode::SUCCESS);
    }
    let stop = StopSignal::install()?;
    stop.started()?;
    let data = match &args.local_data {
        _ if args.demo => PathBuf::from(DEMO),
        Some(place) if s3::address(place)?.is_none() && !place.exists() => {
            return Err(DataError::Missing {
                path: place.clone(),
            }
            .into());
        }
        Some(place) => match photos(place, &stop)? {
            Some(source) => source.train.place().to_owned(),
            None => return Ok(ExitCode::from(TERMINATED)),
        },
        None => return Err(NO_DATA.into()),
    };
    let definition = setup.definition(data);
    let folder = match &args.output {
        Some(output) => output.clone(),
        None => under_way(&definition, setup.max_jobs).unwrap_or_else(next_free),
    };
    let mut study = Study::open(&folder, definition)?;
    if args.demo {
        draw_demo(&study)?;
    }
    let stopped = setup.search(args, &mut study, &stop)?;
    match stopped {
        None => setup.conclude(&study),
        Some(stop) => {
            tracing::warn!(
                "interrupted after {} of {} trials; go on with the same command: {}",
                study.ended().count(),
                setup.max_jobs,
                shell_line(&typed_with_output(args, &study.folder))
            );
            Ok(ExitCode::from(match stop {
                Stop::Interrupt => INTERRUPTED,
                Stop::Terminate | Stop::Rule => TERMINATED,
            }))
        }
    }
}

impl Setup {
    fn search(
        &self,
        args: &TuneArgs,
        study: &mut Study,
        stop: &StopSignal,
    ) -> Result<Option<Stop>, CommandError> {
        let available_bytes = crate::memory::available_bytes();
        let at_once = slots(args.parallel, available_bytes, self.need_bytes);
        if at_once < args.parallel {
            tracing::warn!(
                "memory for {at_once} trials at once, not {}: each may take {:.1} GB and {:.1} GB are free",
                args.parallel,
                self.need_bytes as f64 / 1e9,
                available_bytes.unwrap_or(0) as f64 / 1e9
            );
        }
        let done = study.ended().count();
        tracing::info!(
            "study {}: {} trials at most, {}{}",
            study.folder.display(),
            self.max_jobs,
            self.space,
            match done {
                0 => String::new(),
                _ => format!("; {done} are done"),
            }
        );
        let bench = self.bench(study, at_once, available_bytes);
        let options = Options {
            max_jobs: self.max_jobs,
            parallel: at_once,
            available_bytes,
            need_bytes: self.need_bytes,
            keep_models: args.keep_models,
        };
        let plan = |values: &Values| match resolved_with(&self.layers, Some(values)) {
            Ok(resolved) => (resolved.config.epochs, resolved.config.report_best),
            // Training will say what is wrong.
            Err(_) => (
                self.resolved.config.epochs,
                self.resolved.config.report_best,
            ),
        };
        Ok(Runner::new(study, bench, options, &plan).run(stop)?)
    }

    /// What the trials share. Side by side they share the processor and the memory for decoded images.
    fn bench(&self, study: &Study, at_once: usize, available_bytes: Option<u64>) -> Bench {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut machine = Vec::new();
        let mut share = |name: &str, value: u64| {
            if !self.fixed.contains_key(name) {
                machine.extend([format!("--{name}"), value.to_string()]);
            }
        };
        if at_once > 1 {
            share("workers", cores.div_ceil(at_once) as u64);
            let quarter = available_bytes.unwrap_or(4_000_000_000) / 4_000_000;
            share("cache-mb", quarter / at_once as u64);
        }
        let is_set = std::env::var_os("RAYON_NUM_THREADS").is_some();
        Bench {
            data: data_of(study),
            fixed: self.fixed.clone(),
            machine,
            threads: (at_once > 1 && !is_set).then(|| cores.div_ceil(at_once)),
            features: study.folder.join("features"),
            head_only: self.head_only,
        }
    }

    /// Says what came of it, and what to do next.
    fn conclude(&self, study: &Study) -> Result<ExitCode, CommandError> {
        let next = self.next(study);
        let command: Vec<String> = std::env::args_os()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        write_results(study, &command, &next)?;
        say(format_args!("{}", Table::of(study).text()))?;
        let Some((best, value)) = study.best() else {
            let first = study
                .ended()
                .find_map(|(_, outcome)| outcome.reason.clone());
            return Err(format!(
                "every trial failed, the first one with: {}",
                first.unwrap_or_default()
            )
            .into());
        };
        let seconds: f64 = study.ended().map(|(_, outcome)| outcome.seconds).sum();
        let failed = study
            .ended()
            .filter(|(_, outcome)| outcome.status == Status::Failed);
        let failed = failed.count();
        if failed > 0 {
            tracing::warn!("{failed} trials failed; jobs.csv and their log.txt say why");
        }
        let shown_folder = study.folder.display();
        tracing::info!(
            "\nbest: trial {} with {} {value:.4} ({})",
            best.number,
            self.objective.metric,
            shown(&best.values)
        );
        tracing::info!(
            "  trials  {} in {}",
            study.ended().count(),
            duration(seconds)
        );
        tracing::info!("  model   {shown_folder}/model");
        tracing::info!("  jobs    {shown_folder}/jobs.csv");
        tracing::info!("  page    {shown_folder}/{PAGE}");
        tracing::info!("\nnext, the final training:");
        tracing::info!("  {next}");
        Ok(ExitCode::SUCCESS)
    }

    /// The command that trains with the best hyperparameters.
    fn next(&self, study: &Study) -> String {
        let words = [
            "sagemaker-burn".to_string(),
            "train".into(),
            "--local-data".into(),
            data_of(study).display().to_string(),
            "--hyperparameters".into(),
            study.folder.join(BEST).display().to_string(),
        ];
        shell_line(&words)
    }
}

/// The command as it was typed, with the study's folder, which names it for certain.
fn typed_with_output(args: &TuneArgs, folder: &Path) -> Vec<String> {
    let mut words: Vec<String> = std::env::args_os()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    if args.output.is_none() {
        words.extend(["--output".into(), folder.display().to_string()]);
    }
    words
}
