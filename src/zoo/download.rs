//! One file over HTTP: resumable, verified, and under its own name only when it is whole.
//!
//! Input: addresses and the expected size and sha256. Output: the file. What arrived of an interrupted download stays in
//! the part file, from where the next attempt, or the next run, goes on.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use ureq::{
    Agent, Body, Timeout,
    http::{Response, StatusCode, header},
};

use super::{Entry, Progress};
use crate::files::{sha256_of, sync_folder_of};

/// Attempts at one address after the first one failed in a way that may pass.
const RETRIES: u32 = 3;
/// Long enough for a far server, short enough for someone without a network to learn it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that says nothing for so long is given up. There is no limit on the whole: links may be slow.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why an address did not deliver the file.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No connection, or it broke.
    #[error("{url}: {source}")]
    Connection {
        /// The address.
        url: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// The server answered, but not with the file.
    #[error("{url}: the server answers {status}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// The answer ended early; the part is kept.
    #[error("{url}: the connection ended after {received_bytes} of {expected_bytes} bytes")]
    Cut {
        /// The address.
        url: String,
        /// Bytes on disk.
        received_bytes: u64,
        /// Bytes of the file.
        expected_bytes: u64,
    },
    /// The server answered with another part than asked for.
    #[error("{url}: the server does not continue where the download was interrupted")]
    Range {
        /// The address.
        url: String,
    },
    /// The answer is longer than the file.
    #[error(
        "{url}: the server sends more than the expected {expected_bytes} bytes; this is another file"
    )]
    TooLong {
        /// The address.
        url: String,
        /// Bytes of the file.
        expected_bytes: u64,
    },
    /// The file is not the one of the manifest; it was deleted.
    #[error("{url}: wrong sha256 {found}, expected {expected}; the download was deleted")]
    WrongSha256 {
        /// The address.
        url: String,
        /// sha256 of what arrived.
        found: String,
        /// sha256 of the manifest.
        expected: String,
        /// Whether a part from an earlier attempt was in it.
        resumed: bool,
    },
    /// The file could not be stored.
    #[error("cannot write {path}: {source}")]
    Store {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DownloadError {
    fn store(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Store { path, source }
    }

    /// Whether the same address may deliver the file in a moment. A host that cannot be reached at all is not asked again:
    /// without a network, waiting only hides what to do.
    fn may_pass(&self) -> bool {
        match self {
            Self::Connection { source, .. } => match source.as_ref() {
                ureq::Error::Io(error) => matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::BrokenPipe
                        | io::ErrorKind::TimedOut
                ),
                ureq::Error::Timeout(timeout) => {
                    !matches!(timeout, Timeout::Connect | Timeout::Resolve)
                }
                ureq::Error::Protocol(_) => true,
                _ => false,
            },
            Self::Status { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::Cut { .. } | Self::Range { .. } | Self::WrongSha256 { resumed: true, .. } => true,
            Self::TooLong { .. } | Self::WrongSha256 { .. } | Self::Store { .. } => false,
        }
    }
}

/// What is downloaded, and whereto.
pub(super) struct Target<'a> {
    pub(super) entry: &'a Entry,
    /// Where the whole file goes.
    pub(super) path: &'a Path,
    /// Where it grows.
    pub(super) part: &'a Path,
}

/// Downloads from the first address that delivers.
///
/// # Errors
/// What the last address answered.
pub(super) fn from_any(
    target: &Target,
    urls: &[String],
    first_pause: Duration,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DownloadError> {
    let mut outcome = Ok(());
    for (number, url) in urls.iter().enumerate() {
        outcome = with_retries(target, url, first_pause, progress);
        match &outcome {
            Ok(()) | Err(DownloadError::Store { .. }) => break,
            Err(error) if number + 1 < urls.len() => {
                tracing::warn!("{error}; trying the next address")
            }
            Err(_) => {}
        }
    }
    outcome
}

fn with_retries(
    target: &Target,
    url: &str,
    first_pause: Duration,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DownloadError> {
    let agent = agent(url);
    let mut pause = first_pause;
    for _ in 0..RETRIES {
        match once(&agent, target, url, progress) {
            Err(error) if error.may_pass() => {
                tracing::warn!("{error}; trying again in {} s", pause.as_secs_f64())
            }
            outcome => return outcome,
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    once(&agent, target, url, progress)
}

/// A client with the proxies that the environment names.
fn agent(url: &str) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        // A secure address never leads to an insecure one.
        .https_only(url.starts_with("https://"))
        // Bytes are counted and continued, so they must be the file's own.
        .accept_encoding("identity")
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(SILENCE_TIMEOUT))
        .timeout_per_read(Some(SILENCE_TIMEOUT));
    // A proxy has its own idea of what the loopback address is.
    let loopback = ["http://127.0.0.1:", "http://localhost:"]
        .iter()
        .any(|base| url.starts_with(base));
    let config = if loopback { config.proxy(None) } else { config };
    config.build().new_agent()
}

/// One attempt: goes on from the part file, checks, and gives the file its name.
fn once(
    agent: &Agent,
    target: &Target,
    url: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DownloadError> {
    let entry = target.entry;
    let mut had_bytes = fs::metadata(target.part).map_or(0, |metadata| metadata.len());
    if had_bytes > entry.bytes {
        discard(target.part)?;
        had_bytes = 0;
    }
    if had_bytes < entry.bytes {
        let response = request(agent, target.part, url, had_bytes)?;
        if response.status() == StatusCode::OK {
            // The server sends all of it, whatever was asked for.
            had_bytes = 0;
        }
        receive(response, target, url, had_bytes, progress)?;
    }
    let found = sha256_of(target.part).map_err(DownloadError::store(target.part))?;
    if found != entry.sha256 {
        discard(target.part)?;
        return Err(DownloadError::WrongSha256 {
            url: url.into(),
            found,
            expected: entry.sha256.clone(),
            resumed: had_bytes > 0,
        });
    }
    fs::rename(target.part, target.path).map_err(DownloadError::store(target.path))?;
    // Losing the name would only mean to download again, so a folder that cannot be synced is no error.
    sync_folder_of(target.path);
    Ok(())
}

/// Asks for the bytes from `had_bytes` on. The answer is the whole file or exactly that part.
fn request(
    agent: &Agent,
    part: &Path,
    url: &str,
    had_bytes: u64,
) -> Result<Response<Body>, DownloadError> {
    let mut request = agent.get(url);
    if had_bytes > 0 {
        request = request.header(header::RANGE, format!("bytes={had_bytes}-"));
    }
    let connection = |source| DownloadError::Connection {
        url: url.into(),
        source: Box::new(source),
    };
    let response = request.call().map_err(connection)?;
    match response.status() {
        StatusCode::OK => Ok(response),
        StatusCode::PARTIAL_CONTENT
            if had_bytes > 0 && first_byte(&response) == Some(had_bytes) =>
        {
            Ok(response)
        }
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            // The next attempt starts from nothing.
            discard(part)?;
            Err(DownloadError::Range { url: url.into() })
        }
        status => Err(DownloadError::Status {
            url: url.into(),
            status,
        }),
    }
}

/// The `N` of `Content-Range: bytes N-…`.
fn first_byte(response: &Response<Body>) -> Option<u64> {
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    range
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .parse()
        .ok()
}

/// Writes an answer's body to the part file, from `had_bytes` on, and down to the disk.
fn receive(
    response: Response<Body>,
    target: &Target,
    url: &str,
    had_bytes: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DownloadError> {
    let total_bytes = target.entry.bytes;
    let store = || DownloadError::store(target.part);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(target.part)
        .map_err(store())?;
    file.set_len(had_bytes).map_err(store())?;
    let mut done_bytes = had_bytes;
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    progress(Progress {
        done_bytes,
        total_bytes,
    });
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // What arrived stays, whatever ended the connection.
            Err(error) => {
                tracing::debug!("{url}: {error}");
                break;
            }
        };
        done_bytes += count as u64;
        if done_bytes > total_bytes {
            discard(target.part)?;
            return Err(DownloadError::TooLong {
                url: url.into(),
                expected_bytes: total_bytes,
            });
        }
        file.write_all(&buffer[..count]).map_err(store())?;
        progress(Progress {
            done_bytes,
            total_bytes,
        });
    }
    // On the disk before it gets its name, or a power cut could leave a file of zeros under it.
    file.sync_all().map_err(store())?;
    if done_bytes < total_bytes {
        return Err(DownloadError::Cut {
            url: url.into(),
            received_bytes: done_bytes,
            expected_bytes: total_bytes,
        });
    }
    Ok(())
}

fn discard(part: &Path) -> Result<(), DownloadError> {
    fs::remove_file(part).map_err(DownloadError::store(part))
}

#[cfg(test)]
mod tests;
