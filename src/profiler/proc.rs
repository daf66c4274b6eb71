//! What the kernel counts: processors, memory, disks, network.
//!
//! Input: `/proc`. Output: [`Counters`], and from two of them the load in between. Where there is no `/proc`, nothing is known.

use std::collections::BTreeMap;

use crate::device::nvidia::Figure;

/// Time of a processor in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ticks {
    busy: u64,
    iowait: u64,
    total: u64,
}

/// What was counted by a moment.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    cpus: BTreeMap<String, Ticks>,
    /// Bytes read from and written to disks.
    disk: Option<(u64, u64)>,
    /// Bytes received and sent, the loopback left out.
    network: Option<(u64, u64)>,
}

impl Counters {
    pub fn now() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Counters {
            cpus: cpus(&read("/proc/stat")),
            disk: disk(&read("/proc/self/io")),
            network: network(&read("/proc/net/dev")),
        }
    }

    /// The load since `before`, which was counted `seconds` ago.
    pub fn since(&self, before: &Counters, seconds: f64) -> Vec<Figure> {
        let mut figures = Vec::new();
        for (name, now) in &self.cpus {
            let Some(old) = before.cpus.get(name) else {
                continue;
            };
            let total = now.total.saturating_sub(old.total);
            if total == 0 {
                continue;
            }
            let percent =
                |now: u64, old: u64| 100.0 * now.saturating_sub(old) as f64 / total as f64;
            figures.push((
                "cpu",
                name.clone(),
                "CPUUtilization",
                percent(now.busy, old.busy),
            ));
            figures.push((
                "cpu",
                name.clone(),
                "I/OWaitPercentage",
                percent(now.iowait, old.iowait),
            ));
        }
        let mut rates = |kind,
                         dimension,
                         names: [&str; 2],
                         now: Option<(u64, u64)>,
                         old: Option<(u64, u64)>| {
            if let (Some(now), Some(old)) = (now, old) {
                let rate = |now: u64, old: u64| now.saturating_sub(old) as f64 / seconds.max(1e-3);
                figures.push((kind, names[0].to_string(), dimension, rate(now.0, old.0)));
                figures.push((kind, names[1].to_string(), dimension, rate(now.1, old.1)));
            }
        };
        rates(
            "disk",
            "BytesPerSecond",
            ["Read", "Written"],
            self.disk,
            before.disk,
        );
        rates(
            "network",
            "Algorithm",
            ["Received", "Sent"],
            self.network,
            before.network,
        );
        figures.extend(memory(
            &std::fs::read_to_string("/proc/meminfo").unwrap_or_default(),
        ));
        figures
    }
}

fn cpus(stat: &str) -> BTreeMap<String, Ticks> {
    let lines = stat.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words
            .next()
            .filter(|name| name.starts_with("cpu") && name.len() > 3)?;
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; the guests' time is in the user's.
        let idle = ticks.get(3)? + ticks.get(4)?;
        let total: u64 = ticks.iter().take(8).sum();
        let ticks = Ticks {
            busy: total - idle,
            iowait: ticks[4],
            total,
        };
        Some((name.to_string(), ticks))
    });
    lines.collect()
}

fn disk(io: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let line = io.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some((field("read_bytes:")?, field("write_bytes:")?))
}

fn network(dev: &str) -> Option<(u64, u64)> {
    let mut found = None;
    for line in dev.lines() {
        let Some((name, counts)) = line.split_once(':') else {
            continue;
        };
        let counts: Vec<u64> = counts
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        if let (false, Some(received), Some(sent)) =
            (name.trim() == "lo", counts.first(), counts.get(8))
        {
            let (all_received, all_sent) = found.unwrap_or((0, 0));
            found = Some((all_received + received, all_sent + sent));
        }
    }
    found
}

/// The machine's memory in use, in percent, as Amazon's agent counts it: what is not available.
fn memory(meminfo: &str) -> Option<Figure> {
    let field = |name: &str| -> Option<f64> {
        let line = meminfo.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let (total, available) = (field("MemTotal:")?, field("MemAvailable:")?);
    let used = 100.0 * (total - available) / total;
    Some((
        "memory",
        "MemoryUsedPercent".into(),
        "MemoryUsedPercent",
        used,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 10 0 10 80 0 0 0 0 0 0\nintr 5\n";
    const AFTER: &str = "cpu  70 0 20 100 10 0 0 0 0 0\ncpu0 70 0 20 100 10 0 0 0 0 0\nintr 9\n";

    #[test]
    fn load_is_what_was_not_idle_since() {
        let counters = |text| Counters {
            cpus: cpus(text),
            ..Default::default()
        };
        let figures = counters(AFTER).since(&counters(BEFORE), 1.0);
        let of = |dimension| figures.iter().find(|f| f.2 == dimension).unwrap();
        assert_eq!(of("CPUUtilization").1, "cpu0");
        assert_eq!(of("CPUUtilization").3, 70.0);
        assert_eq!(of("I/OWaitPercentage").3, 10.0);
    }

    #[test]
    fn bytes_are_summed_without_the_loopback() {
        let dev = "Inter-|\n face |\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 5 0 0 0 0 0 0 0 7 0\n  eth1: 1 0 0 0 0 0 0 0 2 0\n";
        assert_eq!(network(dev), Some((6, 9)));
        assert_eq!(
            disk("rchar: 1\nread_bytes: 4096\nwrite_bytes: 0\n"),
            Some((4096, 0))
        );
        assert_eq!(disk(""), None);
    }

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let (_, name, _, value) =
            memory("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 750 kB\n").unwrap();
        assert_eq!((name.as_str(), value), ("MemoryUsedPercent", 25.0));
    }
}
