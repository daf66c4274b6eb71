//! A parent that outlives the training process, to say why it died.
//!
//! Input: the command line. Output: the child's exit code, and where a signal killed it (out of memory, a crash in a
//! driver) the reason in the failure file, which the dead process could no longer write. The parent does nothing but hand
//! signals on and read the child's last words, so the kernel's memory killer does not pick it; and if the parent goes, the
//! child goes with it.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Paths;
use super::failure::record;
use super::orphans::wait_for;
use crate::train::StopSignal;

/// Holds the parent's process id in the child's environment.
const PARENT: &str = "SAGEMAKER_BURN_SUPERVISED_BY";
/// The exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;
/// Lines of the child's stderr that are kept.
const LAST_WORDS: usize = 20;

/// The training process under a supervisor.
pub struct Child;

impl Child {
    /// `Some` in a process that [`supervise`] started. From then on it dies with its parent.
    pub fn of_environment() -> Option<Self> {
        crate::orphan::dies_with_parent(PARENT).then_some(Child)
    }
}

/// Runs this program again with the same arguments, and reports how it died if it was killed. `stop` has listened since this
/// process began.
///
/// # Errors
/// The process cannot be started.
pub fn supervise(paths: &Paths, stop: &StopSignal) -> io::Result<ExitCode> {
    // Before the child starts: a signal that comes now waits for it.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGQUIT])?;
    let interactive = io::stderr().is_terminal();
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(std::env::args_os().skip(1))
        .env(PARENT, std::process::id().to_string())
        // Ctrl-C reaches the whole group of a terminal: the child would hear it twice, once from us.
        .process_group(0);
    if !interactive {
        command.stderr(Stdio::piped());
    }
    let kills_before = memory_kills();
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let handed_on = Arc::new(AtomicBool::new(false));
    if stop.requested().is_some() {
        hand_on(pid, SIGTERM, &handed_on);
    }
    let noted = handed_on.clone();
    thread::spawn(move || {
        signals
            .forever()
            .for_each(|signal| hand_on(pid, signal, &noted))
    });
    let words = child
        .stderr
        .take()
        .map(|stderr| thread::spawn(|| pass_on(stderr)));
    let status = wait_for(&child)?;
    let words = words
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    if let Some(code) = status.code() {
        let code = code.clamp(0, 255) as u8;
        // It writes its own reason unless it could not; nothing is then better than its last words. Ctrl-C is no failure.
        if code != 0 && code != INTERRUPTED {
            record(&paths.failure, &last_words(code, &words));
        }
        return Ok(ExitCode::from(code));
    }
    let signal = status.signal().unwrap_or(0);
    if handed_on.load(Ordering::Relaxed) && [SIGINT, SIGHUP, SIGQUIT].contains(&signal) {
        // It was asked to and had nothing to save yet.
        return Ok(ExitCode::from(128 + signal as u8));
    }
    let reason = reason(status, &words, memory_kills() > kills_before);
    eprintln!("error: {reason}");
    record(&paths.failure, &reason);
    Ok(ExitCode::FAILURE)
}

/// Hands a signal on to the child. SIGTERM waits until the child listens: the moment after its start it would die of it.
fn hand_on(child: Pid, signal: i32, handed_on: &AtomicBool) {
    let began = Instant::now();
    while signal == SIGTERM && !catches(child, signal) && began.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(1));
    }
    handed_on.store(true, Ordering::Relaxed);
    if let Some(signal) = Signal::from_named_raw(signal) {
        // Fails only once the child is gone.
        let _ = kill_process(child, signal);
    }
}

/// Whether a process has a handler for `signal`, as the kernel says.
fn catches(process: Pid, signal: i32) -> bool {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// What is known of a child that failed without a reason.
fn last_words(code: u8, words: &VecDeque<String>) -> String {
    let last = words.iter().rev().find(|line| !line.is_empty());
    match last {
        Some(line) => line.trim_start_matches("error: ").to_string(),
        None => format!("the training process ended with exit code {code}"),
    }
}

/// Copies the child's stderr to ours and returns its last lines.
fn pass_on(stderr: impl Read) -> VecDeque<String> {
    let mut reader = BufReader::new(stderr);
    let (mut line, mut last) = (Vec::new(), VecDeque::new());
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|count| count > 0)
    {
        // Whoever reads us may be gone; the child goes on all the same.
        let _ = io::stderr().write_all(&line);
        if last.len() == LAST_WORDS {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).trim_end().to_string());
        line.clear();
    }
    last
}

/// How often the kernel has killed a process of this container for memory.
fn memory_kills() -> u64 {
    // Control groups of version 2, then 1.
    let text = std::fs::read_to_string("/sys/fs/cgroup/memory.events")
        .or_else(|_| std::fs::read_to_string("/sys/fs/cgroup/memory/memory.oom_control"))
        .unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

const LESS_MEMORY: &str =
    "lower batch-size, cache-mb, workers or image-size, or take an instance with more memory";

/// Why the child died, in words: the cause first, then what it said last.
fn reason(status: ExitStatus, words: &VecDeque<String>, killed_for_memory: bool) -> String {
    let signal = status.signal().unwrap_or(0);
    let said = |part: &str| words.iter().rev().find(|line| line.contains(part));
    if let Some(line) = said("memory allocation of") {
        return format!("out of memory: {line}; {LESS_MEMORY}");
    }
    if said("has overflowed its stack").is_some() {
        return "internal error: the stack overflowed; this is a bug, please report it with the log".into();
    }
    match signal {
        9 if killed_for_memory => {
            format!("out of memory: the kernel killed the training process; {LESS_MEMORY}")
        }
        9 => format!(
            "the training process was killed (SIGKILL), most likely because memory ran out; {LESS_MEMORY}"
        ),
        _ => {
            let name = match signal {
                4 => "SIGILL",
                6 => "SIGABRT",
                7 => "SIGBUS",
                8 => "SIGFPE",
                11 => "SIGSEGV",
                25 => "SIGXFSZ: a file grew beyond the allowed size",
                _ => "a signal",
            };
            let last = words.iter().rev().find(|line| !line.is_empty());
            let last = last.map(|line| format!(". It said last: {line}"));
            format!(
                "the training process crashed ({name}, number {signal}){}",
                last.unwrap_or_default()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(signal: i32, words: &[&str], killed_for_memory: bool) -> String {
        let words = words.iter().map(|line| line.to_string()).collect();
        reason(ExitStatus::from_raw(signal), &words, killed_for_memory)
    }

    #[test]
    fn the_cause_comes_first() {
        let words = [
            "epoch 1/3 step 4/9",
            "memory allocation of 123 bytes failed",
        ];
        assert!(
            said(6, &words, false).starts_with("out of memory: memory allocation of 123 bytes")
        );
        assert!(said(9, &[], true).starts_with("out of memory"));
        assert!(said(9, &[], false).contains("most likely"));
        assert!(
            said(11, &["CUDA error", ""], false)
                .contains("SIGSEGV, number 11). It said last: CUDA error")
        );
        assert!(said(6, &["thread 'main' has overflowed its stack"], false).contains("stack"));
    }

    #[test]
    fn the_last_words_are_kept_and_no_more() {
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let last = pass_on(io::Cursor::new(text));
        assert_eq!(
            (last.len(), last[LAST_WORDS - 1].as_str()),
            (LAST_WORDS, "line 99")
        );
    }
}
