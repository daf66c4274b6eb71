//! Real named pipes: late, cut off, never opened.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::*;
use crate::data::packed::test_records::{png, records};

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Makes the pipe after `delay` and writes `bytes` into it, as the platform does.
fn writer(path: &Path, delay: Duration, bytes: Vec<u8>) -> JoinHandle<()> {
    let path = path.to_path_buf();
    thread::spawn(move || {
        thread::sleep(delay);
        make_fifo(&path);
        let mut pipe = OpenOptions::new().write(true).open(&path).unwrap();
        // A reader that has seen enough closes its end.
        let _ = pipe.write_all(&bytes);
    })
}

fn read(
    folder: &Path,
    wait: Duration,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<LabelledImages>, PackedError> {
    let source = PipeSource {
        fifo: &folder.join("train_0"),
        spool: &folder.join("spool"),
        wrapper: RecordWrapper::RecordIo,
        wait,
    };
    read_pipe(&source, stopped, &mut |_| {})
}

/// More than a pipe holds, so that writer and reader take turns.
fn many(images: u8) -> Vec<u8> {
    let padding = vec![0x55; 3000];
    let images: Vec<Vec<u8>> = (0..images)
        .map(|shade| [png(shade), padding.clone()].concat())
        .collect();
    let pairs: Vec<&[u8]> = images
        .iter()
        .flat_map(|image| [image.as_slice(), b"7"])
        .collect();
    records(&pairs)
}

#[test]
fn a_pipe_that_comes_late_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = many(200);
    let writer = writer(
        &folder.path().join("train_0"),
        Duration::from_millis(500),
        bytes,
    );
    let images = read(folder.path(), PIPE_WAIT, &|| false).unwrap().unwrap();
    writer.join().unwrap();
    assert_eq!(images.images.len(), 200);
    let spooled = fs::metadata(folder.path().join("spool")).unwrap().len();
    let sizes = images
        .images
        .iter()
        .map(|image| image.part.as_ref().unwrap().bytes);
    assert_eq!(spooled, sizes.sum::<u64>());
    assert!(spooled > 200 * 3000);
}

#[test]
fn a_writer_that_dies_within_a_record_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = many(3);
    bytes.truncate(bytes.len() - 100);
    let path = folder.path().join("train_0");
    let writer = writer(&path, Duration::ZERO, bytes);
    let error = read(folder.path(), PIPE_WAIT, &|| false)
        .unwrap_err()
        .to_string();
    writer.join().unwrap();
    let (start, end) = error.split_once(" of ").unwrap();
    assert!(start.starts_with("record 4 (at byte "), "{error}");
    assert!(
        end.starts_with(&format!("{} is cut off; ", path.display())),
        "{error}"
    );
}

#[test]
fn bad_data_ends_the_reading_and_lets_the_writer_go() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = [records(&[b"dog"]), many(255)].concat();
    let writer = writer(&folder.path().join("train_0"), Duration::ZERO, bytes);
    let error = read(folder.path(), PIPE_WAIT, &|| false).unwrap_err();
    assert!(matches!(error, PackedError::LabelFirst { .. }), "{error}");
    // It would wait for ever if the reading end stayed open unread.
    writer.join().unwrap();
}

#[test]
fn waiting_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("train_0");
    let error = read(folder.path(), Duration::from_millis(150), &|| false).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the pipe {} did not appear within 0 s; check that the channel exists and that its input mode is Pipe",
            fifo.display()
        )
    );
    make_fifo(&fifo);
    let error = read(folder.path(), Duration::from_millis(150), &|| false).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "nothing opened the pipe {} for writing within 0 s; check the channel's S3 address and the role's permissions",
            fifo.display()
        )
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("train_0")).unwrap();
    let error = read(folder.path(), PIPE_WAIT, &|| false).unwrap_err();
    assert!(matches!(error, PackedError::Unreadable { .. }), "{error}");
}

/// Whether a request to stop after a fifth of a second ends the reading soon.
fn stops(folder: &Path) -> bool {
    let began = Instant::now();
    let stopped = || began.elapsed() > Duration::from_millis(200);
    assert_eq!(read(folder, PIPE_WAIT, &stopped).unwrap(), None);
    began.elapsed() < Duration::from_secs(5)
}

#[test]
fn a_request_to_stop_is_seen_without_a_pipe_and_without_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    assert!(stops(folder.path()));
    make_fifo(&folder.path().join("train_0"));
    assert!(stops(folder.path()));
}

#[test]
fn a_request_to_stop_is_seen_while_the_writer_is_silent_within_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("train_0");
    make_fifo(&fifo);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut pipe = OpenOptions::new().write(true).open(&fifo).unwrap();
            pipe.write_all(&many(1)[..50]).unwrap();
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let in_time = stops(folder.path());
        done.store(true, Ordering::Relaxed);
        assert!(in_time);
    });
}
