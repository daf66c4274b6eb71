//! A running endpoint.
//!
//! Input: a model and flags. Output: [`Server`], which is killed when it is dropped, and [`Answer`]s.

use std::{
    net::TcpStream,
    process::Command,
    sync::{Arc, Mutex, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::main_job::{
    run::{Ended, Sandbox},
    running::Running,
};

/// A sandbox whose `run` holds a model, shared by the tests that run at the same time.
pub fn trained() -> Arc<Sandbox> {
    static TRAINED: Mutex<Weak<Sandbox>> = Mutex::new(Weak::new());
    let mut trained = TRAINED.lock().unwrap();
    trained.upgrade().unwrap_or_else(|| {
        let sandbox = Arc::new(Sandbox::with_model());
        *trained = Arc::downgrade(&sandbox);
        sandbox
    })
}

/// The binary serving on a free port.
pub struct Server {
    running: Running,
    pub address: String,
    /// Keeps the model in its place.
    _model: Arc<Sandbox>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub custom: String,
    pub retry_after: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// Fails the test unless the status is 200.
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }

    /// Fails the test unless it is this error, in JSON, with each of `texts` in it.
    pub fn refused(self, status: u16, texts: &[&str]) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        let error = self.json()["error"].as_str().unwrap().to_owned();
        for text in texts {
            assert!(error.contains(text), "{text:?} in {error:?}");
        }
        assert!(error.len() <= 2048);
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// `[p0, p1, …]`.
    pub fn probabilities(&self) -> Vec<f32> {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

impl Server {
    /// Serves the model of [`trained`] and waits until it is ready.
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(flags: &[&str]) -> Self {
        let mut arguments = vec!["serve", "--model", "run", "--port", "0"];
        arguments.extend(flags);
        Self::of(trained().command(&arguments))
    }

    /// Starts any command that serves, and waits until it is ready.
    pub fn of(command: Command) -> Self {
        let mut running = Running::start(command);
        let line = running.line_with(" on ").expect("it serves");
        let port = line
            .split([':', ' ', ';'])
            .filter_map(|part| part.parse::<u16>().ok())
            .find(|port| *port > 1023)
            .unwrap_or_else(|| panic!("no port in {line:?}"));
        let server = Server {
            running,
            address: format!("http://127.0.0.1:{port}"),
            _model: trained(),
        };
        server.wait_until_ready();
        server
    }

    /// Starts a command that serves on `port` and waits until it listens, which is before its model is there.
    pub fn loading(command: Command, port: u16) -> Self {
        let server = Server {
            running: Running::start(command),
            address: format!("http://127.0.0.1:{port}"),
            _model: trained(),
        };
        within_seconds(30, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    pub fn wait_until_ready(&self) {
        within_seconds(30, || self.get("/ping").status == 200);
    }

    pub fn get(&self, path: &str) -> Answer {
        let request = agent().get(format!("{}{path}", self.address));
        answer(request.call())
    }

    pub fn delete(&self, path: &str) -> Answer {
        answer(agent().delete(format!("{}{path}", self.address)).call())
    }

    /// Posts to `/invocations`.
    pub fn invoke(&self, kind: &str, body: &[u8]) -> Answer {
        self.post("/invocations", &[("content-type", kind)], body)
    }

    /// Posts to `/invocations` and asks for a form of the answer.
    pub fn invoke_for(&self, kind: &str, accept: &str, body: &[u8]) -> Answer {
        self.post(
            "/invocations",
            &[("content-type", kind), ("accept", accept)],
            body,
        )
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        post(&format!("{}{path}", self.address), headers, body)
    }

    pub fn signal(&self, name: &str) {
        self.running.signal(name);
    }

    pub fn end(self) -> Ended {
        self.running.end()
    }
}

/// Asks until the answer is yes.
fn within_seconds(seconds: u64, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(seconds));
        thread::sleep(Duration::from_millis(5));
    }
}

/// Posts to an address; for threads, which cannot share a [`Server`].
pub fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = agent().post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request.send(body))
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)));
    config.build().new_agent()
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let response = response.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    Answer {
        status: response.status().as_u16(),
        kind: header("content-type"),
        custom: header("x-amzn-sagemaker-custom-attributes"),
        retry_after: header("retry-after"),
        body: response
            .into_body()
            .with_config()
            .limit(1 << 28)
            .read_to_vec()
            .unwrap(),
    }
}
