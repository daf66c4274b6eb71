//! Rules about the machine: LowGPUUtilization, GPUMemoryIncrease, CPUBottleneck, IOBottleneck, BatchSize, LoadBalancing.

use serde_json::json;

use super::RuleReport;
use crate::profiler::profile::{Profile, percentile_of};

const GPU: (&str, &str) = ("gpu", "GPUUtilization");
const GPU_MEMORY: (&str, &str) = ("gpu", "GPUMemoryUtilization");
const NO_GPU: &str = "does not apply: there are no figures of a GPU";
/// Samples that are waited for, where a run has twice as many.
const PATIENCE: usize = 1000;

fn patience(samples: usize) -> usize {
    PATIENCE.min(samples / 2)
}

/// The values of a dimension moment by moment, after the first ones, in which a run starts.
fn steady(profile: &Profile, (kind, dimension): (&str, &str)) -> Vec<f64> {
    let means = profile.means(kind, dimension);
    let skip = patience(means.len());
    means
        .into_iter()
        .skip(skip)
        .map(|(_, value)| value)
        .collect()
}

/// A GPU that is busy too seldom, or by fits and starts.
pub fn low_gpu_utilization(profile: &Profile) -> RuleReport {
    let parameters = [
        ("threshold_p95", 70.0),
        ("threshold_p5", 10.0),
        ("window", 500.0),
        ("patience", PATIENCE as f64),
    ];
    let mut report = RuleReport::new("LowGPUUtilization", &parameters);
    let values = steady(profile, GPU);
    if values.is_empty() {
        return report.nothing(NO_GPU);
    }
    let windows = values.chunks(500);
    let bad = |window: &&[f64]| {
        let (p95, p5) = (
            percentile_of(window.to_vec(), 0.95),
            percentile_of(window.to_vec(), 0.05),
        );
        p95 < 70.0 || p5 < 10.0
    };
    let count = windows.filter(bad).count();
    let (p95, p5) = (
        percentile_of(values.clone(), 0.95),
        percentile_of(values.clone(), 0.05),
    );
    report
        .details
        .insert("gpu".into(), json!({"p95": p95, "p5": p5}));
    let seen = format!("the 95th percentile of the GPU's load is {p95:.0} %, the 5th {p5:.0} %");
    match count {
        0 => report.fine(values.len(), seen),
        _ => report.found(
            count,
            values.len(),
            seen,
            "raise --batch-size; where steps wait for images, --workers or --cache-mb",
        ),
    }
}

/// GPU memory that grows.
pub fn gpu_memory_increase(profile: &Profile) -> RuleReport {
    let parameters = [
        ("increase", 5.0),
        ("window", 60.0),
        ("patience", PATIENCE as f64),
    ];
    let report = RuleReport::new("GPUMemoryIncrease", &parameters);
    let values = steady(profile, GPU_MEMORY);
    if values.is_empty() {
        return report.nothing(NO_GPU);
    }
    let mean = |window: &[f64]| window.iter().sum::<f64>() / window.len() as f64;
    let means: Vec<f64> = values.chunks_exact(60).map(mean).collect();
    let grown = means
        .windows(2)
        .filter(|pair| pair[1] > pair[0] * 1.05)
        .count();
    match grown {
        0 => report.fine(
            values.len(),
            "the GPU's memory in use stays as it is".into(),
        ),
        _ => {
            let (first, last) = (
                means.first().copied().unwrap_or(0.0),
                means.last().copied().unwrap_or(0.0),
            );
            let seen = format!("the GPU's memory in use grew from {first:.0} to {last:.0} %");
            report.found(
                grown,
                values.len(),
                seen,
                "lower --batch-size before it runs out",
            )
        }
    }
}

/// Moments at which the GPU idles while `busy` is above a threshold.
fn idle_while(profile: &Profile, busy: (&str, &str), threshold: f64) -> Option<(usize, usize)> {
    let gpu = profile.means(GPU.0, GPU.1);
    let other = profile.means(busy.0, busy.1);
    if gpu.is_empty() || other.is_empty() {
        return None;
    }
    let skip = patience(gpu.len());
    let (mut idle, mut count) = (0, 0);
    let mut at = 0;
    for (time, load) in gpu.into_iter().skip(skip) {
        // Both lists are by time, so the nearest lies ahead.
        while at + 1 < other.len() && (other[at + 1].0 - time).abs() <= (other[at].0 - time).abs() {
            at += 1;
        }
        count += 1;
        idle += usize::from(load < 10.0 && other[at].1 > threshold);
    }
    Some((idle, count))
}

/// A GPU that idles while the CPU is at its limit.
pub fn cpu_bottleneck(profile: &Profile) -> RuleReport {
    let parameters = [
        ("threshold", 50.0),
        ("gpu_threshold", 10.0),
        ("cpu_threshold", 90.0),
        ("patience", PATIENCE as f64),
    ];
    let report = RuleReport::new("CPUBottleneck", &parameters);
    judge_idle(
        report,
        idle_while(profile, ("cpu", "CPUUtilization"), 90.0),
        "the CPU is above 90 %",
        "raise --cache-mb, so that images are decoded once, or take an instance with more cores per GPU",
    )
}

/// A GPU that idles while disks are waited for.
pub fn io_bottleneck(profile: &Profile) -> RuleReport {
    let parameters = [
        ("threshold", 50.0),
        ("gpu_threshold", 10.0),
        ("io_threshold", 50.0),
        ("patience", PATIENCE as f64),
    ];
    let report = RuleReport::new("IOBottleneck", &parameters);
    judge_idle(
        report,
        idle_while(profile, ("cpu", "I/OWaitPercentage"), 50.0),
        "the CPU waits for disks half of the time",
        "use File mode instead of FastFile, a local SSD, or --cache-mb",
    )
}

fn judge_idle(
    mut report: RuleReport,
    seen: Option<(usize, usize)>,
    while_what: &str,
    advice: &str,
) -> RuleReport {
    let Some((idle, count)) = seen else {
        return report.nothing(NO_GPU);
    };
    let percent = 100.0 * idle as f64 / count.max(1) as f64;
    report.details.insert("share".into(), json!(percent));
    let text = format!("in {percent:.0} % of the samples the GPU idles while {while_what}");
    match percent > 50.0 {
        false => report.fine(count, text),
        true => report.found(idle, count, text, advice),
    }
}

/// A machine that has room for larger batches.
pub fn batch_size(profile: &Profile) -> RuleReport {
    let limit = 70.0;
    let parameters = [
        ("cpu_threshold_p95", limit),
        ("gpu_threshold_p95", limit),
        ("gpu_memory_threshold_p95", limit),
        ("window", 500.0),
        ("patience", PATIENCE as f64),
    ];
    let mut report = RuleReport::new("BatchSize", &parameters);
    let p95 = |what| percentile_of(steady(profile, what), 0.95);
    let (cpu, gpu, memory) = (p95(("cpu", "CPUUtilization")), p95(GPU), p95(GPU_MEMORY));
    if gpu.is_nan() || memory.is_nan() {
        return report.nothing(NO_GPU);
    }
    report.details.insert(
        "p95".into(),
        json!({"cpu": cpu, "gpu": gpu, "gpu_memory": memory}),
    );
    let count = steady(profile, GPU).len();
    let seen =
        format!("95th percentiles: CPU {cpu:.0} %, GPU {gpu:.0} %, GPU memory {memory:.0} %");
    match cpu < limit && gpu < limit && memory < limit {
        false => report.fine(count, seen),
        true => report.found(
            1,
            count,
            seen,
            "raise --batch-size, or take a smaller instance",
        ),
    }
}

/// GPUs of which some work and others do not.
pub fn load_balancing(profile: &Profile) -> RuleReport {
    let parameters = [("threshold", 0.5), ("patience", PATIENCE as f64)];
    let mut report = RuleReport::new("LoadBalancing", &parameters);
    let names = profile.names("gpu");
    if names.len() < 2 {
        return report.nothing("does not apply: it compares two GPUs or more");
    }
    let loads: Vec<(String, Vec<f64>)> = names
        .into_iter()
        .map(|name| {
            let of_gpu = profile
                .samples
                .iter()
                .filter(|s| s.name == name && s.dimension == GPU.1);
            (name.to_string(), of_gpu.map(|s| s.value).collect())
        })
        .collect();
    let count = loads
        .iter()
        .map(|(_, values)| values.len())
        .min()
        .unwrap_or(0);
    let mut worst = (0.0, String::new());
    for (i, (one, a)) in loads.iter().enumerate() {
        for (other, b) in &loads[i + 1..] {
            let difference = histogram_distance(a, b);
            if difference > worst.0 {
                worst = (difference, format!("{one} and {other}"));
            }
        }
    }
    report.details.insert("distance".into(), json!(worst.0));
    match worst.0 > 0.5 {
        false => report.fine(count, "the GPUs are loaded alike".into()),
        true => {
            let seen = format!("the loads of {} differ by {:.2} of 1", worst.1, worst.0);
            report.found(
                1,
                count,
                seen,
                "training uses one GPU: an instance with one is enough",
            )
        }
    }
}

/// Half the sum of what two distributions over tenths differ by: 0 where they are one, 1 where they share nothing.
fn histogram_distance(a: &[f64], b: &[f64]) -> f64 {
    let histogram = |values: &[f64]| {
        let mut shares = [0.0; 10];
        for value in values {
            shares[((value / 10.0) as usize).min(9)] += 1.0 / values.len() as f64;
        }
        shares
    };
    let (a, b) = (histogram(a), histogram(b));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0
}
