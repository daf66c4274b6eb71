//! Downloads from a server in the test itself, which answers each connection with the next line of a script.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::super::{BatchNormKind, Cache, Entry, ZooError};
use super::*;

/// How the server answers one connection.
#[derive(Clone, Copy)]
enum Answer {
    /// The file, or the part of it that is asked for.
    File,
    /// Half of what is asked for, then the end.
    HalfOfIt,
    /// The whole file, whatever part is asked for.
    WholeFile,
    /// Another file of the same size.
    OtherFile,
    /// A longer file.
    LongerFile,
    /// A status without a body.
    Status(u16),
    /// A redirect to another path of this server.
    Redirect,
}

struct Server {
    base_url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves `content` once for each answer, then refuses.
    fn start(content: Vec<u8>, script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        thread::spawn(move || {
            for answer in script {
                let (stream, _) = listener.accept().unwrap();
                let request = read_request(&stream);
                let start = range_start(&request);
                // Noted before the answer, so that whoever has the answer finds the note.
                seen.lock().unwrap().push(request);
                reply(stream, answer, start, &content);
            }
        });
        Self { base_url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    lines
        .take_while(|line| !line.is_empty())
        .map(|line| line.to_ascii_lowercase() + "\n")
        .collect()
}

fn range_start(request: &str) -> Option<usize> {
    let range = request
        .lines()
        .find_map(|line| line.strip_prefix("range: bytes="))?;
    range.strip_suffix('-')?.parse().ok()
}

fn reply(mut stream: TcpStream, answer: Answer, start: Option<usize>, content: &[u8]) {
    let whole = |body: &[u8]| {
        (
            format!("200 OK\r\nContent-Length: {}", body.len()),
            body.to_vec(),
        )
    };
    let (head, body) = match (answer, start) {
        (Answer::File | Answer::HalfOfIt, Some(start)) => (
            format!(
                "206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{}",
                content.len() - start,
                content.len() - 1,
                content.len()
            ),
            content[start..].to_vec(),
        ),
        (Answer::File | Answer::HalfOfIt | Answer::WholeFile, _) => whole(content),
        (Answer::OtherFile, _) => whole(&vec![b'x'; content.len()]),
        (Answer::LongerFile, _) => whole(&vec![b'x'; content.len() + 1]),
        (Answer::Status(status), _) => (format!("{status} No\r\nContent-Length: 0"), Vec::new()),
        (Answer::Redirect, _) => (
            "302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0".into(),
            Vec::new(),
        ),
    };
    let sent = if matches!(answer, Answer::HalfOfIt) {
        body.len() / 2
    } else {
        body.len()
    };
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    // The client may hang up first, which is part of some tests.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body[..sent]));
}

fn content() -> Vec<u8> {
    (0..200_000_u32).map(|i| (i * 31 % 251) as u8).collect()
}

fn entry(content: &[u8]) -> Entry {
    Entry {
        name: "tiny".into(),
        architecture: "resnet18".into(),
        file: "tiny.onnx".into(),
        bytes: content.len() as u64,
        sha256: Sha256::digest(content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        top1_percent: 70.0,
        batch_norm: BatchNormKind::Kept,
        licence: "Apache-2.0".into(),
        source: "a test".into(),
        urls: Vec::new(),
    }
}

struct Fetched {
    outcome: Result<PathBuf, ZooError>,
    requests: Vec<String>,
    folder: tempfile::TempDir,
}

impl Fetched {
    fn error(&self) -> String {
        self.outcome.as_ref().unwrap_err().to_string()
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|file| file.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn assert_whole(&self) {
        assert_eq!(fs::read(self.outcome.as_ref().unwrap()).unwrap(), content());
        assert_eq!(self.files(), ["tiny.onnx", "tiny.onnx.lock"]);
    }
}

/// Fetches through `script` into a cache that `prepare` may have filled.
fn fetch_into(script: &[Answer], prepare: impl FnOnce(&Path)) -> Fetched {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let server = Server::start(content(), script.to_vec());
    let cache = Cache::new(folder.path())
        .with_mirror(&server.base_url)
        .with_first_pause(Duration::ZERO);
    let outcome = cache.fetch(&entry(&content()), &mut |_| ());
    Fetched {
        outcome,
        requests: server.requests(),
        folder,
    }
}

fn fetch(script: &[Answer]) -> Fetched {
    fetch_into(script, |_| ())
}

#[test]
fn a_file_arrives_whole_and_is_not_fetched_twice() {
    let fetched = fetch(&[Answer::File]);
    fetched.assert_whole();
    let again = Cache::new(fetched.folder.path()).with_mirror("http://127.0.0.1:1");
    assert!(again.fetch(&entry(&content()), &mut |_| ()).is_ok());
    assert!(again.verify(&entry(&content())).is_ok());
}

#[test]
fn progress_ends_at_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(content(), vec![Answer::File]);
    let mut heard = Vec::new();
    let cache = Cache::new(folder.path()).with_mirror(&server.base_url);
    cache
        .fetch(&entry(&content()), &mut |progress| {
            heard.push(progress.done_bytes)
        })
        .unwrap();
    assert_eq!((heard[0], heard[heard.len() - 1]), (0, 200_000));
    assert!(heard.is_sorted());
}

#[test]
fn a_cut_download_goes_on_where_it_ended() {
    let fetched = fetch(&[Answer::HalfOfIt, Answer::HalfOfIt, Answer::File]);
    fetched.assert_whole();
    assert!(
        !fetched.requests[0].contains("range:"),
        "{:?}",
        fetched.requests
    );
    assert!(
        fetched.requests[1].contains("range: bytes=100000-"),
        "{:?}",
        fetched.requests
    );
    assert!(
        fetched.requests[2].contains("range: bytes=150000-"),
        "{:?}",
        fetched.requests
    );
}

#[test]
fn a_part_left_by_an_earlier_run_is_used() {
    let part = |folder: &Path| fs::write(folder.join("tiny.onnx.part"), &content()[..123]).unwrap();
    let fetched = fetch_into(&[Answer::File], part);
    fetched.assert_whole();
    assert!(
        fetched.requests[0].contains("range: bytes=123-"),
        "{:?}",
        fetched.requests
    );
    // A server that knows no ranges.
    fetch_into(&[Answer::WholeFile], part).assert_whole();
    // One that refuses them.
    fetch_into(&[Answer::Status(416), Answer::File], part).assert_whole();
}

#[test]
fn a_wrong_part_costs_a_second_download_and_nothing_else() {
    let wrong = |folder: &Path| fs::write(folder.join("tiny.onnx.part"), [7; 123]).unwrap();
    let fetched = fetch_into(&[Answer::File, Answer::File], wrong);
    fetched.assert_whole();
    assert!(
        !fetched.requests[1].contains("range:"),
        "{:?}",
        fetched.requests
    );
    let too_long = |folder: &Path| fs::write(folder.join("tiny.onnx.part"), [7; 200_001]).unwrap();
    fetch_into(&[Answer::File], too_long).assert_whole();
}

#[test]
fn a_whole_part_needs_no_request() {
    let whole = |folder: &Path| fs::write(folder.join("tiny.onnx.part"), content()).unwrap();
    let fetched = fetch_into(&[], whole);
    fetched.assert_whole();
    assert!(fetched.requests.is_empty());
}

#[test]
fn a_damaged_file_in_the_cache_is_replaced() {
    let damaged = |folder: &Path| fs::write(folder.join("tiny.onnx"), vec![0; 200_000]).unwrap();
    let fetched = fetch_into(&[Answer::File], damaged);
    fetched.assert_whole();
    fs::write(fetched.folder.path().join("tiny.onnx"), "short").unwrap();
    let error = Cache::new(fetched.folder.path())
        .verify(&entry(&content()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("5 bytes") && error.contains("200000 bytes"),
        "{error}"
    );
}

#[test]
fn a_wrong_sha256_is_deleted_and_said() {
    let fetched = fetch(&[Answer::OtherFile]);
    assert!(
        fetched.error().contains("wrong sha256"),
        "{}",
        fetched.error()
    );
    assert_eq!(fetched.files(), ["tiny.onnx.lock"]);
}

#[test]
fn a_longer_file_is_not_taken() {
    let fetched = fetch(&[Answer::LongerFile]);
    assert!(
        fetched
            .error()
            .contains("more than the expected 200000 bytes"),
        "{}",
        fetched.error()
    );
    assert_eq!(fetched.files(), ["tiny.onnx.lock"]);
}

#[test]
fn a_missing_file_is_not_asked_for_again() {
    let fetched = fetch(&[Answer::Status(404), Answer::File]);
    assert!(fetched.error().contains("404"), "{}", fetched.error());
    assert_eq!(fetched.requests.len(), 1);
}

#[test]
fn a_server_error_is_asked_again_four_times_in_all() {
    fetch(&[
        Answer::Status(500),
        Answer::Status(503),
        Answer::Status(429),
        Answer::File,
    ])
    .assert_whole();
    let fetched = fetch(&[Answer::Status(500); 5]);
    assert!(fetched.error().contains("500"), "{}", fetched.error());
    assert_eq!(fetched.requests.len(), 4);
}

#[test]
fn a_redirect_is_followed() {
    let fetched = fetch(&[Answer::Redirect, Answer::File]);
    fetched.assert_whole();
    assert!(
        fetched.requests[1].starts_with("get /elsewhere"),
        "{:?}",
        fetched.requests
    );
}

#[test]
fn without_a_network_the_error_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    // A port on which nobody listens any more.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    let cache = Cache::new(folder.path()).with_mirror(&url);
    let error = cache
        .fetch(&entry(&content()), &mut |_| ())
        .unwrap_err()
        .to_string();
    let path = folder.path().join("tiny.onnx");
    let told = [
        path.to_str().unwrap(),
        &format!("{url}/tiny.onnx"),
        "200000 bytes",
        &entry(&content()).sha256,
        "--weights FILE",
        "--weights none",
    ];
    for words in told {
        assert!(error.contains(words), "`{words}` is not in: {error}");
    }
}

#[test]
fn the_second_address_helps_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(content(), vec![Answer::Status(404), Answer::File]);
    let urls = ["first", "second"].map(|name| format!("{}/{name}.onnx", server.base_url));
    let entry = Entry {
        urls: urls.to_vec(),
        ..entry(&content())
    };
    Cache::new(folder.path())
        .fetch(&entry, &mut |_| ())
        .unwrap();
    assert!(server.requests()[1].starts_with("get /second.onnx"));
}

#[test]
fn two_at_once_download_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(content(), vec![Answer::File]);
    let cache = Cache::new(folder.path()).with_mirror(&server.base_url);
    thread::scope(|scope| {
        let fetches =
            [(); 4].map(|()| scope.spawn(|| cache.fetch(&entry(&content()), &mut |_| ())));
        for fetch in fetches {
            fetch.join().unwrap().unwrap();
        }
    });
    assert_eq!(server.requests().len(), 1);
}
