//! A server between the client and S3 that makes trouble.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A request on its way.
#[derive(Debug, Clone)]
pub struct Request {
    /// From 1.
    pub number: usize,
    /// Like `GET /bucket/key HTTP/1.1`.
    pub line: String,
    /// Like `bytes=5-`.
    pub range: Option<String>,
    /// The ETag that a continued download insists on.
    pub if_match: Option<String>,
}

/// What happens to a request.
pub enum Fate {
    Pass,
    /// 503 SlowDown.
    Throttle,
    /// The answer ends after so many bytes of its body.
    Cut(usize),
    /// The answer pauses forever after so many bytes of its body.
    Stall(usize),
    /// This instead of the server's answer: status line with further headers, and body.
    Answer(&'static str, &'static str),
}

type Decide = dyn Fn(&Request) -> Fate + Send + Sync;

/// A proxy that listens as long as the process runs.
pub struct Proxy {
    pub endpoint: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

const SLOW_DOWN: Fate = Fate::Answer(
    "503 Slow Down",
    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
);

impl Proxy {
    /// Passes requests on to `endpoint` as `decide` says.
    pub fn to(endpoint: &str, decide: impl Fn(&Request) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let address = endpoint.trim_start_matches("http://").to_owned();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = seen.clone();
        let decide: Arc<Decide> = Arc::new(decide);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (address, list, decide) = (address.clone(), list.clone(), decide.clone());
                // A client that goes away is no matter.
                thread::spawn(move || drop(serve(client, &address, &list, &*decide)));
            }
        });
        Self {
            endpoint: own,
            seen,
        }
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

/// One request; the server closes its connection after each.
fn serve(
    mut client: TcpStream,
    address: &str,
    seen: &Mutex<Vec<Request>>,
    decide: &Decide,
) -> io::Result<()> {
    let head = read_head(&mut client)?;
    let text = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        text.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let request = {
        let mut seen = seen.lock().unwrap();
        let request = Request {
            number: seen.len() + 1,
            line: text.lines().next().unwrap_or_default().into(),
            range: header("range"),
            if_match: header("if-match"),
        };
        seen.push(request.clone());
        request
    };
    let fate = match decide(&request) {
        Fate::Throttle => SLOW_DOWN,
        fate => fate,
    };
    let limit = match fate {
        Fate::Cut(bytes) | Fate::Stall(bytes) => bytes as u64,
        Fate::Answer(status, body) => {
            let length = header("content-length").and_then(|length| length.parse().ok());
            return answer(client, length.unwrap_or(0), status, body);
        }
        _ => u64::MAX,
    };
    let mut server = TcpStream::connect(address)?;
    server.write_all(&head)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let body = thread::spawn(move || io::copy(&mut from, &mut to));
    client.write_all(&read_head(&mut server)?)?;
    io::copy(&mut server.take(limit), &mut client)?;
    if let Fate::Stall(_) = fate {
        // Until the client closes the connection.
        let _ = body.join();
    }
    client.shutdown(Shutdown::Both)
}

/// Answers after a request of which `rest` bytes are not read yet.
fn answer(mut client: TcpStream, rest: u64, status: &str, body: &str) -> io::Result<()> {
    // An answer before the end of the request would look like a broken connection.
    io::copy(&mut (&client).take(rest), &mut io::sink())?;
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    client.shutdown(Shutdown::Both)
}

fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}
