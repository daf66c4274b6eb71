//! The duty of process 1 in a container: to wait for processes whose parents are gone, or they stay in the table as zombies.
//!
//! Input: the process that is waited for anyway, or none. Output: its end. Orphans come from outside, such as a program that was
//! started with `docker exec` and left its child behind; this program leaves none.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::thread;

use rustix::process::{Pid, WaitOptions, wait};
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;

/// Waits for `child`, which must be the only child that this process started, and for whatever ends before it.
///
/// # Errors
/// The system cannot wait; `child` was waited for elsewhere.
pub fn wait_for(child: &Child) -> io::Result<ExitStatus> {
    let expected = Pid::from_child(child);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == expected => {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// As process 1, waits for every process that ends from now on; elsewhere does nothing. Only for commands that start no processes.
///
/// # Errors
/// Signals cannot be listened to.
pub fn wait_for_all() -> io::Result<()> {
    if std::process::id() != 1 {
        return Ok(());
    }
    let mut signals = Signals::new([SIGCHLD])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            // One signal may stand for several processes.
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        }
    });
    Ok(())
}
