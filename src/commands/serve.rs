//! `serve`: the endpoint.

use std::path::PathBuf;
use std::time::Duration;

use super::CommandError;
use crate::artifact;
use crate::cli::ServeArgs;
use crate::device::select;
use crate::run_folder::newest_model;
use crate::sagemaker::{Environment, Paths};
use crate::serve::{Batching, Settings, run as serve};

pub fn run(args: &ServeArgs) -> Result<(), CommandError> {
    #[cfg(target_os = "linux")]
    crate::sagemaker::wait_for_all()?;
    let environment = Environment::of_process();
    let hosted = match &args.model {
        Some(_) => None,
        None => hosted_model(&environment),
    };
    let mut settings = Settings::of_environment(&environment, hosted.is_some())?;
    settings.page |= args.page;
    settings.host = args.host.unwrap_or(settings.host);
    settings.port = args.port.unwrap_or(settings.port);
    settings.top_k = args.top_k;
    settings.max_in_flight = args.max_in_flight;
    let model = match (&args.model, hosted) {
        _ if settings.multi_model => None,
        (Some(path), _) => Some(path.clone()),
        (None, Some(path)) => Some(path),
        (None, None) => Some(newest_model()?),
    };
    // Before the port is taken: a path that is mistyped is no model that is being loaded.
    if let Some(path) = model.as_ref().filter(|path| !artifact::is_model(path)) {
        return Err(artifact::ArtifactError::NotAModel { path: path.clone() }.into());
    }
    let device = select(args.device)?;
    tracing::info!("device: {} ({})", device.name, device.why);
    let batching = Batching {
        max_batch: args.max_batch,
        delay: Duration::from_millis(args.batch_delay_ms),
        queue: settings.max_in_flight,
    };
    Ok(serve(model, settings, batching, device)?)
}

/// The folder into which SageMaker unpacked the model, where this is one of its containers.
fn hosted_model(environment: &Environment) -> Option<PathBuf> {
    let paths = Paths::of_container(environment)?;
    paths.model.is_dir().then_some(paths.model)
}
