//! `doctor`: what this machine offers.

use serde_json::{Value, json};

use super::{CommandError, say_line};
use crate::cli::DoctorArgs;
use crate::config::Precision;
use crate::device::{DeviceRequest, Selected, cuda, gpu_count, nvidia, select};
use crate::kernels::Choice;
use crate::zoo::{Cache, Zoo};

pub fn run(args: &DoctorArgs) -> Result<(), CommandError> {
    let device = select(DeviceRequest::Auto)?;
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
        "gpu_precisions": gpu_precisions(&device),
        "nvidia": nvidia::driver(),
        "libdevice": libdevice(),
        "gpu_kernels_cache": gpu_kernels(),
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
        say_line(format_args!(
            "{:20} {}",
            name.replace('_', " "),
            text(value)
        ))?;
    }
    Ok(())
}

/// A value for people.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let fields = fields.iter();
            let named =
                fields.map(|(name, value)| format!("{} {}", name.replace('_', " "), text(value)));
            named.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

/// The number formats that the GPU computes in.
fn gpu_precisions(device: &Selected) -> Vec<String> {
    let all = [Precision::Float32, Precision::Bfloat16];
    let usable = |precision: &Precision| !device.is_cpu && device.format(*precision).is_ok();
    all.into_iter()
        .filter(usable)
        .map(|precision| precision.to_string())
        .collect()
}

/// Where the GPU's maths library is; why not, where a GPU needs it.
fn libdevice() -> Option<String> {
    match cuda::libdevice() {
        Ok(path) => Some(path.display().to_string()),
        Err(missing) => (gpu_count() > 0).then(|| missing.to_string()),
    }
}

/// Where compiled kernels are kept, and how much of them is there.
fn gpu_kernels() -> Option<String> {
    if !cfg!(feature = "cuda") {
        return None;
    }
    let folder = cuda::kernels_folder()?;
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let bytes: u64 = files
        .filter_map(|file| file.metadata().ok())
        .map(|m| m.len())
        .sum();
    Some(format!(
        "{} ({:.1} MB)",
        folder.display(),
        bytes as f64 / 1e6
    ))
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
