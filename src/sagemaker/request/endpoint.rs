//! `CreateEndpointConfig` and `CreateEndpoint`.
//!
//! Input: [`EndpointConfigArgs`] and [`EndpointArgs`]. Output: [`EndpointConfig`] and [`Endpoint`].

use serde::Serialize;

use super::limits::{self, between};
use super::names::{self, checked, name_or_time};
use super::parts::{Tag, tags};
use super::{RequestError, beyond};
use crate::cli::{EndpointArgs, EndpointConfigArgs};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EndpointConfig {
    endpoint_config_name: String,
    production_variants: [Variant; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    data_capture_config: Option<DataCapture>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Tag>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Variant {
    variant_name: &'static str,
    model_name: String,
    #[serde(flatten)]
    capacity: Capacity,
}

/// What answers: instances, or whatever SageMaker takes for it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Capacity {
    #[serde(rename_all = "PascalCase")]
    Instances {
        instance_type: String,
        initial_instance_count: u64,
        initial_variant_weight: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        container_startup_health_check_timeout_in_seconds: Option<u64>,
    },
    #[serde(rename_all = "PascalCase")]
    Serverless { serverless_config: Serverless },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Serverless {
    #[serde(rename = "MemorySizeInMB")]
    memory_size_in_mb: u64,
    max_concurrency: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DataCapture {
    enable_capture: bool,
    initial_sampling_percentage: u64,
    destination_s3_uri: String,
    capture_options: [CaptureOption; 2],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CaptureOption {
    capture_mode: &'static str,
}

impl EndpointConfig {
    /// # Errors
    /// Whatever SageMaker would refuse.
    pub fn of(args: &EndpointConfigArgs) -> Result<Self, RequestError> {
        Ok(Self {
            endpoint_config_name: name_or_time(args.name.as_deref(), names::ANYTHING_ELSE)?,
            production_variants: [Variant {
                variant_name: "AllTraffic",
                model_name: checked("--model", &args.model, names::ANYTHING_ELSE)?,
                capacity: match args.serverless {
                    true => serverless(args)?,
                    false => instances(args)?,
                },
            }],
            data_capture_config: args
                .capture
                .as_deref()
                .map(|uri| capture(args, uri))
                .transpose()?,
            kms_key_id: limits::kms_key("--kms-key", args.kms_key.as_deref())?,
            tags: tags(&args.tags)?,
        })
    }
}

fn instances(args: &EndpointConfigArgs) -> Result<Capacity, RequestError> {
    let kind = args.instance_type.as_deref().unwrap_or("ml.m5.large");
    let timeout = args
        .startup_timeout
        .map(|seconds| between("--startup-timeout", seconds, 60, 3600));
    Ok(Capacity::Instances {
        instance_type: limits::instance_type(kind)?,
        initial_instance_count: between(
            "--instance-count",
            args.instance_count.unwrap_or(1),
            1,
            100,
        )?,
        initial_variant_weight: 1.0,
        container_startup_health_check_timeout_in_seconds: timeout.transpose()?,
    })
}

fn serverless(args: &EndpointConfigArgs) -> Result<Capacity, RequestError> {
    let memory = between("--memory-mb", args.memory_mb.unwrap_or(2048), 1024, 6144)?;
    if memory % 1024 != 0 {
        let limit = "SageMaker takes 1024, 2048, 3072, 4096, 5120 or 6144 megabytes";
        return Err(beyond(
            "--memory-mb",
            memory,
            limit,
            format!("try {}", memory.div_ceil(1024) * 1024),
        ));
    }
    Ok(Capacity::Serverless {
        serverless_config: Serverless {
            memory_size_in_mb: memory,
            max_concurrency: between(
                "--max-concurrency",
                args.max_concurrency.unwrap_or(5),
                1,
                200,
            )?,
        },
    })
}

fn capture(args: &EndpointConfigArgs, uri: &str) -> Result<DataCapture, RequestError> {
    Ok(DataCapture {
        enable_capture: true,
        initial_sampling_percentage: between("--capture-percent", args.capture_percent, 0, 100)?,
        destination_s3_uri: limits::s3("--capture", uri)?,
        capture_options: ["Input", "Output"].map(|capture_mode| CaptureOption { capture_mode }),
    })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Endpoint {
    endpoint_name: String,
    endpoint_config_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Tag>>,
}

impl Endpoint {
    /// # Errors
    /// Whatever SageMaker would refuse.
    pub fn of(args: &EndpointArgs) -> Result<Self, RequestError> {
        Ok(Self {
            endpoint_name: name_or_time(args.name.as_deref(), names::ANYTHING_ELSE)?,
            endpoint_config_name: checked("--config", &args.config, names::ANYTHING_ELSE)?,
            tags: tags(&args.tags)?,
        })
    }
}
