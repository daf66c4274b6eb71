//! The files in which TensorBoard looks for events, and the events themselves.
//!
//! Input: steps and values. Output: framed `Event` messages in a file whose name TensorBoard knows.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{SinkError, histogram::Histogram, proto::Message, tfrecord};

/// Field numbers of TensorBoard's `Event` message.
mod field {
    pub(super) const WALL_TIME: u32 = 1;
    pub(super) const STEP: u32 = 2;
    pub(super) const FILE_VERSION: u32 = 3;
    pub(super) const SUMMARY: u32 = 5;
    pub(super) const SESSION_LOG: u32 = 7;
}

/// Time after which buffered steps reach the file, so that TensorBoard shows a run while an epoch is going on.
const FLUSH_EVERY: Duration = Duration::from_secs(10);

/// The file that TensorBoard reads, one framed event after the other.
pub(super) struct EventFile {
    path: PathBuf,
    file: BufWriter<File>,
    flushed: Instant,
}

impl EventFile {
    pub(super) fn create(folder: &Path, now: f64) -> Result<Self, SinkError> {
        fs::create_dir_all(folder).map_err(SinkError::file(folder))?;
        // TensorBoard takes any file whose name holds `tfevents` and reads the files of a run in the order of names.
        let stem = format!(
            "events.out.tfevents.{:010}.{}.{}",
            now as u64,
            host_name(),
            std::process::id()
        );
        let mut path = folder.join(&stem);
        let mut namesakes = 0;
        // Two runs of one process may start in the same second.
        let file = loop {
            match File::create_new(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    namesakes += 1;
                    path = folder.join(format!("{stem}.{namesakes}"));
                }
                opened => break opened.map_err(SinkError::file(&path))?,
            }
        };
        Ok(Self {
            path,
            file: BufWriter::new(file),
            flushed: Instant::now(),
        })
    }

    /// Whether `folder` holds a file of events.
    pub(super) fn any_in(folder: &Path) -> bool {
        let is_one = |name: &std::ffi::OsStr| name.to_string_lossy().contains("tfevents");
        fs::read_dir(folder)
            .is_ok_and(|mut entries| entries.any(|e| e.is_ok_and(|e| is_one(&e.file_name()))))
    }

    pub(super) fn append(&mut self, event: &Message) -> Result<(), SinkError> {
        self.file
            .write_all(&tfrecord::frame(event.as_bytes()))
            .map_err(SinkError::file(&self.path))?;
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush()
        } else {
            Ok(())
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), SinkError> {
        self.flushed = Instant::now();
        self.file.flush().map_err(SinkError::file(&self.path))
    }
}

/// The host's name with nothing in it that a file name cannot hold.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME").map_err(io::Error::other))
        .unwrap_or_default();
    let name: String = name
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .collect();
    if name.is_empty() {
        "localhost".into()
    } else {
        name
    }
}

fn event(wall_time: f64, step: usize) -> Message {
    let event = Message::new().double(field::WALL_TIME, wall_time);
    // Zero is what an absent field means.
    if step == 0 {
        event
    } else {
        event.varint(field::STEP, step as u64)
    }
}

/// The first event of each file.
pub(super) fn version_event(wall_time: f64) -> Message {
    event(wall_time, 0).string(field::FILE_VERSION, "brain.Event:2")
}

/// Tells a reader to drop what earlier files say about `step` and later ones.
pub(super) fn restart_event(wall_time: f64, step: usize) -> Message {
    const STATUS: u32 = 1;
    const START: u64 = 1;
    event(wall_time, step).message(field::SESSION_LOG, &Message::new().varint(STATUS, START))
}

/// Values of one step, by tag.
pub(super) fn scalars_event(wall_time: f64, step: usize, scalars: &[(String, f64)]) -> Message {
    const VALUE: u32 = 1;
    const TAG: u32 = 1;
    const SIMPLE_VALUE: u32 = 2;
    let summary = scalars
        .iter()
        .fold(Message::new(), |summary, (tag, value)| {
            summary.message(
                VALUE,
                &Message::new()
                    .string(TAG, tag)
                    .float(SIMPLE_VALUE, *value as f32),
            )
        });
    event(wall_time, step).message(field::SUMMARY, &summary)
}

/// A text for TensorBoard's text tab, as its plugin wants it: a tensor of strings.
pub(super) fn text_event(wall_time: f64, step: usize, tag: &str, markdown: &str) -> Message {
    const DT_STRING: u64 = 7;
    let tensor = tensor(DT_STRING, &[1]).string(8, markdown);
    plugin_event(wall_time, step, "text", [(tag, tensor)])
}

/// Histograms of one step by tag, as TensorFlow 2 writes them: rows of left edge, right edge and count.
pub(super) fn histograms_event(
    wall_time: f64,
    step: usize,
    histograms: &[(String, Histogram)],
) -> Message {
    const DT_DOUBLE: u64 = 2;
    let tensors = histograms.iter().map(|(tag, histogram)| {
        let rows = &histogram.buckets;
        let numbers = rows
            .iter()
            .flatten()
            .flat_map(|number| number.to_le_bytes());
        let content: Vec<u8> = numbers.collect();
        let tensor = tensor(DT_DOUBLE, &[rows.len() as u64, 3]).bytes(4, &content);
        (tag.as_str(), tensor)
    });
    plugin_event(wall_time, step, "histograms", tensors)
}

/// A `TensorProto` without values.
fn tensor(dtype: u64, shape: &[u64]) -> Message {
    let dim = |shape: Message, size: &u64| shape.message(2, &Message::new().varint(1, *size));
    let shape = shape.iter().fold(Message::new(), dim);
    Message::new().varint(1, dtype).message(2, &shape)
}

/// Tensors by tag, for a plugin of TensorBoard.
fn plugin_event<'a>(
    wall_time: f64,
    step: usize,
    plugin: &str,
    tensors: impl IntoIterator<Item = (&'a str, Message)>,
) -> Message {
    let metadata = Message::new().message(1, &Message::new().string(1, plugin));
    let value = |summary: Message, (tag, tensor): (&str, Message)| {
        let value = Message::new().string(1, tag).message(8, &tensor);
        summary.message(1, &value.message(9, &metadata))
    };
    let summary = tensors.into_iter().fold(Message::new(), value);
    event(wall_time, step).message(field::SUMMARY, &summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // The messages' bytes were read back by TensorBoard's own reader.
    #[test]
    fn golden_events() {
        assert_eq!(
            hex(version_event(1.0).as_bytes()),
            "09000000000000f03f1a0d627261696e2e4576656e743a32"
        );
        assert_eq!(
            hex(scalars_event(1.0, 7, &[("a/b".into(), 0.5)]).as_bytes()),
            "09000000000000f03f10072a0c0a0a0a03612f62150000003f"
        );
        assert_eq!(
            hex(restart_event(1.0, 300).as_bytes()),
            "09000000000000f03f10ac023a020801"
        );
    }
}
