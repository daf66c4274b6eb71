//! How much memory there is and how much this process took.
//!
//! Input: `/proc` on Linux; elsewhere nothing is known and the answers are `None`. Output: bytes.

/// The most physical memory this process has held so far.
pub fn peak_bytes() -> Option<u64> {
    kilobytes(
        &std::fs::read_to_string("/proc/self/status").ok()?,
        "VmHWM:",
    )
}

/// What new work may take without swapping: the machine's estimate, lowered to what the container's limit leaves.
pub fn available_bytes() -> Option<u64> {
    let machine = kilobytes(
        &std::fs::read_to_string("/proc/meminfo").ok()?,
        "MemAvailable:",
    )?;
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let limit = read("/sys/fs/cgroup/memory.max")
        .or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    let used = read("/sys/fs/cgroup/memory.current")
        .or_else(|| read("/sys/fs/cgroup/memory/memory.usage_in_bytes"));
    Some(match (limit, used) {
        (Some(limit), Some(used)) => machine.min(limit.saturating_sub(used)),
        _ => machine,
    })
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_field_in_kilobytes() {
        assert_eq!(
            kilobytes("VmPeak: 1 kB\nVmHWM:\t  12 kB\n", "VmHWM:"),
            Some(12 * 1024)
        );
        assert_eq!(kilobytes("", "VmHWM:"), None);
    }
}
