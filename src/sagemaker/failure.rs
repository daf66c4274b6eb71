//! The failure file: what users read as the job's FailureReason.
//!
//! Input: an error or a panic. Output: `output/failure`, the cause first, at most 1,024 characters, which is all that
//! SageMaker shows.

use std::error::Error;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Characters that SageMaker passes on.
const LIMIT: usize = 1024;

/// Words for an error: its text and those of its causes where it does not include them, in at most 1,024 characters.
pub fn text(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = source.source();
    }
    if text.contains("No space left on device") {
        text.push_str("; give the job a larger volume (VolumeSizeInGB)");
    }
    shorten(&text)
}

/// Room on the disk for the failure file, so that a disk which fills up can still say so. Gone when dropped.
pub struct Reserve(PathBuf);

/// Sets room aside for the failure file at `path`. A disk that is full already has none to give.
pub fn reserve(path: &Path) -> Reserve {
    let place = reserve_of(path);
    let folder = place.parent().unwrap_or(Path::new("."));
    let room = [b' '; 4 * LIMIT];
    let _ = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&place, room));
    Reserve(place)
}

fn reserve_of(path: &Path) -> PathBuf {
    path.with_file_name(".room-for-failure")
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // Gone already where the failure file took its place.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes the failure file and says if that did not work. A reason that is there already stays: the first one is the cause.
pub fn record(path: &Path, reason: &str) {
    if std::fs::read(path).is_ok_and(|earlier| !earlier.is_empty()) {
        return;
    }
    let _ = std::fs::remove_file(reserve_of(path));
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| crate::files::write_atomically(path, shorten(reason).as_bytes()));
    if let Err(error) = written {
        tracing::warn!("{} cannot be written: {error}", path.display());
    }
}

/// Runs `work`. A panic, which is printed as always, becomes an error that says where it happened.
///
/// # Errors
/// Those of `work`, and a panic in it.
pub fn catching_panics<T, E>(
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, Box<dyn Error + Send + Sync>>
where
    Box<dyn Error + Send + Sync>: From<E>,
{
    static MESSAGE: Mutex<Option<String>> = Mutex::new(None);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let mut message = MESSAGE.lock().unwrap_or_else(PoisonError::into_inner);
        *message = Some(describe(info));
        drop(message);
        usual(info);
    }));
    // Whatever the panic left half done is not looked at again: the process ends with this error.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Ok(result?),
        Err(_) => {
            let message = MESSAGE
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            Err(message.unwrap_or_else(|| "internal error".into()).into())
        }
    }
}

fn describe(info: &PanicHookInfo) -> String {
    let message = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(|place| format!(" ({place})"));
    format!(
        "internal error: {message}{}; this is a bug, please report it with the log",
        place.unwrap_or_default()
    )
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LIMIT) {
        None => text.to_string(),
        Some(_) => text.chars().take(LIMIT - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reasons_are_cut_by_characters_and_keep_their_beginning() {
        let long = format!("cause: {}", "ä".repeat(3000));
        let short = shorten(&long);
        assert_eq!(short.chars().count(), 1024);
        assert!(short.starts_with("cause: ä") && short.ends_with('…'));
        assert_eq!(shorten(&"x".repeat(1024)).len(), 1024);
    }

    #[test]
    fn the_first_reason_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output/failure");
        record(&path, "the cause");
        record(&path, "what followed from it");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "the cause");
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot write model")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("disk full"));
        assert_eq!(text(&error), "cannot write model: disk full");
    }
}
