//! What is below a prefix.
//!
//! Input: a prefix. Output: every object with size and ETag, page by page; or, where there is none, similar names.

use aws_sdk_s3::{Client, operation::list_objects_v2::ListObjectsV2Output};

use super::{
    S3Error, S3Uri,
    client::Requests,
    parallel::{Meter, OnProgress, while_wanted},
};

const ACTION: &str = "s3:ListBucket";
/// Names to suggest.
const NEAR: usize = 5;

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) etag: String,
    pub(super) bytes: u64,
}

/// Lists all below `prefix`; `None` if `on_progress` stopped it.
///
/// # Errors
/// All that says why S3 did not answer.
pub(super) async fn all(
    requests: &Requests,
    from: &S3Uri,
    prefix: &str,
    on_progress: &mut OnProgress<'_>,
) -> Result<Option<Vec<Listed>>, S3Error> {
    // What is listed so far is what there is to do so far.
    let meter = Meter::default();
    let mut listed = Vec::new();
    let mut next = None;
    loop {
        let page = async {
            match &next {
                Some(_) => one(requests, &requests.usual, from, prefix, next.clone()).await,
                None => first(requests, from, prefix).await,
            }
        };
        let Some(page) = while_wanted(page, &meter, on_progress).await else {
            return Ok(None);
        };
        let page = page?;
        let before = listed.len();
        listed.extend(page.contents().iter().filter_map(object));
        let bytes = listed[before..].iter().map(|object| object.bytes).sum();
        meter.expect(listed.len() - before, bytes);
        if !on_progress(&meter.now()) {
            return Ok(None);
        }
        match page.next_continuation_token {
            Some(token) if page.is_truncated == Some(true) => next = Some(token),
            _ => return Ok(Some(listed)),
        }
    }
}

fn object(object: &aws_sdk_s3::types::Object) -> Option<Listed> {
    Some(Listed {
        key: object.key()?.into(),
        etag: object.e_tag().unwrap_or_default().into(),
        bytes: u64::try_from(object.size()?).ok()?,
    })
}

/// The first page tells soon whether anything can be had, but a service that is merely busy is asked as often as later.
async fn first(
    requests: &Requests,
    from: &S3Uri,
    prefix: &str,
) -> Result<ListObjectsV2Output, S3Error> {
    match one(requests, &requests.first, from, prefix, None).await {
        Err(S3Error::Throttled { .. }) => one(requests, &requests.usual, from, prefix, None).await,
        result => result,
    }
}

async fn one(
    requests: &Requests,
    client: &Client,
    from: &S3Uri,
    prefix: &str,
    next: Option<String>,
) -> Result<ListObjectsV2Output, S3Error> {
    client
        .list_objects_v2()
        .bucket(&from.bucket)
        .prefix(prefix)
        .set_continuation_token(next)
        .send()
        .await
        .map_err(|error| requests.asked(ACTION, from).explain(&error))
}

/// The error for a prefix without objects, with similar names if they can be had.
pub(super) async fn empty(requests: &Requests, from: &S3Uri, prefix: &str) -> S3Error {
    let name = prefix.trim_end_matches('/');
    let mut near = begin_with(requests, from, name).await;
    if near.is_empty()
        && let Some((parent, _)) = name.rsplit_once('/')
    {
        near = begin_with(requests, from, &format!("{parent}/")).await;
    } else if near.is_empty() && !name.is_empty() {
        near = begin_with(requests, from, "").await;
    }
    let likeness = |key: &String| strsim::jaro_winkler(key.trim_end_matches('/'), name);
    near.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    near.truncate(NEAR);
    S3Error::Empty {
        uri: from.with_key(prefix),
        near: near
            .into_iter()
            .map(|key| from.with_key(key).to_string())
            .collect(),
    }
}

/// Folders and objects whose key begins with `start`, not those deeper down. Best effort: it is only a suggestion.
async fn begin_with(requests: &Requests, from: &S3Uri, start: &str) -> Vec<String> {
    let page = requests
        .first
        .list_objects_v2()
        .bucket(&from.bucket)
        .prefix(start)
        .delimiter("/")
        .send()
        .await;
    let Ok(page) = page else { return Vec::new() };
    let folders = page.common_prefixes().iter().filter_map(|one| one.prefix());
    let objects = page.contents().iter().filter_map(|one| one.key());
    folders.chain(objects).map(Into::into).collect()
}
