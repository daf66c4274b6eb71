//! Pipe mode: the platform writes a channel's data into a named pipe, once per epoch.
//!
//! Input: the pipe of epoch 0, `/opt/ml/input/data/<channel>_0`. Output: [`LabelledImages`] in a spool file.
//!
//! The stream of epoch 0 is read to its end exactly once, and its images are kept in the spool, one behind the other;
//! the pipes of later epochs are never opened. A pipe has no random access, and training needs it: to shuffle anew each
//! epoch, to read back single images while others are augmented, to cache features, and to resume after an interruption
//! with bit-equal results, in whatever order the platform sends the data then. This way no pipe is left half read either.
//! The cost is disk: as much as the images take. Training begins when the stream has ended.
//!
//! Opening a pipe blocks until the platform opens the other end, and reading blocks while nothing comes. Both happen on a
//! thread, so that a request to stop is seen within [`TICK`]. After such a request the thread may stay blocked until the
//! program ends; it holds nothing but the pipe.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::error::PackedError;
use super::labelled::LabelledImages;
use super::recordio::unreadable;
use super::stream::{Progress, RecordWrapper, read_stream};

/// How long a pipe may take to come and be opened by its writer, unless told otherwise.
pub const PIPE_WAIT: Duration = Duration::from_secs(600);

const TICK: Duration = Duration::from_millis(100);
/// When to say that the program waits for the pipe.
const PATIENCE: Duration = Duration::from_secs(10);
/// When to say that the writer is silent. That has no end: the platform may be waiting for a slow store itself.
const SILENCE: Duration = Duration::from_secs(60);
/// As much as a pipe holds on Linux.
const CHUNK_BYTES: usize = 1 << 16;
/// Chunks that wait between the threads.
const CHUNKS: usize = 16;

/// A channel's pipe and what to do with it.
#[derive(Clone, Debug)]
pub struct PipeSource<'a> {
    /// `/opt/ml/input/data/<channel>_0`; it may come into being late.
    pub fifo: &'a Path,
    /// A file to create in a temporary folder; it must last as long as the images are used.
    pub spool: &'a Path,
    pub wrapper: RecordWrapper,
    /// How long the pipe may take to come and be opened by its writer, see [`PIPE_WAIT`].
    pub wait: Duration,
}

/// Reads the pipe to its end. Images are named `<folder of the spool>/<first 16 hexadecimal digits of their sha256>`, with
/// `-2` and so on behind it for repeated ones. `None`: `stopped` said so. `on_progress` is called after each image.
///
/// # Errors
/// The pipe does not come, cannot be read, is empty, cut off or not RecordIO; a record that is neither an image nor its
/// label; the spool cannot be written.
pub fn read_pipe(
    source: &PipeSource<'_>,
    stopped: &dyn Fn() -> bool,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Option<LabelledImages>, PackedError> {
    let Some(events) = open(source, stopped)? else {
        return Ok(None);
    };
    let mut input = PipeReader {
        events,
        chunk: Vec::new(),
        used: 0,
        ended: false,
        silent_since: Some(Instant::now()),
        path: source.fifo,
        stopped,
        was_stopped: false,
    };
    let images = read_stream(
        &mut input,
        source.fifo,
        source.spool,
        source.wrapper,
        on_progress,
    );
    match input.was_stopped {
        true => Ok(None),
        false => images.map(Some),
    }
}

/// What the reading thread has to say.
enum Event {
    Opened,
    Bytes(Vec<u8>),
    Failed(io::Error),
    End,
}

/// Waits until the pipe is there and its writer too. `None`: told to stop.
fn open(
    source: &PipeSource<'_>,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<Receiver<Event>>, PackedError> {
    let path = source.fifo;
    let seconds = source.wait.as_secs();
    let late = |for_writer: bool| {
        let path = path.to_path_buf();
        match for_writer {
            false => PackedError::NoPipe { path, seconds },
            true => PackedError::NoWriter { path, seconds },
        }
    };
    let mut waiting = Waiting::new(source.wait);
    while !path.exists() {
        if stopped() {
            return Ok(None);
        }
        if waiting.is_over(|| tracing::info!("waiting for the pipe {}", path.display())) {
            return Err(late(false));
        }
        thread::sleep(TICK.min(source.wait));
    }
    let (sender, events) = sync_channel(CHUNKS);
    let fifo = path.to_path_buf();
    thread::Builder::new()
        .name("pipe".into())
        .spawn(move || pump(fifo, &sender))
        .map_err(|source| PackedError::Spawn {
            path: path.to_path_buf(),
            source,
        })?;
    loop {
        match events.recv_timeout(TICK) {
            Ok(Event::Failed(source)) => return Err(unreadable(path, source)),
            // The thread's first word is one of these two.
            Ok(_) => return Ok(Some(events)),
            Err(RecvTimeoutError::Disconnected) => return Err(unreadable(path, thread_gone())),
            Err(RecvTimeoutError::Timeout) if stopped() => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                let say = || tracing::info!("waiting for data in the pipe {}", path.display());
                if waiting.is_over(say) {
                    return Err(late(true));
                }
            }
        }
    }
}

/// Reads the pipe on a thread of its own, until its end or until nobody listens.
fn pump(fifo: PathBuf, sender: &SyncSender<Event>) {
    let mut file = match File::open(fifo) {
        Ok(file) => file,
        Err(error) => {
            let _ = sender.send(Event::Failed(error));
            return;
        }
    };
    let mut event = Event::Opened;
    while sender.send(event).is_ok() {
        let mut chunk = vec![0; CHUNK_BYTES];
        event = match file.read(&mut chunk) {
            Ok(0) => {
                let _ = sender.send(Event::End);
                return;
            }
            Ok(count) => {
                chunk.truncate(count);
                Event::Bytes(chunk)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Event::Bytes(Vec::new()),
            Err(error) => {
                let _ = sender.send(Event::Failed(error));
                return;
            }
        };
    }
}

/// The bytes that the thread reads.
struct PipeReader<'a> {
    events: Receiver<Event>,
    chunk: Vec<u8>,
    used: usize,
    ended: bool,
    /// When the last bytes came; `None` once the log has been told that none come.
    silent_since: Option<Instant>,
    path: &'a Path,
    stopped: &'a dyn Fn() -> bool,
    was_stopped: bool,
}

impl Read for PipeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.chunk.len() && !self.ended && !buffer.is_empty() {
            if (self.stopped)() {
                self.was_stopped = true;
                return Err(io::Error::other("stopped"));
            }
            match self.events.recv_timeout(TICK) {
                Ok(Event::Bytes(chunk)) => {
                    (self.chunk, self.used) = (chunk, 0);
                    self.silent_since = Some(Instant::now());
                }
                Ok(Event::Failed(error)) => return Err(error),
                Ok(Event::End) => self.ended = true,
                Ok(Event::Opened) => {}
                Err(RecvTimeoutError::Timeout) => self.note_silence(),
                Err(RecvTimeoutError::Disconnected) => return Err(thread_gone()),
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.used);
        buffer[..count].copy_from_slice(&self.chunk[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}

impl PipeReader<'_> {
    fn note_silence(&mut self) {
        if self
            .silent_since
            .is_some_and(|since| since.elapsed() >= SILENCE)
        {
            let seconds = SILENCE.as_secs();
            tracing::warn!(
                "no data in the pipe {} for {seconds} s; waiting",
                self.path.display()
            );
            self.silent_since = None;
        }
    }
}

/// The thread says good-bye before it ends; without that it has panicked.
fn thread_gone() -> io::Error {
    io::Error::other("the thread that reads the pipe ended early; this is a bug")
}

/// Time spent waiting, and whether the log has been told.
struct Waiting {
    since: Instant,
    limit: Duration,
    told: bool,
}

impl Waiting {
    fn new(limit: Duration) -> Self {
        Self {
            since: Instant::now(),
            limit,
            told: false,
        }
    }

    fn is_over(&mut self, say: impl FnOnce()) -> bool {
        let waited = self.since.elapsed();
        if !self.told && waited >= PATIENCE {
            self.told = true;
            say();
        }
        waited >= self.limit
    }
}

#[cfg(all(test, unix))]
mod tests;
