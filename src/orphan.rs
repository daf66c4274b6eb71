//! Processes that end when the one that started them ends, however that ends.
//!
//! Input: the name of an environment variable in which the parent puts its process id. Output: whether there is such a parent.

/// Whether a parent started this process and put its id into `variable`. From then on this process dies with it, as a copy
/// that nobody looks after would get in the way of the next one.
#[cfg(target_os = "linux")]
pub fn dies_with_parent(variable: &str) -> bool {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let Some(parent) = parent_of(variable) else {
        return false;
    };
    // Refused only for signals that do not exist.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // Otherwise it died before it could be listened to, and this process must not outlive it.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        std::process::exit(1);
    }
    true
}

/// Elsewhere there is only the variable.
#[cfg(not(target_os = "linux"))]
pub fn dies_with_parent(variable: &str) -> bool {
    parent_of(variable).is_some()
}

fn parent_of(variable: &str) -> Option<i32> {
    std::env::var(variable).ok()?.parse().ok()
}
