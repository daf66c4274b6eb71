//! A trial: the program itself, started again to train.
//!
//! Input: the values of a trial and what all trials share. Output: [`Running`], news of it as it goes, and how it ended. A process
//! of its own means that running out of memory, a crash or a panic costs one trial and not the study.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Instant;

use super::space::Values;
use crate::orphan::dies_with_parent;
use crate::run_folder::RunFolder;

/// Holds the study's process id in a trial's environment.
const PARENT: &str = "SAGEMAKER_BURN_TRIAL_OF";
/// What a trial said, in its folder.
pub const LOG: &str = "log.txt";
const HYPERPARAMETERS: &str = "hyperparameters.json";
/// How the metric line of an epoch begins.
const EPOCH: &str = "epoch=";
/// Bytes of freed memory that a trial keeps for its next step.
const KEPT_MEMORY: usize = 128 << 20;

/// Whether this process is a trial; from then on it dies with its study.
pub fn is_trial() -> bool {
    dies_with_parent(PARENT)
}

/// What all trials of a study share.
#[derive(Clone, Debug)]
pub struct Bench {
    pub data: PathBuf,
    /// Settings that are the same in every trial.
    pub fixed: Values,
    /// Flags about the machine, which are no part of the study.
    pub machine: Vec<String>,
    /// Threads of the computation, where trials share the processor.
    pub threads: Option<usize>,
    /// Folder of the features that trials share.
    pub features: PathBuf,
    /// Whether trials train the last layer alone.
    pub head_only: bool,
}

/// News of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It said something; by now it listens to signals.
    Word(usize),
    /// An epoch is over.
    Epoch(usize),
    /// One of its two streams is closed.
    Silence(usize),
}

/// How to end a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Keep a checkpoint and go: it goes on later.
    Pause,
    /// Write the model of the best epoch so far and be done.
    Finish,
}

/// A process that trains.
#[derive(Debug)]
pub struct Running {
    pub number: usize,
    pub started: Instant,
    /// Epochs that were looked at.
    pub judged: usize,
    /// The epoch with which it was told to end.
    pub stopped_with: Option<usize>,
    pub is_paused: bool,
    /// Streams that are open.
    pub open_streams: usize,
    folder: PathBuf,
    child: Child,
}

impl Running {
    /// Starts the trial `number` in `folder`, or goes on from the checkpoint that is there. News goes to `news`.
    ///
    /// # Errors
    /// The folder cannot be written or the program not be started.
    pub fn start(
        bench: &Bench,
        number: usize,
        values: &Values,
        folder: &Path,
        news: &Sender<News>,
    ) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("train");
        match RunFolder::resume(Some(folder)) {
            Ok(_) => {
                command.arg("--resume").arg(folder);
            }
            Err(_) => {
                // What has no checkpoint has nothing worth keeping.
                match std::fs::remove_dir_all(folder) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => std::fs::create_dir_all(folder)?,
                }
                let file = folder.join(HYPERPARAMETERS);
                write_hyperparameters(&file, &bench.fixed, values)?;
                command.arg("--local-data").arg(&bench.data);
                command.arg("--output").arg(folder);
                command.arg("--hyperparameters").arg(file);
            }
        }
        command
            .arg("--feature-cache")
            .arg(&bench.features)
            .args(&bench.machine)
            .env(PARENT, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(threads) = bench.threads {
            command.env("RAYON_NUM_THREADS", threads.to_string());
        }
        if bench.head_only {
            // glibc would give memory back to the system in each of thousands of short steps and ask for it again: a fifth of
            // such a trial. Other systems take no notice.
            for name in ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"] {
                command.env(name, KEPT_MEMORY.to_string());
            }
        }
        // Ctrl-C reaches the whole group of a terminal, and the study tells its trials itself.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join(LOG))?;
        let mut child = command.spawn()?;
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|s| Box::new(s) as _),
            child.stderr.take().map(|s| Box::new(s) as _),
        ];
        for stream in streams.into_iter().flatten() {
            let (log, news) = (log.try_clone()?, news.clone());
            thread::spawn(move || listen(stream, log, number, &news));
        }
        Ok(Running {
            number,
            started: Instant::now(),
            judged: 0,
            stopped_with: None,
            is_paused: false,
            open_streams: 2,
            folder: folder.to_owned(),
            child,
        })
    }

    /// Asks the process to end. It does so within a moment; one that has ended takes no notice.
    pub fn ask(&mut self, what: Ask) {
        #[cfg(unix)]
        {
            use rustix::process::{Pid, Signal, kill_process};
            let signal = match what {
                Ask::Pause => Signal::INT,
                Ask::Finish => Signal::TERM,
            };
            // Fails only once the child is gone.
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
        #[cfg(not(unix))]
        if what == Ask::Pause {
            let _ = self.child.kill();
        }
        self.is_paused |= what == Ask::Pause;
    }

    /// Waits for the process, whose streams are closed.
    ///
    /// # Errors
    /// The system lost it.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Why the process failed: its own last word, or that of the system.
    pub fn reason(&self, status: ExitStatus) -> String {
        let log = std::fs::read(self.folder.join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let own = log
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("error: "));
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            return match signal {
                9 => "killed (SIGKILL), most likely because memory ran out: lower --parallel, batch-size or image-size".into(),
                _ => format!("crashed (signal {signal}); see {}", self.folder.join(LOG).display()),
            };
        }
        let last = || {
            log.lines()
                .rev()
                .find(|line| !line.is_empty())
                .unwrap_or("")
        };
        own.unwrap_or_else(last).to_string()
    }
}

/// Copies a stream to the log and tells of it.
fn listen(stream: Box<dyn Read + Send>, mut log: File, number: usize, news: &Sender<News>) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    // Nobody listens any more only when the study is over.
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let _ = log.write_all(&line);
        let _ = news.send(match line.starts_with(EPOCH.as_bytes()) {
            true => News::Epoch(number),
            false => News::Word(number),
        });
        line.clear();
    }
    let _ = news.send(News::Silence(number));
}

/// Writes settings in the form of SageMaker's `hyperparameters.json`: an object of strings.
///
/// # Errors
/// The file cannot be written.
pub fn write_hyperparameters(path: &Path, fixed: &Values, values: &Values) -> io::Result<()> {
    let mut all = fixed.clone();
    all.extend(values.clone());
    let text = serde_json::to_string_pretty(&all)?;
    crate::files::write_atomically(path, format!("{text}\n").as_bytes())
}
