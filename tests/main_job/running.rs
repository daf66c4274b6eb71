//! A process that is still running: waiting for its lines, sending it signals.
//!
//! Input: a command. Output: [`Running`], and in the end [`Ended`].

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use super::run::Ended;

/// A process whose output is read as it comes. It is killed when this is dropped.
pub struct Running {
    child: Child,
    lines: Receiver<(Stream, String)>,
    ended: Ended,
}

#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        forward(child.stdout.take().unwrap(), Stream::Out, sender.clone());
        forward(child.stderr.take().unwrap(), Stream::Err, sender);
        let ended = Ended {
            code: None,
            stdout: String::new(),
            stderr: String::new(),
        };
        Self {
            child,
            lines,
            ended,
        }
    }

    /// Waits for a line that begins with `start`; false if the process ended without one.
    pub fn wait_for(&mut self, start: &str) -> bool {
        while let Ok((stream, line)) = self.lines.recv() {
            let found = line.starts_with(start);
            self.note(stream, &line);
            if found {
                return true;
            }
        }
        false
    }

    /// Waits for a line that holds `part` and returns it; `None` if the process ended without one.
    pub fn line_with(&mut self, part: &str) -> Option<String> {
        while let Ok((stream, line)) = self.lines.recv() {
            self.note(stream, &line);
            if line.contains(part) {
                return Some(line);
            }
        }
        None
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends `INT`, `TERM` or `KILL`; a process that has already ended takes no notice.
    pub fn signal(&self, name: &str) {
        // The shell has this built in, while a program of that name may be missing.
        let kill = format!("kill -{name} {} 2>/dev/null", self.child.id());
        Command::new("sh").args(["-c", &kill]).status().unwrap();
    }

    pub fn end(mut self) -> Ended {
        while let Ok((stream, line)) = self.lines.recv() {
            self.note(stream, &line);
        }
        let code = self.child.wait().unwrap().code();
        let (stdout, stderr) = (&mut self.ended.stdout, &mut self.ended.stderr);
        Ended {
            code,
            stdout: std::mem::take(stdout),
            stderr: std::mem::take(stderr),
        }
    }

    fn note(&mut self, stream: Stream, line: &str) {
        let text = match stream {
            Stream::Out => &mut self.ended.stdout,
            Stream::Err => &mut self.ended.stderr,
        };
        text.push_str(line);
        text.push('\n');
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where the process has ended, which is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(pipe: impl Read + Send + 'static, stream: Stream, lines: Sender<(Stream, String)>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if lines.send((stream, line)).is_err() {
                return;
            }
        }
    });
}
