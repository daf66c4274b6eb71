//! TensorBoard event files.
//!
//! Input: step, epoch and test figures. Output: `events.out.tfevents.<unix seconds>.<host>.<pid>` with scalars. All share
//! one horizontal axis, the optimizer steps of the run: `batch/…` after each step, `train/…`, `validation/…`,
//! `learning_rate` and `memory/…` after each epoch, `test/…` at the end. A resumed run writes a file of its own that
//! tells TensorBoard to forget the later steps of the earlier ones.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    EpochMetrics, Event, RunStarted, Sink, SinkError, StepMetrics, TestMetrics, proto::Message,
    tfrecord,
};

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

/// Writes TensorBoard event files.
pub struct TensorBoardSink {
    folder: PathBuf,
    writer: Option<EventFile>,
    global_step: usize,
}

impl TensorBoardSink {
    /// Will write into `folder` once the run starts.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            writer: None,
            global_step: 0,
        }
    }

    fn write(&mut self, scalars: &[(String, f64)]) -> Result<(), SinkError> {
        let step = self.global_step;
        match &mut self.writer {
            Some(writer) => writer.append(&scalars_event(now_seconds(), step, scalars)),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.writer.as_mut().map_or(Ok(()), EventFile::flush)
    }

    fn start(&mut self, run: &RunStarted) -> Result<(), SinkError> {
        let now = now_seconds();
        let mut writer = EventFile::create(&self.folder, now)?;
        writer.append(&version_event(now))?;
        if run.global_step > 0 {
            writer.append(&restart_event(now, run.global_step + 1))?;
        }
        writer.append(&text_event(
            now,
            run.global_step,
            "configuration",
            &config_markdown(&run.config),
        ))?;
        writer.flush()?;
        self.writer = Some(writer);
        self.global_step = run.global_step;
        Ok(())
    }
}

impl Sink for TensorBoardSink {
    fn name(&self) -> &str {
        "the TensorBoard file"
    }

    fn event(&mut self, event: &Event) -> Result<(), SinkError> {
        match event {
            Event::RunStarted(run) => self.start(run),
            Event::Step(step) => {
                self.global_step = step.global_step;
                self.write(&step_scalars(step))
            }
            Event::EpochEnded(epoch) => {
                self.global_step = epoch.global_step;
                self.write(&epoch_scalars(epoch))?;
                self.flush()
            }
            Event::TestEnded(test) => {
                self.write(&test_scalars(test))?;
                self.flush()
            }
            Event::RunEnded => self.flush(),
            Event::Evaluating(_) | Event::Best(_) => Ok(()),
        }
    }
}

fn step_scalars(m: &StepMetrics) -> [(String, f64); 3] {
    [
        ("batch/loss".into(), m.loss),
        ("batch/learning_rate".into(), m.learning_rate),
        ("batch/images_per_second".into(), m.images_per_second),
    ]
}

fn epoch_scalars(m: &EpochMetrics) -> Vec<(String, f64)> {
    let mut scalars: Vec<(String, f64)> = vec![
        ("train/loss".into(), m.train_loss),
        ("train/accuracy".into(), m.train_accuracy),
        ("train/images_per_second".into(), m.train_images_per_second),
        ("validation/loss".into(), m.valid_loss),
        ("validation/accuracy".into(), m.valid_accuracy),
        (
            "validation/images_per_second".into(),
            m.valid_images_per_second,
        ),
        ("learning_rate".into(), m.learning_rate),
        ("epoch".into(), m.epoch as f64),
    ];
    if let Some((k, accuracy)) = m.valid_top_k {
        scalars.push((format!("validation/top{k}"), accuracy));
    }
    if let Some(bytes) = m.peak_memory_bytes {
        scalars.push(("memory/peak_bytes".into(), bytes as f64));
    }
    scalars
}

fn test_scalars(m: &TestMetrics) -> Vec<(String, f64)> {
    let mut scalars = vec![
        ("test/loss".into(), m.loss),
        ("test/accuracy".into(), m.accuracy),
    ];
    if let Some((k, accuracy)) = m.top_k {
        scalars.push((format!("test/top{k}"), accuracy));
    }
    scalars
}

/// The file that TensorBoard reads, one framed event after the other.
struct EventFile {
    path: PathBuf,
    file: BufWriter<File>,
    flushed: Instant,
}

impl EventFile {
    fn create(folder: &Path, now: f64) -> Result<Self, SinkError> {
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

    fn append(&mut self, event: &Message) -> Result<(), SinkError> {
        self.file
            .write_all(&tfrecord::frame(event.as_bytes()))
            .map_err(SinkError::file(&self.path))?;
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.flushed = Instant::now();
        self.file.flush().map_err(SinkError::file(&self.path))
    }
}

fn now_seconds() -> f64 {
    // A clock before 1970 costs the time axis, not the run.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
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
fn version_event(wall_time: f64) -> Message {
    event(wall_time, 0).string(field::FILE_VERSION, "brain.Event:2")
}

/// Tells a reader to drop what earlier files say about `step` and later ones.
fn restart_event(wall_time: f64, step: usize) -> Message {
    const STATUS: u32 = 1;
    const START: u64 = 1;
    event(wall_time, step).message(field::SESSION_LOG, &Message::new().varint(STATUS, START))
}

fn scalars_event(wall_time: f64, step: usize, scalars: &[(String, f64)]) -> Message {
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
fn text_event(wall_time: f64, step: usize, tag: &str, markdown: &str) -> Message {
    const DT_STRING: u64 = 7;
    let shape = Message::new().message(2, &Message::new().varint(1, 1));
    let tensor = Message::new()
        .varint(1, DT_STRING)
        .message(2, &shape)
        .string(8, markdown);
    let metadata = Message::new().message(1, &Message::new().string(1, "text"));
    let value = Message::new()
        .string(1, tag)
        .message(8, &tensor)
        .message(9, &metadata);
    event(wall_time, step).message(field::SUMMARY, &Message::new().message(1, &value))
}

fn config_markdown(config: &serde_json::Value) -> String {
    // The pretty form cannot fail for a value that is already JSON.
    let json = serde_json::to_string_pretty(config).unwrap_or_else(|_| config.to_string());
    json.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::event::samples;
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

    fn written(events: &[Event]) -> (String, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = TensorBoardSink::new(folder.path().join("run"));
        for event in events {
            sink.event(event).unwrap();
        }
        let mut files = fs::read_dir(folder.path().join("run"))
            .unwrap()
            .map(|entry| entry.unwrap());
        let file = files.next().unwrap();
        assert!(files.next().is_none());
        (
            file.file_name().into_string().unwrap(),
            fs::read(file.path()).unwrap(),
        )
    }

    /// The payloads of a file's records, whose checksums must hold.
    fn payloads(mut file: &[u8]) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        while !file.is_empty() {
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            let payload = &file[12..12 + length];
            assert_eq!(tfrecord::frame(payload), file[..length + 16]);
            payloads.push(payload.to_vec());
            file = &file[length + 16..];
        }
        payloads
    }

    fn count(file: &[u8], tag: &str) -> usize {
        file.windows(tag.len())
            .filter(|window| *window == tag.as_bytes())
            .count()
    }

    #[test]
    fn a_file_holds_steps_epochs_and_test() {
        let mut events = vec![Event::RunStarted(samples::started(1))];
        events.extend((1..=4).map(|step| Event::Step(samples::step(step))));
        events.extend([
            Event::EpochEnded(samples::epoch(1)),
            Event::TestEnded(samples::test()),
            Event::RunEnded,
        ]);
        let (name, file) = written(&events);
        assert!(name.starts_with("events.out.tfevents."), "{name}");
        assert!(
            name.ends_with(&format!(".{}", std::process::id())),
            "{name}"
        );
        assert_eq!(payloads(&file).len(), 1 + 1 + 4 + 1 + 1);
        assert_eq!(count(&file, "batch/loss"), 4);
        for tag in [
            "train/loss",
            "train/accuracy",
            "validation/top5",
            "learning_rate",
            "memory/peak_bytes",
            "test/top5",
        ] {
            assert!(count(&file, tag) >= 1, "{tag}");
        }
    }

    #[test]
    fn steps_are_readable_before_the_run_ends() {
        let (_, file) = written(&[
            Event::RunStarted(samples::started(1)),
            Event::EpochEnded(samples::epoch(1)),
        ]);
        assert_eq!(count(&file, "validation/accuracy"), 1);
    }

    #[test]
    fn a_resumed_run_purges_later_steps() {
        let (_, file) = written(&[Event::RunStarted(samples::started(2))]);
        let restart = restart_event(0.0, 95);
        // All but the wall time, the first nine bytes.
        assert!(
            payloads(&file)
                .iter()
                .any(|payload| payload[9..] == restart.as_bytes()[9..])
        );
        let (_, fresh) = written(&[Event::RunStarted(samples::started(1))]);
        assert_eq!(payloads(&fresh).len(), 2);
    }
}
