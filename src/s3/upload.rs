//! A folder becomes objects below a prefix.
//!
//! Input: a folder. Output: its objects. What is there already, by size and ETag, is not sent again.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_s3::primitives::ByteStream;

use super::{
    S3Error, S3Uri, Synced,
    answer::{Asked, reason},
    client::Requests,
    etag,
    listing::{self, Listed},
    local::{self, Local},
    multipart,
    parallel::{Meter, OnProgress, failed, for_each},
};

pub(super) const ACTION: &str = "s3:PutObject";
/// Files at once; a large one has several parts at once.
const PARALLEL: usize = 8;
/// How long the end of a stopped upload may take.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Written and deleted to see whether it may be.
const CHECK: &str = ".sagemaker-burn-write-check";

/// Uploads in parts that were begun and not completed, each with its id.
type Unfinished = Mutex<Vec<(S3Uri, String)>>;

/// A file on its way.
pub(super) struct Job {
    pub(super) requests: Arc<Requests>,
    pub(super) meter: Arc<Meter>,
    pub(super) local: Local,
    pub(super) uri: S3Uri,
    /// The ETag of an object of the same size that is there.
    etag: Option<String>,
    pub(super) unfinished: Arc<Unfinished>,
}

impl Job {
    pub(super) fn asked(&self) -> Asked<'_> {
        self.requests.asked(ACTION, &self.uri)
    }

    pub(super) fn unreadable(&self, reason: String) -> S3Error {
        S3Error::file(&self.local.path)(std::io::Error::other(reason))
    }
}

/// See `Client::upload_folder`.
pub(super) async fn folder(
    requests: &Arc<Requests>,
    folder: &Path,
    to: &S3Uri,
    on_progress: &mut OnProgress<'_>,
) -> Result<Option<Synced>, S3Error> {
    let prefix = to.prefix();
    let files = local::files(folder)?;
    let Some(there) = already_there(requests, to, &prefix, on_progress).await? else {
        return Ok(None);
    };
    let meter = Arc::new(Meter::default());
    meter.expect(files.len(), files.iter().map(|file| file.bytes).sum());
    let unfinished = Arc::new(Unfinished::default());
    let mut synced = Synced {
        objects: files.len(),
        ..Synced::default()
    };
    let jobs = files.into_iter().map(|local| {
        let key = format!("{prefix}{}", local.relative);
        let same = there.get(&key).filter(|there| there.bytes == local.bytes);
        Arc::new(Job {
            requests: requests.clone(),
            meter: meter.clone(),
            etag: same.map(|there| there.etag.clone()),
            uri: to.with_key(key),
            local,
            unfinished: unfinished.clone(),
        })
    });
    let done = |sent: Option<u64>| {
        match sent {
            Some(bytes) => {
                synced.downloaded += 1;
                synced.bytes += bytes;
            }
            None => synced.kept += 1,
        }
        Ok(())
    };
    let finished = for_each(jobs, PARALLEL, one, done, &meter, on_progress).await;
    let aborted = tokio::time::timeout(ABORT_TIMEOUT, abort(requests, &unfinished));
    if aborted.await.is_err() {
        tracing::warn!("could not abort the uploads of large files to {to} in time");
    }
    Ok(finished?.then_some(synced))
}

/// The objects below the prefix by their keys. Who may write but not list uploads everything.
async fn already_there(
    requests: &Requests,
    to: &S3Uri,
    prefix: &str,
    on_progress: &mut OnProgress<'_>,
) -> Result<Option<HashMap<String, Listed>>, S3Error> {
    let listed = match listing::all(requests, to, prefix, on_progress).await {
        Err(S3Error::Denied { .. }) => Some(Vec::new()),
        listed => listed?,
    };
    let by_key = |object: Listed| (object.key.clone(), object);
    Ok(listed.map(|listed| listed.into_iter().map(by_key).collect()))
}

/// Uploads a file; its bytes, or `None` if it was there.
async fn one(job: Arc<Job>) -> Result<Option<u64>, S3Error> {
    let bytes = job.local.bytes;
    if is_there(&job).await? {
        job.meter.bytes_done(bytes);
        job.meter.object_done();
        return Ok(None);
    }
    if bytes > multipart::ABOVE_BYTES {
        multipart::put(&job).await?;
    } else {
        put(&job).await?;
        job.meter.bytes_done(bytes);
    }
    job.meter.object_done();
    Ok(Some(bytes))
}

async fn is_there(job: &Arc<Job>) -> Result<bool, S3Error> {
    let Some(etag) = job.etag.clone() else {
        return Ok(false);
    };
    let local = job.local.clone();
    let part_bytes = multipart::part_bytes(local.bytes);
    // Reading a large file takes long, and would hold up other transfers.
    let same = tokio::task::spawn_blocking(move || {
        etag::matches(&local.path, &etag, part_bytes).map_err(S3Error::file(&local.path))
    });
    same.await.map_err(failed)?
}

async fn put(job: &Job) -> Result<(), S3Error> {
    let body = ByteStream::from_path(&job.local.path)
        .await
        .map_err(|error| job.unreadable(reason(&error)))?;
    job.requests
        .sending
        .put_object()
        .bucket(&job.uri.bucket)
        .key(&job.uri.key)
        .body(body)
        .send()
        .await
        .map_err(|error| job.asked().explain(&error))?;
    Ok(())
}

async fn abort(requests: &Requests, unfinished: &Unfinished) {
    let begun = match unfinished.lock() {
        Ok(mut list) => std::mem::take(&mut *list),
        Err(poisoned) => std::mem::take(&mut *poisoned.into_inner()),
    };
    for (uri, id) in begun {
        let aborted = requests
            .first
            .abort_multipart_upload()
            .bucket(&uri.bucket)
            .key(&uri.key)
            .upload_id(id)
            .send()
            .await;
        if let Err(error) = aborted {
            let error = requests
                .asked("s3:AbortMultipartUpload", &uri)
                .explain(&error);
            tracing::warn!("the parts of an unfinished upload stay in the bucket: {error}");
        }
    }
}

/// See `Client::upload_check`.
pub(super) async fn check(requests: &Requests, to: &S3Uri) -> Result<(), S3Error> {
    let uri = to.with_key(format!("{}{CHECK}", to.prefix()));
    requests
        .first
        .put_object()
        .bucket(&uri.bucket)
        .key(&uri.key)
        .body(ByteStream::from_static(b"may be deleted\n"))
        .send()
        .await
        .map_err(|error| requests.asked(ACTION, &uri).explain(&error))?;
    let deleted = requests
        .first
        .delete_object()
        .bucket(&uri.bucket)
        .key(&uri.key)
        .send()
        .await;
    // Who may write but not delete can still upload.
    if let Err(error) = deleted {
        let error = requests.asked("s3:DeleteObject", &uri).explain(&error);
        tracing::warn!("a small file stays in the bucket: {error}");
    }
    Ok(())
}
