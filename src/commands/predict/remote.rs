//! A photo classified by a running server, with the request that any client would send.
//!
//! Input: the server's address and a photo. Output: its most probable classes.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::{Guess, Guesses};

/// As long as SageMaker gives an invocation.
const TIMEOUT: Duration = Duration::from_secs(60);
const VERBOSE: &str = "application/json; verbose=1";

/// What a verbose answer holds, as far as it matters here.
#[derive(Deserialize)]
struct Answer {
    predictions: Vec<Prediction>,
}

#[derive(Deserialize)]
struct Prediction {
    top: Vec<Top>,
}

#[derive(Deserialize)]
struct Top {
    class: String,
    index: usize,
    probability: f32,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Sends the photo at `image` to `<url>/invocations`. The server decides how many classes it names; at most `top_k` come back.
pub fn ask(url: &str, image: &Path, top_k: usize) -> Guesses {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", image.display());
    let photo = std::fs::read(image).map_err(|error| failed(&error))?;
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT));
    let address = match url.trim_end_matches('/') {
        whole if whole.ends_with("/invocations") => whole.to_string(),
        base => format!("{base}/invocations"),
    };
    let response = config
        .build()
        .new_agent()
        .post(&address)
        .header("content-type", "application/octet-stream")
        .header("accept", VERBOSE)
        .send(photo.as_slice());
    let response = response.map_err(|error| {
        format!("--endpoint {address}: {error}; is `sagemaker-burn serve` running there?")
    })?;
    let status = response.status();
    let body = response
        .into_body()
        .read_to_vec()
        .map_err(|error| failed(&error))?;
    if !status.is_success() {
        let refusal = serde_json::from_slice::<Refusal>(&body);
        return Err(failed(&match refusal {
            Ok(Refusal { error }) => error,
            Err(_) => format!("the server answers {status}"),
        }));
    }
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|error| failed(&format!("not an answer of this program's server: {error}")))?;
    let top = answer
        .predictions
        .into_iter()
        .next()
        .map(|prediction| prediction.top);
    let guess = |top: Top| Guess {
        class: top.class,
        index: top.index,
        probability: top.probability,
    };
    Ok(top
        .unwrap_or_default()
        .into_iter()
        .take(top_k)
        .map(guess)
        .collect())
}
