//! `train` inside a SageMaker training job, and what goes with it: rehearsals and the derived environment.

use std::process::ExitCode;

use super::train::{Start, ended};
use super::{CommandError, say_line};
use crate::cli::{MetricDefinitionsArgs, SagemakerCommand, TrainArgs};
use crate::config::{
    Layer, Resolved, Setting, Source, from_environment, read_file, resolve, settle_resumed,
};
use crate::data::{DataSource, Images};
use crate::device::gpu_count;
use crate::run_folder::RunFolder;
use crate::sagemaker::{
    Channel, Channels, Environment, InputMode, Job, Paths, Rehearsal, derived_variables, init,
};
use crate::sinks::metric_definitions;
use crate::train::{Destination, RunData, StopSignal};

/// Trains as the job's files say.
pub fn run(args: &TrainArgs, paths: Paths, stop: StopSignal) -> Result<ExitCode, CommandError> {
    for (flag, typed) in [
        ("--output", args.output.is_some()),
        ("--resume", args.resume.is_some()),
    ] {
        if typed {
            return Err(format!(
                "{flag} has no place in a training job: results go to {} and {}, and a checkpoint in {} is resumed by itself",
                paths.model.display(),
                paths.output_data.display(),
                paths.checkpoints.display()
            )
            .into());
        }
    }
    let environment = Environment::of_process();
    let job = Job::read(paths.with_output_configs()?, &environment)?;
    announce(&job);
    if job.resources.rank() > 0 && !args.dry_run {
        // Only one host computes as long as there is no training across hosts. Ending with an error would fail the whole job
        // of a user who, with a template or a tuner, asked for two; doing the same work twice would give every metric twice.
        tracing::warn!(
            "host {} has nothing to do: training uses one host, {}. Set InstanceCount to 1 to save the others' cost",
            job.resources.current_host,
            job.resources.hosts[0]
        );
        return Ok(ExitCode::SUCCESS);
    }
    let resolved = resolve_all(args, &job, &environment)?;
    if args.dry_run {
        super::train::print_settings(&resolved)?;
        return Ok(ExitCode::SUCCESS);
    }
    job.check_sharding(resolved.config.classes.is_some())?;
    let data = match (&args.local_data, args.demo) {
        (_, true) => RunData::Demo,
        (Some(place), false) => match super::train::photos(place, &stop)? {
            Some(photos) => RunData::Photos(photos),
            None => return Ok(ExitCode::SUCCESS),
        },
        (None, false) => RunData::Photos(data_source(&job.channels)?),
    };
    job.paths.prepare()?;
    let folder = RunFolder::of_job(&job.paths);
    let resolved = settle(resolved, &folder)?;
    announce_settings(&resolved);
    let start = Start {
        data,
        destination: Destination::Job(folder),
        command: None,
        feature_cache: args.feature_cache.clone(),
        stop,
    };
    ended(resolved, start, None)
}

/// Says what this job is.
fn announce(job: &Job) {
    let resources = &job.resources;
    tracing::info!(
        "SageMaker job in {}: host {} ({} of {}){}, GPUs: {}",
        job.paths.base().display(),
        resources.current_host,
        resources.rank() + 1,
        resources.hosts.len(),
        resources
            .instance_type
            .as_ref()
            .map_or(String::new(), |kind| format!(", {kind}")),
        match gpu_count() {
            0 => "none".to_string(),
            1 => "1".to_string(),
            count => format!("{count}, of which 1 is used"),
        }
    );
    for channel in job.channels.iter() {
        tracing::info!(
            "channel {}: {} ({:?})",
            channel.name,
            channel.path.display(),
            channel.mode
        );
    }
}

/// Says what was set, not the defaults. Without `=`, so that no expression for metrics matches.
fn announce_settings(resolved: &Resolved) {
    let set = resolved
        .settings
        .iter()
        .filter(|s| !s.source.starts_with("default"));
    for setting in set {
        tracing::info!("{}: {} ({})", setting.name, setting.value, setting.source);
    }
}

/// Command line, hyperparameters, environment, channels, and what is different in a job.
fn resolve_all(
    args: &TrainArgs,
    job: &Job,
    environment: &Environment,
) -> Result<Resolved, CommandError> {
    let mut layers = vec![Layer {
        source: Source::CommandLine,
        flags: args.flags.clone(),
    }];
    for file in args.hyperparameters.iter().chain(&job.hyperparameters) {
        layers.push(read_file(file)?);
    }
    layers.push(from_environment(environment)?);
    if args.demo {
        layers.push(super::train::demo_layer()?);
    }
    layers.extend(channel_layers(&job.channels)?);
    let mut own = vec![("checkpoint-interval".to_string(), "5m".to_string())];
    let hook = &job.paths.hook_config;
    if hook.is_file() {
        own.push(("debugger".to_string(), hook.display().to_string()));
    }
    layers.push(Layer::from_pairs(Source::Job, own)?);
    Ok(resolve(&layers)?)
}

/// Weights and class names that came through channels.
fn channel_layers(channels: &Channels) -> Result<Vec<Layer>, CommandError> {
    let mut layers = Vec::new();
    let mut add = |channel: &Channel, key: &str, value: String| {
        let source = Source::Channel(channel.name.clone());
        Layer::from_pairs(source, [(key.to_string(), value)]).map(|layer| layers.push(layer))
    };
    // An earlier model of one's own knows more than pretrained weights do.
    if let Some(channel) = channels.model() {
        let folder = channel.folder()?;
        let path = match crate::artifact::is_model(folder) {
            true => folder.to_owned(),
            false => channel.only_file(&[".tar.gz", ".tgz"])?,
        };
        add(channel, "weights", path.display().to_string())?;
    } else if let Some(channel) = channels.weights() {
        let file = channel.only_file(&[".onnx", ".tar.gz", ".tgz"])?;
        add(channel, "weights", file.display().to_string())?;
    }
    if let Some(channel) = channels.classes() {
        add(
            channel,
            "classes",
            channel.only_file(&[])?.display().to_string(),
        )?;
    }
    Ok(layers)
}

/// The photos of the channels.
fn data_source(channels: &Channels) -> Result<DataSource, CommandError> {
    let train = channels.require_train()?;
    let valid = channels.valid();
    // Nothing that is wrong with test images is worth a training.
    let test = channels.test().and_then(|test| {
        images(test, None)
            .map_err(|error| tracing::warn!("no test images: {error}"))
            .ok()
    });
    Ok(DataSource {
        train: images(train, channels.train_list())?,
        valid: valid
            .map(|valid| images(valid, channels.valid_list()))
            .transpose()?,
        test,
        classes: None,
    })
}

/// The images of a channel, with the list of them where another channel holds one.
fn images(channel: &Channel, list: Option<&Channel>) -> Result<Images, CommandError> {
    match (channel.mode, list) {
        (InputMode::Pipe, _) => Ok(Images::Pipe {
            fifo: channel.path.clone(),
            wrapper: channel.wrapper,
        }),
        (_, Some(list)) => Ok(Images::List {
            list: list.only_file(&[".lst"])?,
            images: channel.folder()?.to_owned(),
        }),
        (_, None) => Ok(Images::in_folder(channel.folder()?)?),
    }
}

/// Makes sure that a job which finds a checkpoint is the job that wrote it.
fn settle(mut resolved: Resolved, folder: &RunFolder) -> Result<Resolved, CommandError> {
    if !folder.has_checkpoint() {
        return Ok(resolved);
    }
    match folder.read_args() {
        Ok((_, before)) => {
            let before: Vec<Setting> = before
                .into_iter()
                .filter(|old| old.name != "model")
                .collect();
            let advice = format!(
                "give the job the same hyperparameters, or another CheckpointConfig.S3Uri (here: empty {}) to start anew",
                folder.weights().display()
            );
            settle_resumed(&mut resolved, &before, &advice)?;
        }
        Err(error) => tracing::warn!(
            "{error}; whether the checkpoint was made with these hyperparameters is not known"
        ),
    }
    Ok(resolved)
}

/// `metric-definitions`.
pub fn print_metric_definitions(args: &MetricDefinitionsArgs) -> Result<(), CommandError> {
    let definitions = metric_definitions((args.top_k > 1).then_some(args.top_k));
    say_line(format_args!(
        "{}",
        serde_json::to_string_pretty(&definitions)?
    ))?;
    Ok(())
}

/// `sagemaker init|env`.
pub fn sagemaker(command: &SagemakerCommand) -> Result<(), CommandError> {
    match command {
        SagemakerCommand::Init {
            dir,
            data,
            weights,
            hyperparameters,
        } => {
            let rehearsal = Rehearsal {
                data,
                weights: weights.as_deref(),
                hyperparameters: hyperparameters.clone(),
            };
            let channels = init(dir, &rehearsal)?;
            let shown = dir.display();
            say_line(format_args!(
                "{shown} is laid out like /opt/ml, with the channels {}",
                channels.join(", ")
            ))?;
            say_line(format_args!(
                "\nhyperparameters  {shown}/input/config/hyperparameters.json\n\
                 rehearse         SAGEMAKER_BASE_DIR={shown} sagemaker-burn train\n\
                 the model        {shown}/model\n\
                 the report       {shown}/output/data/report.html\n\
                 if it fails      {shown}/output/failure"
            ))?;
        }
        SagemakerCommand::Env => {
            let environment = Environment::of_process();
            let paths = Paths::find(&environment).ok_or(
                "no job here: there is no /opt/ml/input/config, and SAGEMAKER_BASE_DIR is not set",
            )?;
            let job = Job::read(paths, &environment)?;
            let hyperparameters = match &job.hyperparameters {
                Some(file) => serde_json::from_slice(&std::fs::read(file)?)
                    .map_err(|error| format!("{}: {error}", file.display()))?,
                None => serde_json::Map::new(),
            };
            for (name, value) in derived_variables(&job, &hyperparameters, gpu_count()) {
                let value = environment.get(&name).unwrap_or(&value);
                say_line(format_args!("{name}={value}"))?;
            }
        }
    }
    Ok(())
}
