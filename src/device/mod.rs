//! `--device auto|cpu|cuda[:n]` to a Burn device: the only place that knows which backends exist.
//!
//! Input: [`DeviceRequest`] and [`Precision`]. Output: [`Selected`]: the device, its name and why it was taken, and the
//! [`NumberFormat`]. Burn panics when asked for a GPU that is not there, and in the middle of the work where the GPU's
//! maths library is missing, so both are looked for first.

pub mod cuda;
pub mod nvidia;

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Device};

use crate::config::Precision;

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRequest {
    Auto,
    Cpu,
    Cuda(usize),
}

impl FromStr for DeviceRequest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected auto, cpu, cuda or cuda:N such as cuda:0".to_string();
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(DeviceRequest::Auto),
            "cpu" => Ok(DeviceRequest::Cpu),
            "cuda" | "gpu" => Ok(DeviceRequest::Cuda(0)),
            other => {
                let index = other.strip_prefix("cuda:").ok_or_else(expected)?;
                index
                    .parse()
                    .map(DeviceRequest::Cuda)
                    .map_err(|_| expected())
            }
        }
    }
}

impl fmt::Display for DeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceRequest::Auto => f.write_str("auto"),
            DeviceRequest::Cpu => f.write_str("cpu"),
            DeviceRequest::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// Why a device cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error(
        "--device cuda: this program was built without CUDA; build it with `cargo build --release --features cuda`, or use --device cpu"
    )]
    NotBuilt,
    #[error(
        "--device cuda:{index}: no usable NVIDIA GPU was found (is the driver installed and, in a container, passed in with --gpus all?); use --device cpu"
    )]
    NoGpu { index: usize },
    #[error("--device cuda:{index}: there are only {count} GPUs, cuda:0 to cuda:{}", count - 1)]
    NoSuchGpu { index: usize, count: usize },
    #[error("--device cuda:{index}: {source}")]
    Libdevice {
        index: usize,
        source: cuda::LibdeviceMissing,
    },
    #[error(
        "--precision bfloat16: {device} does not compute in it (NVIDIA GPUs do from compute capability 8.0 on, such as A10G, A100 or L4); use --precision float32"
    )]
    Precision { device: String },
}

/// How a device computes convolutions and feature maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFormat {
    Float32,
    Bfloat16,
}

impl fmt::Display for NumberFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NumberFormat::Float32 => "float32",
            NumberFormat::Bfloat16 => "bfloat16",
        })
    }
}

/// A device to compute on.
#[derive(Clone, Debug)]
pub struct Selected {
    pub device: Device,
    /// `cpu` or `cuda:N`.
    pub name: String,
    /// One sentence for the log: why this one.
    pub why: String,
    pub is_cpu: bool,
}

impl Selected {
    /// Nothing but the CPU, for commands and tests that need no choice.
    pub fn cpu() -> Self {
        Selected {
            device: Device::flex(),
            name: "cpu".into(),
            why: "asked for".into(),
            is_cpu: true,
        }
    }
}

/// Takes the device that was asked for, or with `auto` the first usable GPU, else the CPU.
///
/// # Errors
/// A GPU that was asked for and is not there or cannot be used.
pub fn select(request: DeviceRequest) -> Result<Selected, DeviceError> {
    match request {
        DeviceRequest::Cpu => Ok(Selected::cpu()),
        DeviceRequest::Cuda(index) => gpu(index, "asked for".into()),
        DeviceRequest::Auto => Ok(first_gpu().unwrap_or_else(|why| Selected {
            why,
            ..Selected::cpu()
        })),
    }
}

/// The first GPU, or why there is none that can be used.
fn first_gpu() -> Result<Selected, String> {
    if !cfg!(feature = "cuda") {
        return Err("this program was built without CUDA".into());
    }
    let count = gpu_count();
    if count == 0 {
        return Err("no usable NVIDIA GPU was found".into());
    }
    gpu(0, format!("the first of {count} usable GPUs")).map_err(|error| {
        // Somebody pays for that GPU: not only a word in the line about the device.
        tracing::warn!("there is a GPU that cannot be used: {error}");
        "the GPU cannot be used, see the warning".into()
    })
}

/// How many CUDA devices the driver shows; 0 without the feature or the driver.
pub fn gpu_count() -> usize {
    #[cfg(feature = "cuda")]
    return Device::enumerate(burn::tensor::DeviceType::Cuda)
        .into_vec()
        .len();
    #[cfg(not(feature = "cuda"))]
    0
}

#[cfg(feature = "cuda")]
fn gpu(index: usize, why: String) -> Result<Selected, DeviceError> {
    match gpu_count() {
        0 => return Err(DeviceError::NoGpu { index }),
        count if index >= count => return Err(DeviceError::NoSuchGpu { index, count }),
        _ => {}
    }
    cuda::libdevice().map_err(|source| DeviceError::Libdevice { index, source })?;
    cuda::keep_kernels();
    Ok(Selected {
        device: Device::cuda(index),
        name: format!("cuda:{index}"),
        why,
        is_cpu: false,
    })
}

#[cfg(not(feature = "cuda"))]
fn gpu(_index: usize, _why: String) -> Result<Selected, DeviceError> {
    Err(DeviceError::NotBuilt)
}

impl Selected {
    /// The number format that `precision` means here. A CPU computes in any, in bfloat16 by Burn's own operations: slowly, but the same
    /// numbers as on a GPU can be looked at there.
    ///
    /// # Errors
    /// [`DeviceError::Precision`].
    pub fn format(&self, precision: Precision) -> Result<NumberFormat, DeviceError> {
        match precision {
            Precision::Float32 => Ok(NumberFormat::Float32),
            // The kernels of `src/gpu` are for bfloat16, and several times as fast as Burn's for float32.
            Precision::Auto if !self.is_cpu && self.computes_bfloat16() => {
                Ok(NumberFormat::Bfloat16)
            }
            Precision::Auto => Ok(NumberFormat::Float32),
            Precision::Bfloat16 if self.computes_bfloat16() => Ok(NumberFormat::Bfloat16),
            Precision::Bfloat16 => Err(DeviceError::Precision {
                device: self.name.clone(),
            }),
        }
    }

    fn computes_bfloat16(&self) -> bool {
        self.device.supports_dtype(DType::BF16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip_and_bad_ones_say_what_is_accepted() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceRequest>().unwrap().to_string(), text);
        }
        assert_eq!("CUDA".parse(), Ok(DeviceRequest::Cuda(0)));
        for bad in ["tpu", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(
                bad.parse::<DeviceRequest>().unwrap_err().contains("cuda:0"),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_cpu_is_always_there_and_says_why() {
        let selected = select(DeviceRequest::Cpu).unwrap();
        assert!(selected.is_cpu && selected.name == "cpu" && !selected.why.is_empty());
    }

    #[test]
    fn the_cpu_computes_in_every_precision_and_by_itself_in_float32() {
        for (precision, format) in [
            (Precision::Auto, NumberFormat::Float32),
            (Precision::Float32, NumberFormat::Float32),
            (Precision::Bfloat16, NumberFormat::Bfloat16),
        ] {
            assert_eq!(Selected::cpu().format(precision).unwrap(), format);
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn cuda_without_the_feature_is_an_error_not_a_panic() {
        assert!(matches!(
            select(DeviceRequest::Cuda(0)),
            Err(DeviceError::NotBuilt)
        ));
    }
}
