//! What NVIDIA's management library knows of the GPUs: for people and for measurements, not needed to compute.
//!
//! Input: the driver's libnvidia-ml. Output: [`Gpu`]s; none where the library is missing or the program was built without CUDA.

use serde::Serialize;

/// A GPU as the driver describes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gpu {
    pub name: String,
    /// Such as 9.0.
    pub compute_capability: String,
    pub memory_mb: u64,
    pub free_memory_mb: u64,
}

/// The driver and its GPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Driver {
    /// Such as 550.163.01.
    pub driver: String,
    /// The newest CUDA that the driver can run, such as 12.4.
    pub cuda: String,
    pub gpus: Vec<Gpu>,
}

/// Asks the driver; `None` where there is none that answers.
#[cfg(feature = "cuda")]
pub fn driver() -> Option<Driver> {
    let nvml = nvml_wrapper::Nvml::init().ok()?;
    let cuda = nvml.sys_cuda_driver_version().ok()?;
    let count = nvml.device_count().ok()?;
    let gpus = (0..count).filter_map(|index| describe(&nvml, index).ok());
    Some(Driver {
        driver: nvml.sys_driver_version().ok()?,
        cuda: format!(
            "{}.{}",
            nvml_wrapper::cuda_driver_version_major(cuda),
            nvml_wrapper::cuda_driver_version_minor(cuda)
        ),
        gpus: gpus.collect(),
    })
}

#[cfg(feature = "cuda")]
fn describe(nvml: &nvml_wrapper::Nvml, index: u32) -> Result<Gpu, nvml_wrapper::error::NvmlError> {
    let gpu = nvml.device_by_index(index)?;
    let capability = gpu.cuda_compute_capability()?;
    let memory = gpu.memory_info()?;
    Ok(Gpu {
        name: gpu.name()?,
        compute_capability: format!("{}.{}", capability.major, capability.minor),
        memory_mb: memory.total / 1_000_000,
        free_memory_mb: memory.free / 1_000_000,
    })
}

/// See the other one.
#[cfg(not(feature = "cuda"))]
pub fn driver() -> Option<Driver> {
    None
}

/// A figure of a GPU: kind, name, dimension, value.
pub type Figure = (&'static str, String, &'static str, f64);

/// How busy each GPU is, and its memory, power and temperature; nothing where no driver answers.
#[cfg(feature = "cuda")]
pub fn figures() -> Vec<Figure> {
    static NVML: std::sync::OnceLock<Option<nvml_wrapper::Nvml>> = std::sync::OnceLock::new();
    let Some(nvml) = NVML.get_or_init(|| nvml_wrapper::Nvml::init().ok()) else {
        return Vec::new();
    };
    let mut figures = Vec::new();
    for index in 0..nvml.device_count().unwrap_or(0) {
        let Ok(gpu) = nvml.device_by_index(index) else {
            continue;
        };
        let mut add =
            |dimension, value: f64| figures.push(("gpu", format!("gpu{index}"), dimension, value));
        if let Ok(load) = gpu.utilization_rates() {
            add("GPUUtilization", f64::from(load.gpu));
        }
        if let Ok(memory) = gpu.memory_info() {
            add(
                "GPUMemoryUtilization",
                100.0 * memory.used as f64 / memory.total.max(1) as f64,
            );
            add("GPUMemoryBytes", memory.used as f64);
        }
        if let Ok(milliwatts) = gpu.power_usage() {
            add("GPUPowerWatts", f64::from(milliwatts) / 1e3);
        }
        if let Ok(celsius) =
            gpu.temperature(nvml_wrapper::enum_wrappers::device::TemperatureSensor::Gpu)
        {
            add("GPUTemperatureCelsius", f64::from(celsius));
        }
    }
    figures
}

/// See the other one.
#[cfg(not(feature = "cuda"))]
pub fn figures() -> Vec<Figure> {
    Vec::new()
}
