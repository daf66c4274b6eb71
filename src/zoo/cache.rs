//! The folder in which downloaded weights are kept.
//!
//! Input: an [`Entry`]. Output: the path of a file whose size and sha256 are right. Files appear under their own name only
//! when they are whole, and a lock beside each keeps two processes from downloading it at once.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::files::sha256_of;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Entry, ZooError, download};
use crate::sinks::Terminal;

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes on disk, those of an earlier attempt included.
    pub done_bytes: u64,
    /// Bytes of the file.
    pub total_bytes: u64,
}

/// A folder of downloaded weights.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    mirror: Option<String>,
    first_pause: Duration,
}

impl Cache {
    /// The cache in `folder`, filled from the addresses of the manifest.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            mirror: None,
            first_pause: Duration::from_millis(500),
        }
    }

    /// Downloads `<base address>/<file>` instead of the addresses of the manifest.
    #[must_use]
    pub fn with_mirror(mut self, base_url: impl Into<String>) -> Self {
        self.mirror = Some(base_url.into());
        self
    }

    /// Waits this long before the second attempt, and twice as long before each further one.
    #[must_use]
    pub fn with_first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    /// The cache that the environment asks for: folder `SAGEMAKER_BURN_CACHE`, else `$XDG_CACHE_HOME/sagemaker-burn`, else
    /// `~/.cache/sagemaker-burn`; base address `SAGEMAKER_BURN_ZOO_URL`.
    ///
    /// # Errors
    /// [`ZooError::NoCacheFolder`] if none of them is set.
    pub fn from_env() -> Result<Self, ZooError> {
        let folder = cache_folder(|name| env::var_os(name)).ok_or(ZooError::NoCacheFolder)?;
        let mirror = env::var("SAGEMAKER_BURN_ZOO_URL")
            .ok()
            .filter(|url| !url.is_empty());
        Ok(Self {
            mirror,
            ..Self::new(folder)
        })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where `entry` is or will be.
    #[must_use]
    pub fn path(&self, entry: &Entry) -> PathBuf {
        self.folder.join(&entry.file)
    }

    /// `<architecture>.onnx`, if somebody has put it here.
    #[must_use]
    pub fn own_default(&self, architecture: &str) -> Option<PathBuf> {
        let file = self.folder.join(format!("{architecture}.onnx"));
        file.is_file().then_some(file)
    }

    /// Checks size and sha256 of the cached file and returns its path.
    ///
    /// # Errors
    /// [`ZooError::Missing`], [`ZooError::Damaged`], or [`ZooError::File`] if it cannot be read.
    pub fn verify(&self, entry: &Entry) -> Result<PathBuf, ZooError> {
        let path = self.path(entry);
        let bytes = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ZooError::Missing {
                    name: entry.name.clone(),
                    path,
                });
            }
            Err(error) => return Err(ZooError::file(path)(error)),
        };
        let damaged = |found: String, expected: String| ZooError::Damaged {
            name: entry.name.clone(),
            path: path.clone(),
            found,
            expected,
        };
        if bytes != entry.bytes {
            return Err(damaged(
                format!("{bytes} bytes"),
                format!("{} bytes", entry.bytes),
            ));
        }
        let sha256 = sha256_of(&path).map_err(ZooError::file(&path))?;
        if sha256 != entry.sha256 {
            return Err(damaged(
                format!("sha256 {sha256}"),
                format!("sha256 {}", entry.sha256),
            ));
        }
        Ok(path)
    }

    /// The path of the verified file of `entry`, downloaded if it is not there or damaged.
    ///
    /// `progress` hears of each received piece.
    ///
    /// # Errors
    /// [`ZooError::Download`] if no address delivers the file, [`ZooError::File`] if it cannot be stored.
    pub fn fetch(
        &self,
        entry: &Entry,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, ZooError> {
        if let Some(path) = self.present(entry)? {
            return Ok(path);
        }
        fs::create_dir_all(&self.folder).map_err(ZooError::file(&self.folder))?;
        // Held until the file is whole, so that a second process waits and then finds it.
        let _lock = self.lock(entry)?;
        if let Some(path) = self.present(entry)? {
            return Ok(path);
        }
        let urls = self.urls(entry);
        let path = self.path(entry);
        let target = download::Target {
            entry,
            path: &path,
            part: &self.beside(entry, "part"),
        };
        download::from_any(&target, &urls, self.first_pause, progress).map_err(
            |error| match error {
                download::DownloadError::Store { path, source } => ZooError::File { path, source },
                error => ZooError::download(
                    entry,
                    path.clone(),
                    urls.first().cloned().unwrap_or_default(),
                    error,
                ),
            },
        )?;
        Ok(path)
    }

    /// The verified file, or `None` if it has to be downloaded.
    fn present(&self, entry: &Entry) -> Result<Option<PathBuf>, ZooError> {
        match self.verify(entry) {
            Ok(path) => Ok(Some(path)),
            Err(ZooError::Missing { .. }) => Ok(None),
            Err(damaged @ ZooError::Damaged { .. }) => {
                tracing::warn!("{damaged}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn urls(&self, entry: &Entry) -> Vec<String> {
        match &self.mirror {
            Some(base) => vec![format!("{}/{}", base.trim_end_matches('/'), entry.file)],
            None => entry.urls.clone(),
        }
    }

    fn beside(&self, entry: &Entry, suffix: &str) -> PathBuf {
        self.folder.join(format!("{}.{suffix}", entry.file))
    }

    fn lock(&self, entry: &Entry) -> Result<File, ZooError> {
        let path = self.beside(entry, "lock");
        let file = File::create(&path).map_err(ZooError::file(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                tracing::info!(
                    "another process is downloading {}; waiting for it",
                    entry.name
                );
                file.lock().map_err(ZooError::file(&path))?;
                Ok(file)
            }
            // Some network file systems have no locks. The sha256 still keeps a mixed-up file out.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(file)
            }
            Err(TryLockError::Error(error)) => Err(ZooError::file(path)(error)),
        }
    }
}

/// Where the cache is, by the variables that `variable` looks up.
fn cache_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("SAGEMAKER_BURN_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("sagemaker-burn")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/sagemaker-burn")))
}

/// A bar on `terminal` for [`Cache::fetch`]; nothing is drawn where nobody watches.
pub fn progress_bar(terminal: &Terminal, entry: &Entry) -> impl FnMut(Progress) + use<> {
    let style = ProgressStyle::with_template(
        "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} eta {eta}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(entry.bytes)
        .with_style(style)
        .with_prefix(entry.name.clone());
    let bar = if terminal.is_interactive() {
        terminal.add(bar)
    } else {
        ProgressBar::hidden()
    };
    move |progress| {
        bar.set_position(progress.done_bytes);
        if progress.done_bytes >= progress.total_bytes {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(variables: &[(&str, &str)]) -> Option<PathBuf> {
        cache_folder(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_nearest_variable_names_the_folder() {
        let all = [
            ("SAGEMAKER_BURN_CACHE", "/own"),
            ("XDG_CACHE_HOME", "/xdg"),
            ("HOME", "/home/me"),
        ];
        assert_eq!(folder(&all), Some("/own".into()));
        assert_eq!(folder(&all[1..]), Some("/xdg/sagemaker-burn".into()));
        assert_eq!(
            folder(&all[2..]),
            Some("/home/me/.cache/sagemaker-burn".into())
        );
        assert_eq!(
            folder(&[("SAGEMAKER_BURN_CACHE", ""), ("HOME", "/h")]),
            Some("/h/.cache/sagemaker-burn".into())
        );
        assert_eq!(folder(&[]), None);
    }

    #[test]
    fn a_mirror_replaces_the_addresses() {
        let entry = &super::super::Zoo::builtin().list()[0];
        let cache = Cache::new("/tmp").with_mirror("http://mirror/zoo/");
        assert_eq!(cache.urls(entry), ["http://mirror/zoo/resnet18-v1-7.onnx"]);
        assert_eq!(Cache::new("/tmp").urls(entry), entry.urls);
    }
}
