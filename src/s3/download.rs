//! A prefix becomes a folder, and one object becomes a file in a folder.
//!
//! Input: an address and a folder. Output: the folder as the prefix is now. The index says which files are there already
//! and which ones this program may remove.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    S3Error, S3Uri, Synced,
    client::Requests,
    index::Index,
    listing::{self, Listed},
    local::Folder,
    names,
    object::{self, Fetched, Job},
    parallel::{Meter, OnProgress, for_each, while_wanted},
};

/// Objects at once. Small ones cost waiting, not bandwidth.
const PARALLEL: usize = 16;

/// See `Client::download_folder`.
pub(super) async fn folder(
    requests: &Arc<Requests>,
    from: &S3Uri,
    path: &Path,
    on_progress: &mut OnProgress<'_>,
) -> Result<Option<Synced>, S3Error> {
    let prefix = from.prefix();
    let Some(listed) = listing::all(requests, from, &prefix, on_progress).await? else {
        return Ok(None);
    };
    let objects = by_path(from, &prefix, listed)?;
    if objects.is_empty() {
        return Err(listing::empty(requests, from, &prefix).await);
    }
    let Some(folder) = Folder::open(path, from, on_progress).await? else {
        return Ok(None);
    };
    let mut index = Index::open(path, &from.with_key(prefix).to_string());
    remove_gone(&folder, &mut index, &objects)?;
    let total = objects.len();
    let (kept, needed): (Vec<_>, Vec<_>) = objects.into_iter().partition(|(path, object)| {
        index.etag(path) == Some(&object.etag) && folder.bytes(path) == Some(object.bytes)
    });
    let meter = Arc::new(Meter::default());
    for (_, object) in &kept {
        meter.expect(1, object.bytes);
        meter.object_done();
        meter.bytes_done(object.bytes);
    }
    meter.expect(
        needed.len(),
        needed.iter().map(|(_, object)| object.bytes).sum(),
    );
    let mut synced = Synced {
        objects: total,
        kept: kept.len(),
        ..Synced::default()
    };
    prepare(&folder, &mut index, &needed)?;
    let jobs = needed
        .into_iter()
        .enumerate()
        .map(|(number, (path, object))| {
            let job = Job {
                requests: requests.clone(),
                meter: meter.clone(),
                uri: from.with_key(object.key),
                etag: Some(object.etag).filter(|etag| !etag.is_empty()),
                unless: None,
                part: folder.part(number),
                path: folder.file(&path),
            };
            (path, job)
        });
    let done = |(path, fetched): (String, Fetched)| {
        index.finish(&path, fetched.etag);
        synced.downloaded += 1;
        synced.bytes += fetched.bytes.unwrap_or_default();
        index.write_sometimes()
    };
    let work = |(path, job)| async move { Ok((path, object::fetch(job).await?)) };
    let result = for_each(jobs, PARALLEL, work, done, &meter, on_progress).await;
    // Also after an error: what is complete need not come again.
    let written = index.write();
    let finished = result?;
    written?;
    Ok(finished.then_some(synced))
}

/// The objects by the paths that they get.
fn by_path(
    from: &S3Uri,
    prefix: &str,
    listed: Vec<Listed>,
) -> Result<BTreeMap<String, Listed>, S3Error> {
    let mut named = Vec::with_capacity(listed.len());
    for object in listed {
        if let Some(path) = names::relative(from, prefix, &object.key, object.bytes)? {
            named.push((path, object));
        }
    }
    names::check_clashes(from, prefix, named.iter().map(|(path, _)| path.as_str()))?;
    Ok(named.into_iter().collect())
}

/// Removes the files that this program downloaded and whose objects are gone. First of all, since one of them may be where
/// a folder has to be now.
fn remove_gone(
    folder: &Folder,
    index: &mut Index,
    objects: &BTreeMap<String, Listed>,
) -> Result<(), S3Error> {
    let gone: Vec<String> = index
        .paths()
        .filter(|path| !objects.contains_key(*path))
        .map(Into::into)
        .collect();
    for path in &gone {
        folder.remove(path)?;
        index.forget(path);
    }
    if !gone.is_empty() {
        tracing::info!(
            "removed {} files whose objects are gone from S3",
            gone.len()
        );
    }
    Ok(())
}

/// Makes the folders, and notes on the disk which files will be this program's before the first one is: after a kill, each
/// of them is either completed or removed.
fn prepare(folder: &Folder, index: &mut Index, needed: &[(String, Listed)]) -> Result<(), S3Error> {
    let mut folders = BTreeSet::new();
    for (path, _) in needed {
        // A file of the user's own with such a name is replaced, but not removed unless that was done.
        if index.etag(path).is_some() || folder.bytes(path).is_none() {
            index.begin(path);
        }
        folders.extend(folder.file(path).parent().map(Path::to_path_buf));
    }
    for path in folders {
        fs::create_dir_all(&path).map_err(S3Error::file(&path))?;
    }
    index.write()
}

/// See `Client::download_file`.
pub(super) async fn file(
    requests: &Arc<Requests>,
    from: &S3Uri,
    path: &Path,
    on_progress: &mut OnProgress<'_>,
) -> Result<Option<PathBuf>, S3Error> {
    let (parent, name) = match from.key.rsplit_once('/') {
        Some((parent, name)) => (format!("{parent}/"), name),
        None => (String::new(), from.key.as_str()),
    };
    // Checks the name; an object whose key ends in a slash is no file.
    let Some(name) = Some(name).filter(|name| !name.is_empty()) else {
        return Err(S3Error::Key {
            uri: from.clone(),
            reason: "it is a folder".into(),
        });
    };
    let Some(relative) = names::relative(from, &parent, &from.key, 1)? else {
        return Err(S3Error::Key {
            uri: from.clone(),
            reason: "its name is reserved".into(),
        });
    };
    let Some(folder) = Folder::open(path, from, on_progress).await? else {
        return Ok(None);
    };
    let mut index = Index::open(path, &from.with_key(parent).to_string());
    let target = folder.file(name);
    let known = index.etag(&relative).filter(|etag| !etag.is_empty());
    let meter = Arc::new(Meter::default());
    meter.expect(1, 0);
    let job = Job {
        requests: requests.clone(),
        meter: meter.clone(),
        uri: from.clone(),
        etag: None,
        unless: known
            .filter(|_| folder.bytes(&relative).is_some())
            .map(Into::into),
        part: folder.part(0),
        path: target.clone(),
    };
    let Some(fetched) = while_wanted(object::fetch(job), &meter, on_progress).await else {
        return Ok(None);
    };
    let fetched = fetched?;
    on_progress(&meter.now());
    if fetched.bytes.is_some() {
        index.finish(&relative, fetched.etag);
        index.write()?;
    }
    Ok(Some(target))
}
