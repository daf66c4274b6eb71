//! `--device auto|cpu|cuda[:n]` to a Burn device: the only place that knows which backends exist.
//!
//! Input: [`DeviceRequest`] and [`Precision`]. Output: [`Selected`]: the device, its name and why it was taken. Burn
//! panics when asked for a GPU that is not there, so the list is looked at first.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

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
    #[error(
        "--precision bfloat16 needs a CUDA device, and {device} was taken: use --precision float32"
    )]
    Precision { device: String },
    #[error("{device} could not be set to {precision}: {message}")]
    Configure {
        device: String,
        precision: Precision,
        message: String,
    },
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
/// A GPU that was asked for and is not there, or a precision that the device does not have.
pub fn select(request: DeviceRequest, precision: Precision) -> Result<Selected, DeviceError> {
    let selected = match request {
        DeviceRequest::Cpu => Selected::cpu(),
        DeviceRequest::Cuda(index) => cuda(index, "asked for".into())?,
        DeviceRequest::Auto if !cfg!(feature = "cuda") => Selected {
            why: "this program was built without CUDA".into(),
            ..Selected::cpu()
        },
        DeviceRequest::Auto => match gpu_count() {
            0 => Selected {
                why: "no usable NVIDIA GPU was found".into(),
                ..Selected::cpu()
            },
            count => cuda(0, format!("the first of {count} usable GPUs"))?,
        },
    };
    with_precision(selected, precision)
}

/// How many CUDA devices can be used; 0 without the feature or the driver.
pub fn gpu_count() -> usize {
    #[cfg(feature = "cuda")]
    return Device::enumerate(burn::tensor::DeviceType::Cuda)
        .into_vec()
        .len();
    #[cfg(not(feature = "cuda"))]
    0
}

#[cfg(feature = "cuda")]
fn cuda(index: usize, why: String) -> Result<Selected, DeviceError> {
    match gpu_count() {
        0 => Err(DeviceError::NoGpu { index }),
        count if index >= count => Err(DeviceError::NoSuchGpu { index, count }),
        _ => Ok(Selected {
            device: Device::cuda(index),
            name: format!("cuda:{index}"),
            why,
            is_cpu: false,
        }),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize, _why: String) -> Result<Selected, DeviceError> {
    Err(DeviceError::NotBuilt)
}

/// The element type is a property of the device in Burn and must be set before the first tensor.
fn with_precision(mut selected: Selected, precision: Precision) -> Result<Selected, DeviceError> {
    use burn::tensor::{FloatDType, IntDType};
    if precision == Precision::Float32 {
        return Ok(selected);
    }
    if selected.is_cpu {
        return Err(DeviceError::Precision {
            device: selected.name,
        });
    }
    selected
        .device
        .configure((FloatDType::BF16, IntDType::I32))
        .map_err(|error| DeviceError::Configure {
            device: selected.name.clone(),
            precision,
            message: format!("{error:?}"),
        })?;
    Ok(selected)
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
        let selected = select(DeviceRequest::Cpu, Precision::Float32).unwrap();
        assert!(selected.is_cpu && selected.name == "cpu" && !selected.why.is_empty());
    }

    #[test]
    fn bfloat16_on_the_cpu_is_refused_with_the_way_out() {
        let error = select(DeviceRequest::Cpu, Precision::Bfloat16)
            .unwrap_err()
            .to_string();
        assert!(error.contains("float32"), "{error}");
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn cuda_without_the_feature_is_an_error_not_a_panic() {
        assert!(matches!(
            select(DeviceRequest::Cuda(0), Precision::Float32),
            Err(DeviceError::NotBuilt)
        ));
    }
}
