//! The verbs of a multi-model endpoint.
//!
//! Input: requests of the platform to load, list, unload and invoke models. Output: answers in its words.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::app::{AddError, App};
use super::invocation;
use super::routes::{error, json_answer};

/// What the platform asks to load: a name, and the folder into which it unpacked the archive.
#[derive(Deserialize)]
pub struct Load {
    model_name: String,
    url: PathBuf,
}

pub async fn load(
    State(app): State<Arc<App>>,
    body: Result<Json<Load>, JsonRejection>,
) -> Response {
    let Json(Load { model_name, url }) = match body {
        Ok(body) => body,
        Err(e) => return error(StatusCode::BAD_REQUEST, e.body_text()),
    };
    if model_name.is_empty() {
        return error(StatusCode::BAD_REQUEST, "model_name is empty");
    }
    let loaded = tokio::task::spawn_blocking(move || app.add(&model_name, &url)).await;
    match loaded {
        Ok(Ok(())) => json_answer(StatusCode::OK, &json!({})),
        Ok(Err(e @ AddError::Taken { .. })) => error(StatusCode::CONFLICT, e),
        Ok(Err(e @ AddError::NoMemory)) => error(StatusCode::INSUFFICIENT_STORAGE, e),
        Ok(Err(e @ AddError::Load(_))) => error(StatusCode::BAD_REQUEST, e),
        Err(_) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error while loading",
        ),
    }
}

pub async fn list(State(app): State<Arc<App>>) -> Response {
    let models: Vec<Value> = app
        .models()
        .into_iter()
        .map(|(name, path)| entry(&name, &path))
        .collect();
    json_answer(StatusCode::OK, &json!({ "models": models }))
}

pub async fn describe(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    match app.model(&name) {
        Some(served) => json_answer(StatusCode::OK, &entry(&name, &served.path)),
        None => unknown(&name),
    }
}

pub async fn unload(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    match app.remove(&name) {
        true => json_answer(StatusCode::OK, &json!({})),
        false => unknown(&name),
    }
}

pub async fn invoke(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    match app.model(&name) {
        Some(served) => invocation::invoke(&app, served, request).await,
        None => unknown(&name),
    }
}

fn entry(name: &str, path: &std::path::Path) -> Value {
    json!({ "modelName": name, "modelUrl": path.display().to_string() })
}

fn unknown(name: &str) -> Response {
    error(
        StatusCode::NOT_FOUND,
        format_args!("no model {name:?} is loaded"),
    )
}
