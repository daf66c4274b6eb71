//! The endpoint: a trained model behind HTTP.
//!
//! ```text
//! connections -> routes -> invocation: permit, body -> codec::decode -> prepare -> engine -> codec::encode
//!                  |                                     (threads that may block)   (one thread, batches)
//!                  '-> ping, metrics, execution parameters, multi_model, page
//! ```
//!
//! Input: a model directory and [`Settings`]. Output: answers, until a signal comes. It listens at once and says 503 until the
//! model is loaded and warm.

mod app;
mod body;
pub mod codec;
mod connections;
mod engine;
mod invocation;
mod metrics;
mod multi_model;
pub mod page;
mod prepare;
mod routes;
mod served;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use app::{AddError, App, ONLY};
pub use engine::Batching;
pub use settings::{SettingError, Settings, Transform};

use crate::device::Selected;

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{0}")]
    Listen(String),
    #[error(transparent)]
    Model(#[from] AddError),
    #[error("the server cannot be started: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("the model could not be loaded: internal error, see the log")]
    LoaderDied,
}

/// Serves the model at `path` until a signal comes. Without a path, which only a multi-model endpoint can have, models are loaded
/// by request.
///
/// # Errors
/// The address is taken, or the model cannot be loaded.
pub fn run(
    path: Option<PathBuf>,
    settings: Settings,
    batching: Batching,
    device: Selected,
) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let app = Arc::new(App::new(settings, batching, device));
    let served = runtime.block_on(serve(app, path));
    // A thread that still decodes for nobody must not hold the end up.
    runtime.shutdown_background();
    served
}

async fn serve(app: Arc<App>, path: Option<PathBuf>) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let address = SocketAddr::from((app.settings.host, app.settings.port));
    let listener = connections::bind(address)
        .await
        .map_err(ServeError::Listen)?;
    let address = listener.local_addr()?;
    let (failed, mut failure) = oneshot::channel();
    load(app.clone(), path, address, failed);
    let mut error = None;
    let stop = async {
        let mut failure_is_possible = true;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                result = &mut failure, if failure_is_possible => match result {
                    Ok(failed) => {
                        error = Some(failed);
                        break;
                    }
                    Err(_) => failure_is_possible = false,
                },
            }
        }
        tracing::info!("stopping: requests under way are answered");
    };
    connections::serve(listener, routes::router(app.clone()), stop).await;
    match error {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Loads the model on a thread of its own and says when it is there; `failed` hears of it where it is not.
fn load(
    app: Arc<App>,
    path: Option<PathBuf>,
    address: SocketAddr,
    failed: oneshot::Sender<ServeError>,
) {
    let started = Instant::now();
    let Some(path) = path else {
        tracing::info!("listening on {address}; models are loaded by request");
        return;
    };
    tokio::task::spawn_blocking(move || match app.add(ONLY, &path) {
        Ok(()) => {
            tracing::info!(
                "serving {} on {address} ({}), ready after {:.2} s",
                path.display(),
                app.device.name,
                started.elapsed().as_secs_f64()
            );
            if app.settings.page {
                tracing::info!("open http://{address}/ and drop a photo on it");
            }
        }
        Err(error) => {
            // Nobody listens any more if a signal came first.
            let _ = failed.send(error.into());
        }
    });
}
