//! What commands do with addresses in S3: fetch data and weights, send results.
//!
//! Input: an address as it was typed. Output: a path on this machine, or a filled bucket. How far a transfer is shows as a bar on
//! a terminal, elsewhere as a line every ten seconds.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Client, Progress, S3Error, S3Uri, cache_folder_for};
use crate::logging::terminal;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The address that `path` stands for, if it is meant as one.
///
/// # Errors
/// [`S3Error::Uri`] for one that is malformed.
pub fn address(path: &Path) -> Result<Option<S3Uri>, S3Error> {
    match path.to_str().filter(|text| S3Uri::is_s3(text)) {
        Some(text) => text.parse().map(Some),
        None => Ok(None),
    }
}

/// Downloads all below `from` into the cache, but for what is there already, and returns its folder; `None` if `stopped` said so.
///
/// # Errors
/// Those of [`Client::download_folder`].
pub fn fetch_folder(from: &S3Uri, stopped: &dyn Fn() -> bool) -> Result<Option<PathBuf>, S3Error> {
    let folder = cache_folder_for(from)?;
    tracing::info!("fetching {from} into {}", folder.display());
    let mut shown = Shown::new(from);
    let client = Client::connect()?;
    let synced = client.download_folder(from, &folder, &mut |progress| {
        shown.show(progress);
        !stopped()
    })?;
    drop(shown);
    Ok(synced.map(|synced| {
        tracing::info!(
            "{} objects: {} fetched ({:.1} MB), {} were here already",
            synced.objects,
            synced.downloaded,
            synced.bytes as f64 / 1e6,
            synced.kept
        );
        folder
    }))
}

/// Downloads one object into the cache and returns its path; `None` if `stopped` said so.
///
/// # Errors
/// Those of [`Client::download_file`].
pub fn fetch_file(from: &S3Uri, stopped: &dyn Fn() -> bool) -> Result<Option<PathBuf>, S3Error> {
    let folder = cache_folder_for(from)?;
    tracing::info!("fetching {from}");
    let mut shown = Shown::new(from);
    Client::connect()?.download_file(from, &folder, &mut |progress| {
        shown.show(progress);
        !stopped()
    })
}

/// Makes sure, before hours of training, that results can be sent to `to`.
///
/// # Errors
/// Those of [`Client::upload_check`].
pub fn check_writable(to: &S3Uri) -> Result<(), S3Error> {
    Client::connect()?.upload_check(to)
}

/// Uploads all of `folder` to below `to`.
///
/// # Errors
/// Those of [`Client::upload_folder`].
pub fn send_folder(folder: &Path, to: &S3Uri) -> Result<(), S3Error> {
    let mut shown = Shown::new(to);
    let synced = Client::connect()?.upload_folder(folder, to, &mut |progress| {
        shown.show(progress);
        true
    })?;
    drop(shown);
    if let Some(synced) = synced {
        tracing::info!("{} files are in {to}", synced.objects);
    }
    Ok(())
}

/// A transfer on the terminal or in the log.
struct Shown {
    label: String,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Shown {
    fn new(uri: &S3Uri) -> Self {
        let style = ProgressStyle::with_template(
            "{prefix} [{bar:30}] {bytes}/{total_bytes} {msg} {bytes_per_sec} eta {eta}",
        );
        let bar = terminal().is_interactive().then(|| {
            let bar = ProgressBar::new(0)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_prefix(uri.to_string());
            terminal().add(bar)
        });
        Shown {
            label: uri.to_string(),
            bar,
            last_line: Instant::now(),
        }
    }

    fn show(&mut self, progress: &Progress) {
        let objects = format!("{}/{} objects", progress.objects_done, progress.objects);
        if let Some(bar) = &self.bar {
            bar.set_length(progress.bytes);
            bar.set_position(progress.bytes_done);
            bar.set_message(objects);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            tracing::info!(
                "{}: {objects}, {:.1} of {:.1} MB",
                self.label,
                progress.bytes_done as f64 / 1e6,
                progress.bytes as f64 / 1e6
            );
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
