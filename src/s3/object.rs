//! One object becomes one file.
//!
//! Input: a key, and what is known of the object. Output: the file under its own name, whole and on the disk. A connection
//! that breaks is continued where it ended, unless the object was changed in between: then all of it is fetched again.

use std::{
    hash::{BuildHasher, RandomState},
    io::SeekFrom,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_sdk_s3::{
    config::ResponseChecksumValidation,
    error::SdkError,
    operation::get_object::{GetObjectError, GetObjectOutput},
};
use tokio::{
    fs::{self, File},
    io::{AsyncSeekExt, AsyncWriteExt},
};

use super::{S3Error, S3Uri, answer::reason, client::Requests, parallel::Meter};

const ACTION: &str = "s3:GetObject";
/// Broken connections in a row that brought nearly nothing.
const FRUITLESS: u32 = 6;
/// What counts as something.
const FRUITFUL_BYTES: u64 = 1 << 16;
/// How often an object may change during its download.
const CHANGES: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// What to fetch, and whereto.
pub(super) struct Job {
    pub(super) requests: Arc<Requests>,
    pub(super) meter: Arc<Meter>,
    pub(super) uri: S3Uri,
    /// The ETag of the listing; `None` takes whatever is there.
    pub(super) etag: Option<String>,
    /// Do not fetch an object with this ETag.
    pub(super) unless: Option<String>,
    /// Where it grows.
    pub(super) part: PathBuf,
    /// Where the whole file goes.
    pub(super) path: PathBuf,
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) etag: String,
    /// Its bytes; `None` for an object that was not fetched because of [`Job::unless`].
    pub(super) bytes: Option<u64>,
}

/// How far a job is.
struct State {
    file: File,
    /// What the first bytes are from.
    etag: Option<String>,
    received_bytes: u64,
    total_bytes: u64,
}

/// Why an attempt did not end with the whole object.
enum Short {
    /// The connection broke.
    Cut(String),
    /// The object is another one now.
    Changed,
    /// Nothing to fetch.
    Unneeded,
    /// No further attempt helps.
    Failed(S3Error),
}

/// Fetches an object.
///
/// # Errors
/// [`S3Error::Cut`], [`S3Error::Changing`], [`S3Error::File`], and all that says why S3 did not answer.
pub(super) async fn fetch(job: Job) -> Result<Fetched, S3Error> {
    let mut state = State {
        file: File::create(&job.part)
            .await
            .map_err(S3Error::file(&job.part))?,
        etag: job.etag.clone(),
        received_bytes: 0,
        total_bytes: 0,
    };
    let (mut fruitless, mut changes) = (0, 0);
    loop {
        let before = state.received_bytes;
        match attempt(&job, &mut state).await {
            Ok(()) => break,
            Err(Short::Unneeded) => {
                job.meter.object_done();
                let etag = job.unless.unwrap_or_default();
                return Ok(Fetched { etag, bytes: None });
            }
            Err(Short::Failed(error)) => return Err(error),
            Err(Short::Changed) => {
                changes += 1;
                if changes > CHANGES {
                    return Err(S3Error::Changing { uri: job.uri });
                }
                state.etag = None;
                restart(&job, &mut state).await?;
            }
            Err(Short::Cut(reason)) => {
                if state.received_bytes >= before + FRUITFUL_BYTES {
                    fruitless = 0;
                }
                fruitless += 1;
                if fruitless > FRUITLESS {
                    return Err(S3Error::Cut {
                        uri: job.uri,
                        received_bytes: state.received_bytes,
                        reason,
                    });
                }
                tracing::debug!("{}: {reason}; going on", job.uri);
                // All arrived, but the client's checksum says that it is not the object.
                if state.received_bytes >= state.total_bytes {
                    restart(&job, &mut state).await?;
                }
                tokio::time::sleep(pause(job.requests.first_pause, fruitless)).await;
            }
        }
    }
    finish(&job, state).await
}

/// A random part of a time that doubles, so that many cut connections do not come back together.
fn pause(first: Duration, failures: u32) -> Duration {
    let longest = first.saturating_mul(2_u32.saturating_pow(failures - 1));
    // The keys of a hash table are random, and random enough for this.
    let random = RandomState::new().hash_one(failures) as f64 / u64::MAX as f64;
    longest.min(LONGEST_PAUSE).mul_f64(0.5 + random / 2.0)
}

async fn restart(job: &Job, state: &mut State) -> Result<(), S3Error> {
    job.meter.bytes_lost(state.received_bytes);
    state.received_bytes = 0;
    let file = &mut state.file;
    let emptied = async {
        file.flush().await?;
        file.set_len(0).await?;
        file.seek(SeekFrom::Start(0)).await
    };
    emptied.await.map_err(S3Error::file(&job.part))?;
    Ok(())
}

/// One request: the whole object, or the rest of it.
async fn attempt(job: &Job, state: &mut State) -> Result<(), Short> {
    let request = job
        .requests
        .usual
        .get_object()
        .bucket(&job.uri.bucket)
        .key(&job.uri.key)
        .set_if_match(state.etag.clone())
        .set_if_none_match(job.unless.clone().filter(|_| state.etag.is_none()));
    let from = state.received_bytes;
    let answer = if from == 0 {
        request.send().await
    } else {
        // A checksum of the whole object says nothing about a part of it.
        let whole_only = aws_sdk_s3::Config::builder()
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        request
            .range(format!("bytes={from}-"))
            .customize()
            .config_override(whole_only)
            .send()
            .await
    };
    let answer = answer.map_err(|error| refused(job, &error))?;
    if from > 0 && first_byte(&answer) != Some(from) {
        // A service without ranges sends all of it.
        restart(job, state).await.map_err(Short::Failed)?;
    }
    let length = u64::try_from(answer.content_length().unwrap_or_default()).unwrap_or_default();
    let total_bytes = state.received_bytes + length;
    if job.etag.is_none() && state.total_bytes == 0 {
        job.meter.expect(0, total_bytes);
    }
    state.total_bytes = total_bytes;
    state.etag = answer.e_tag().map(Into::into);
    receive(job, state, answer).await
}

async fn receive(job: &Job, state: &mut State, mut answer: GetObjectOutput) -> Result<(), Short> {
    while let Some(piece) = answer.body.next().await {
        let piece = piece.map_err(|error| Short::Cut(reason(&error)))?;
        let written = state.file.write_all(&piece).await;
        written.map_err(|error| Short::Failed(S3Error::file(&job.part)(error)))?;
        let bytes = piece.len() as u64;
        state.received_bytes += bytes;
        job.meter.bytes_done(bytes);
    }
    if state.received_bytes < state.total_bytes {
        return Err(Short::Cut("the answer ended early".into()));
    }
    Ok(())
}

fn refused(
    job: &Job,
    error: &SdkError<GetObjectError, aws_sdk_s3::config::http::HttpResponse>,
) -> Short {
    match error.raw_response().map(|answer| answer.status().as_u16()) {
        Some(304) => Short::Unneeded,
        // The ETag is not that of the listing or of the first bytes; or the object is shorter than what is here.
        Some(412 | 416) => Short::Changed,
        _ => Short::Failed(job.requests.asked(ACTION, &job.uri).explain(error)),
    }
}

/// The `N` of `Content-Range: bytes N-…`.
fn first_byte(answer: &GetObjectOutput) -> Option<u64> {
    let range = answer.content_range()?.strip_prefix("bytes ")?;
    range.split('-').next()?.parse().ok()
}

/// Brings the file to the disk before it gets its name, or a power cut could leave a file of zeros under it. The folder
/// is not synced: a lost name only means to download it again.
async fn finish(job: &Job, mut state: State) -> Result<Fetched, S3Error> {
    let file = &mut state.file;
    let stored = async {
        file.flush().await?;
        file.sync_all().await
    };
    stored.await.map_err(S3Error::file(&job.part))?;
    rename(&job.part, &job.path).await?;
    job.meter.object_done();
    Ok(Fetched {
        etag: state.etag.unwrap_or_default(),
        bytes: Some(state.received_bytes),
    })
}

async fn rename(part: &Path, path: &Path) -> Result<(), S3Error> {
    fs::rename(part, path).await.map_err(S3Error::file(path))
}
