//! One invocation, from its body to its answer.
//!
//! Input: a request with pictures. Output: probabilities in the form that was asked for. A permit is taken before the body is read,
//! and another before the work begins: however many clients come, only so many bodies are in memory, and slow ones keep no others
//! out.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::app::{App, ONLY};
use super::codec::{self, Answer, Labels, Limits, ModelInfo, Shape};
use super::engine::EngineError;
use super::prepare::prepare;
use super::routes::error;
use super::served::Served;

/// SageMaker itself gives up after 60 seconds.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Most pictures of a request.
const MAX_PICTURES: usize = 256;
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
    let body = read(body, app.settings.max_payload_bytes).await?;
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
    let (values, images, shape) = decode(app, &served, content_type, body).await?;
    let classified = served.engine.classify(values, images);
    drop(coming);
    let probabilities = classified.await.map_err(failed)?;
    let labels = Labels {
        classes: &served.classes,
        top_k: app.settings.top_k,
    };
    let model = ModelInfo {
        version: &served.version,
        architecture: &served.architecture,
        created: &served.created,
    };
    let (bytes, kind) = codec::encode(asked, shape, &probabilities, &labels, &model);
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

/// The whole body, if it is not too large and comes in time.
async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_TIMEOUT, read_within(body, limit)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes.into()),
        Ok(Ok(None)) => {
            let message = format!("the request is larger than {} MB", limit >> 20);
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        // A client that broke off reads no answer.
        Ok(Err(e)) => Err(Refusal::new(StatusCode::BAD_REQUEST, e)),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not come within 60 s",
        )),
    }
}

/// The body, or `None` if it is larger than `limit`. What is too much is read and thrown away, up to four times the limit: most
/// clients look at the answer only after they have sent everything.
async fn read_within(mut body: Body, limit: usize) -> Result<Option<Vec<u8>>, axum::Error> {
    let announced = body.size_hint().lower() as usize;
    let mut bytes = Vec::with_capacity(announced.min(limit));
    let mut received = 0;
    while received <= 4 * limit {
        let next = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(frame) = next else {
            return Ok((received <= limit).then_some(bytes));
        };
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        received += data.len();
        if received <= limit {
            bytes.extend_from_slice(&data);
        } else {
            bytes = Vec::new();
        }
    }
    Ok(None)
}

/// Decodes and preprocesses on a thread that may block.
async fn decode(
    app: &App,
    served: &Arc<Served>,
    content_type: Option<String>,
    body: Bytes,
) -> Result<(Vec<f32>, usize, Shape), Refusal> {
    let _core = app.decoders.acquire().await;
    let served = served.clone();
    let work = move || {
        let limits = Limits {
            side: served.preprocess.crop,
            max_pictures: MAX_PICTURES,
            max_pixels: 50_000_000,
        };
        let request = codec::decode(content_type.as_deref(), &body, &limits).map_err(|e| {
            let status = StatusCode::from_u16(e.status()).unwrap_or(StatusCode::BAD_REQUEST);
            Refusal::new(status, e)
        })?;
        let images = request.pictures.len();
        let values = prepare(request.pictures, &served.preprocess).map_err(|(place, e)| {
            let message = match images {
                1 => format!("the picture cannot be used: {e}"),
                _ => format!("picture {place} (from 0) cannot be used: {e}"),
            };
            Refusal::new(StatusCode::BAD_REQUEST, message)
        })?;
        Ok((values, images, request.shape))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error while decoding",
        )),
    }
}

fn failed(e: EngineError) -> Refusal {
    match e {
        EngineError::Full => Refusal::busy(),
        EngineError::Gone => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, e),
        EngineError::Failed(_) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, e),
    }
}
