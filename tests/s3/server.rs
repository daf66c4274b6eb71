//! A running `moto_server`, shared by the tests that run at the same time.

use std::{
    env,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, Weak},
    thread::sleep,
    time::{Duration, Instant},
};

/// A server; the process ends with it.
pub struct Server {
    process: Child,
    pub endpoint: String,
}

impl Server {
    /// The server of all tests, or `None`, said aloud, where there is none on this machine.
    pub fn shared() -> Option<Arc<Self>> {
        static RUNNING: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap();
        if let Some(server) = running.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start(&[])?);
        *running = Arc::downgrade(&server);
        Some(server)
    }

    /// A server of one's own with variables of the environment.
    pub fn start(variables: &[(&str, &str)]) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("skipped: no moto_server; install it, or set SAGEMAKER_BURN_MOTO_SERVER");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            process,
            endpoint: format!("http://127.0.0.1:{port}"),
        };
        let began = Instant::now();
        while ureq::get(format!("{}/moto-api/", server.endpoint))
            .call()
            .is_err()
        {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "moto_server does not start"
            );
            sleep(Duration::from_millis(50));
        }
        Some(server)
    }

    /// Makes a bucket, whose name must be the test's own.
    pub fn make_bucket(&self, name: &str) {
        let url = format!("{}/{name}", self.endpoint);
        ureq::put(url).send_empty().unwrap();
    }

    /// Writes an object without this program's client. `key` as it is in an address, with `%` codes.
    pub fn put(&self, bucket: &str, key: &str, content: impl AsRef<[u8]>) {
        put(&self.url(bucket, key), content.as_ref());
    }

    pub fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        ureq::get(self.url(bucket, key))
            .header("authorization", AUTHORIZATION)
            .call()
            .unwrap()
            .into_body()
            .read_to_vec()
            .unwrap()
    }

    pub fn delete(&self, bucket: &str, key: &str) {
        ureq::delete(self.url(bucket, key))
            .header("authorization", AUTHORIZATION)
            .call()
            .unwrap();
    }

    pub fn url(&self, bucket: &str, key: &str) -> String {
        format!("{}/{bucket}/{key}", self.endpoint)
    }
}

/// The server does not check signatures, but answers requests without any as those of a stranger.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// Writes to the address of an object, see [`Server::url`].
pub fn put(url: &str, content: &[u8]) {
    ureq::put(url)
        .header("authorization", AUTHORIZATION)
        .send(content)
        .unwrap();
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> Option<PathBuf> {
    if let Some(path) = env::var_os("SAGEMAKER_BURN_MOTO_SERVER") {
        return Some(path.into());
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join("moto_server"))
        .find(|path| path.is_file())
}
