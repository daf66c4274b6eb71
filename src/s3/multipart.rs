//! One large file becomes an object part by part, several parts at once.
//!
//! Input: a file. Output: the object. S3 keeps, and charges for, the parts of an upload that is neither completed nor
//! aborted, so whatever ends it early aborts it.

use std::sync::Arc;

use aws_sdk_s3::{
    primitives::{ByteStream, Length},
    types::{CompletedMultipartUpload, CompletedPart},
};
use tokio::task::JoinSet;

use super::{S3Error, answer::reason, etag, parallel::failed, upload::Job};

/// Files above this size are uploaded in parts; S3 refuses those above 5 GiB in one piece.
pub(super) const ABOVE_BYTES: u64 = 64 << 20;
/// S3's limit on the number of parts.
const MOST_PARTS: u64 = 10_000;
const SMALLEST_PART: u64 = 16 << 20;
/// Parts at once, of one file.
const PARALLEL: usize = 4;

/// Bytes of each part but the last. The same for each upload of a file of this size, so its ETag is the same.
pub(super) fn part_bytes(file_bytes: u64) -> u64 {
    file_bytes
        .div_ceil(MOST_PARTS)
        .next_multiple_of(1 << 20)
        .max(SMALLEST_PART)
}

/// Uploads the file of `job`.
///
/// # Errors
/// All that says why S3 did not take it, or [`S3Error::File`].
pub(super) async fn put(job: &Arc<Job>) -> Result<(), S3Error> {
    let begun = job
        .requests
        .usual
        .create_multipart_upload()
        .bucket(&job.uri.bucket)
        .key(&job.uri.key)
        .send()
        .await
        .map_err(|error| job.asked().explain(&error))?;
    let id = begun.upload_id().unwrap_or_default().to_owned();
    let guard = Begun {
        job: job.clone(),
        id: Some(id.clone()),
    };
    let parts = parts(job, &id).await?;
    let etags: Vec<_> = parts.iter().filter_map(CompletedPart::e_tag).collect();
    let expected = etag::of_parts(&etags);
    let completed = job
        .requests
        .sending
        .complete_multipart_upload()
        .bucket(&job.uri.bucket)
        .key(&job.uri.key)
        .upload_id(&id)
        .multipart_upload(
            CompletedMultipartUpload::builder()
                .set_parts(Some(parts))
                .build(),
        )
        .send()
        .await;
    if let Err(error) = completed {
        // The answer may be lost on its way, and a second request then finds no such upload.
        if expected.is_none() || etag_there(job).await != expected {
            return Err(job.asked().explain(&error));
        }
        tracing::debug!("{} is complete, despite {error}", job.uri);
    }
    guard.completed();
    Ok(())
}

async fn etag_there(job: &Job) -> Option<String> {
    let answer = job
        .requests
        .usual
        .head_object()
        .bucket(&job.uri.bucket)
        .key(&job.uri.key)
        .send()
        .await;
    Some(answer.ok()?.e_tag()?.trim_matches('"').into())
}

async fn parts(job: &Arc<Job>, id: &str) -> Result<Vec<CompletedPart>, S3Error> {
    let size = part_bytes(job.local.bytes);
    let mut offsets = (0..job.local.bytes).step_by(usize::try_from(size).unwrap_or(usize::MAX));
    let mut running = JoinSet::new();
    let mut done = Vec::new();
    let mut number = 0;
    loop {
        while running.len() < PARALLEL {
            let Some(offset) = offsets.next() else { break };
            number += 1;
            let length = size.min(job.local.bytes - offset);
            running.spawn(part(job.clone(), id.to_owned(), number, offset, length));
        }
        match running.join_next().await {
            Some(part) => done.push(part.map_err(failed)??),
            None => break,
        }
    }
    done.sort_by_key(CompletedPart::part_number);
    Ok(done)
}

async fn part(
    job: Arc<Job>,
    id: String,
    number: i32,
    offset: u64,
    length: u64,
) -> Result<CompletedPart, S3Error> {
    let body = ByteStream::read_from()
        .path(&job.local.path)
        .offset(offset)
        .length(Length::Exact(length))
        .build()
        .await
        .map_err(|error| job.unreadable(reason(&error)))?;
    let answer = job
        .requests
        .sending
        .upload_part()
        .bucket(&job.uri.bucket)
        .key(&job.uri.key)
        .upload_id(id)
        .part_number(number)
        .body(body)
        .send()
        .await
        .map_err(|error| job.asked().explain(&error))?;
    job.meter.bytes_done(length);
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(answer.e_tag)
        .set_checksum_crc32(answer.checksum_crc32)
        .build())
}

/// Notes an upload that is dropped before it is completed, to be aborted: a request cannot be made while dropping.
struct Begun {
    job: Arc<Job>,
    id: Option<String>,
}

impl Begun {
    fn completed(mut self) {
        self.id = None;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let begun = (self.job.uri.clone(), id);
            // A poisoned list is whole: nothing panics while it is held.
            match self.job.unfinished.lock() {
                Ok(mut list) => list.push(begun),
                Err(poisoned) => poisoned.into_inner().push(begun),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_enough_and_large_enough() {
        assert_eq!(part_bytes(65 << 20), 16 << 20);
        let largest: u64 = 5 << 40;
        assert!(largest.div_ceil(part_bytes(largest)) <= MOST_PARTS);
        assert_eq!(part_bytes(largest) % (1 << 20), 0);
    }
}
