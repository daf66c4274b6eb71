//! One invocation, from its body to its answer.
//!
//! Input: a request with pictures. Output: probabilities in the form that was asked for. A permit is taken before the body is read,
//! and another before the work begins: however many clients come, only so many bodies are in memory, and slow ones keep no others
//! out.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::app::{App, ONLY, PICTURES};
use super::body::{BodyError, Received, receive};
use super::codec::{self, Answer, Labels, Limits, ModelInfo, Picture};
use super::engine::EngineError;
use super::prepare::{MAX_PIXELS, prepare};
use super::routes::error;
use super::served::Served;

/// Most pictures of a request; no more than [`App::pictures`] has permits.
const MAX_PICTURES: usize = PICTURES;
/// Passed through from the client to the answer, as the platform's contract says.
const CUSTOM: HeaderName = HeaderName::from_static("x-amzn-sagemaker-custom-attributes");

/// Why there are no probabilities: whose fault it is, and what to do.
struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: impl ToString) -> Self {
        Refusal {
            status,
            message: message.to_string(),
        }
    }

    fn busy() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests at once; try again in a moment",
        )
    }

    fn into_response(self) -> Response {
        let mut response = error(self.status, self.message);
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The model of a usual endpoint.
pub async fn only(State(app): State<Arc<App>>, request: Request) -> Response {
    match app.model(ONLY) {
        Some(served) => invoke(&app, served, request).await,
        None if app.settings.multi_model => error(
            StatusCode::BAD_REQUEST,
            "this is a multi-model endpoint: POST /models/{name}/invoke",
        ),
        None => error(StatusCode::SERVICE_UNAVAILABLE, "the model is being loaded"),
    }
}

/// Answers a request from `served`, and counts it.
pub async fn invoke(app: &App, served: Arc<Served>, request: Request) -> Response {
    let started = Instant::now();
    let _in_flight = app.metrics.begin();
    let custom = request.headers().get(CUSTOM).cloned();
    let mut response = match answer(app, served, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    if let Some(custom) = custom {
        response.headers_mut().insert(CUSTOM, custom);
    }
    app.metrics
        .request(response.status().as_u16(), started.elapsed());
    response
}

async fn answer(app: &App, served: Arc<Served>, request: Request) -> Result<Response, Refusal> {
    let Ok(reading) = app.readers.try_acquire() else {
        return Err(Refusal::busy());
    };
    let (parts, body) = request.into_parts();
    let asked = asked(app, &parts.headers)?;
    let body = receive(body, app.settings.max_payload_bytes, &app.bodies).await?;
    drop(reading);
    let Ok(_permit) = app.permits.try_acquire() else {
        return Err(Refusal::busy());
    };
    // From here on others may wait a moment for this one.
    let coming = served.engine.announce();
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let Received { bytes, room: _room } = body;
    let request = decode(app, &served, content_type, bytes).await?;
    let images = request.pictures.len();
    // What the network takes is larger than a photo's file, so only so many pictures are prepared and wait at once.
    let _prepared = app.pictures.acquire_many(images as u32).await;
    let values = prepared(app, &served, request.pictures).await?;
    let answer = served.engine.send(values, images).map_err(failed)?;
    drop(coming);
    let probabilities = answer.await.unwrap_or(Err(EngineError::Gone));
    let probabilities = probabilities.map_err(failed)?;
    let labels = Labels {
        classes: &served.classes,
        top_k: app.settings.top_k,
    };
    let model = ModelInfo {
        version: &served.version,
        architecture: &served.architecture,
        created: &served.created,
    };
    let (bytes, kind) = codec::encode(asked, request.shape, &probabilities, &labels, &model);
    Ok((
        [(header::CONTENT_TYPE, HeaderValue::from_static(kind))],
        bytes,
    )
        .into_response())
}

/// The form of the answer.
fn asked(app: &App, headers: &HeaderMap) -> Result<Answer, Refusal> {
    let negotiate = |accept: Option<&str>, default| {
        codec::negotiate(accept, default).map_err(|e| Refusal::new(StatusCode::NOT_ACCEPTABLE, e))
    };
    let default = negotiate(app.settings.default_accept.as_deref(), Answer::Json)?;
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    negotiate(accept, default)
}

impl From<BodyError> for Refusal {
    fn from(e: BodyError) -> Self {
        let status = match e {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Late => StatusCode::REQUEST_TIMEOUT,
            BodyError::NoRoom => StatusCode::TOO_MANY_REQUESTS,
            // A client that broke off reads no answer.
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        };
        Refusal::new(status, e)
    }
}

/// Reads the request on a thread that may block.
async fn decode(
    app: &App,
    served: &Served,
    content_type: Option<String>,
    bytes: Vec<u8>,
) -> Result<codec::Request, Refusal> {
    let limits = Limits {
        side: served.preprocess.crop,
        max_pictures: MAX_PICTURES,
        max_pixels: MAX_PIXELS,
    };
    let work = move || codec::decode(content_type.as_deref(), &bytes, &limits);
    on_a_core(app, work).await?.map_err(|e| {
        let status = StatusCode::from_u16(e.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Refusal::new(status, e)
    })
}

/// Decodes and preprocesses the pictures on a thread that may block.
async fn prepared(
    app: &App,
    served: &Arc<Served>,
    pictures: Vec<Picture>,
) -> Result<Vec<f32>, Refusal> {
    let (served, images) = (served.clone(), pictures.len());
    let work = move || prepare(pictures, &served.preprocess);
    on_a_core(app, work).await?.map_err(|(place, e)| {
        let message = match images {
            1 => format!("the picture cannot be used: {e}"),
            _ => format!("picture {place} (from 0) cannot be used: {e}"),
        };
        Refusal::new(StatusCode::BAD_REQUEST, message)
    })
}

/// Runs `work` on a thread that may block, when a core is free for it.
async fn on_a_core<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let _core = app.decoders.acquire().await;
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error while decoding",
        )
    })
}

fn failed(e: EngineError) -> Refusal {
    match e {
        EngineError::Full => Refusal::busy(),
        EngineError::Gone => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, e),
        EngineError::Failed(_) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, e),
    }
}
