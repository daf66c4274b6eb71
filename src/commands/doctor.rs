//! `doctor`: what this machine offers.

use serde_json::json;

use super::{CommandError, say_line};
use crate::cli::DoctorArgs;
use crate::config::Precision;
use crate::device::{DeviceRequest, gpu_count, select};
use crate::kernels::Choice;
use crate::zoo::{Cache, Zoo};

pub fn run(args: &DoctorArgs) -> Result<(), CommandError> {
    let device = select(DeviceRequest::Auto, Precision::Float32)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cache = Cache::from_env()?;
    let cached: Vec<&str> = Zoo::builtin()
        .list()
        .iter()
        .filter(|e| cache.path(e).is_file())
        .map(|e| e.name.as_str())
        .collect();
    let report = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "burn": crate::BURN_VERSION,
        "device": device.name,
        "device_reason": device.why,
        "built_with_cuda": cfg!(feature = "cuda"),
        "gpus": gpu_count(),
        "cores": cores,
        "cpu_features": cpu_features(),
        "cpu_kernels": Choice::of_process().to_string(),
        "available_memory_mb": crate::memory::available_bytes().map(|b| b / 1_000_000),
        // As text: JSON refuses a path that is not UTF-8.
        "weights_cache": cache.folder().to_string_lossy(),
        "weights_cached": cached,
    });
    if args.json {
        say_line(format_args!("{}", serde_json::to_string_pretty(&report)?))?;
        return Ok(());
    }
    for (name, value) in report.as_object().into_iter().flatten() {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Array(items) if items.is_empty() => "none".into(),
            serde_json::Value::Array(items) => items
                .iter()
                .filter_map(|i| i.as_str())
                .collect::<Vec<_>>()
                .join(", "),
            other => other.to_string(),
        };
        say_line(format_args!("{:20} {text}", name.replace('_', " ")))?;
    }
    Ok(())
}

/// The vector instructions that the CPU kernels can choose from at run time.
fn cpu_features() -> Vec<&'static str> {
    #[allow(unused_mut)]
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    for (name, there) in [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
    ] {
        if there {
            found.push(name);
        }
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        found.push("neon");
    }
    found
}
