//! TensorBoard event files.
//!
//! Input: step, epoch and test figures. Output: `events.out.tfevents.<unix seconds>.<host>.<pid>` with scalars. All share
//! one horizontal axis, the optimizer steps of the run: `batch/…` after each step, `train/…`, `validation/…`,
//! `learning_rate` and `memory/…` after each epoch, `test/…` at the end. A resumed run writes a file of its own that
//! tells TensorBoard to forget the later steps of the earlier ones; where the earlier ones are gone it repeats their epochs.

use std::path::PathBuf;

use super::{
    EpochMetrics, Event, RunStarted, Sink, SinkError, StepMetrics, TestMetrics,
    event_file::{EventFile, restart_event, scalars_event, text_event, version_event},
};

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
            Some(writer) => writer.append(&scalars_event(
                crate::files::seconds_since_epoch(),
                step,
                scalars,
            )),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.writer.as_mut().map_or(Ok(()), EventFile::flush)
    }

    fn start(&mut self, run: &RunStarted) -> Result<(), SinkError> {
        let now = crate::files::seconds_since_epoch();
        let alone = !EventFile::any_in(&self.folder);
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
        if alone {
            for epoch in &run.history {
                writer.append(&scalars_event(
                    now,
                    epoch.global_step,
                    &epoch_scalars(epoch),
                ))?;
            }
        }
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

fn step_scalars(m: &StepMetrics) -> Vec<(String, f64)> {
    let mut scalars = vec![("batch/learning_rate".into(), m.learning_rate)];
    // Where no loss is known no time is either.
    if let Some(loss) = m.loss {
        scalars.push(("batch/loss".into(), loss));
        scalars.push(("batch/images_per_second".into(), m.images_per_second));
    }
    scalars
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

fn config_markdown(config: &serde_json::Value) -> String {
    // The pretty form cannot fail for a value that is already JSON.
    let json = serde_json::to_string_pretty(config).unwrap_or_else(|_| config.to_string());
    json.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{event::samples, tfrecord};
    use super::*;

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
