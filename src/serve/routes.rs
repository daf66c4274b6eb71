//! What the server answers to.
//!
//! ```text
//! GET  /ping                      200 once the model is loaded, 503 before
//! POST /invocations               pictures in, probabilities out
//! GET  /execution-parameters      for batch transform
//! GET  /metrics                   for Prometheus
//! GET  /models  POST /models  GET|DELETE /models/{name}  POST /models/{name}/invoke     multi-model endpoints
//! GET  /  /model  /examples/{name}                                                      for people, if asked
//! ```
//!
//! Input: HTTP requests. Output: HTTP answers; errors are `{"error": "…"}` with a status that says whose fault it is.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::app::{App, ONLY};
use super::page::PAGE;
use super::{invocation, multi_model};

/// The routes of a server with these settings.
pub fn router(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/ping", get(ping))
        .route("/invocations", post(invocation::only))
        .route("/execution-parameters", get(execution_parameters))
        .route("/metrics", get(metrics));
    if app.settings.multi_model {
        router = router
            .route("/models", get(multi_model::list).post(multi_model::load))
            .route(
                "/models/{name}",
                get(multi_model::describe).delete(multi_model::unload),
            )
            .route("/models/{name}/invoke", post(multi_model::invoke));
    }
    if app.settings.page {
        router = router
            .route("/", get(page))
            .route("/model", get(model))
            .route("/examples/{name}", get(example));
    }
    router
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// An error as JSON, short enough to be passed on by the platform.
pub fn error(status: StatusCode, message: impl std::fmt::Display) -> Response {
    let message: String = message.to_string().chars().take(1000).collect();
    json_answer(status, &json!({ "error": message }))
}

pub fn json_answer(status: StatusCode, value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, value.to_string()).into_response()
}

async fn ping(State(app): State<Arc<App>>) -> StatusCode {
    // Without a model a multi-model endpoint is ready to load one.
    match app.settings.multi_model || app.model(ONLY).is_some() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn execution_parameters(State(app): State<Arc<App>>) -> Response {
    let transform = &app.settings.transform;
    let parameters = json!({
        "MaxConcurrentTransforms": transform.max_concurrent,
        "BatchStrategy": transform.strategy,
        "MaxPayloadInMB": transform.max_payload_mb,
    });
    json_answer(StatusCode::OK, &parameters)
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let version = app
        .model(ONLY)
        .map(|served| served.version.clone())
        .unwrap_or_default();
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (kind, app.metrics.render(&version)).into_response()
}

async fn page() -> Response {
    // Nothing from elsewhere may run or be fetched, whatever a class is called.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self'";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, PAGE).into_response()
}

async fn model(State(app): State<Arc<App>>) -> Response {
    match app.model(ONLY) {
        Some(served) => json_answer(StatusCode::OK, &served.describe()),
        None => error(StatusCode::SERVICE_UNAVAILABLE, "the model is being loaded"),
    }
}

async fn example(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    match app.model(ONLY).and_then(|served| served.example(&name)) {
        Some(bytes) => ([(header::CONTENT_TYPE, "image/jpeg")], bytes).into_response(),
        None => error(StatusCode::NOT_FOUND, "no such example"),
    }
}

async fn nothing() -> Response {
    error(
        StatusCode::NOT_FOUND,
        "nothing here; GET /ping, POST /invocations",
    )
}

async fn wrong_method() -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong method; GET /ping, POST /invocations",
    )
}
