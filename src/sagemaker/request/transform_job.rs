//! `CreateTransformJob`.
//!
//! Input: [`TransformJobArgs`]. Output: [`TransformJob`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::limits::{self, between};
use super::names::{self, checked, name_or_time};
use super::parts::{Tag, tags};
use super::{RequestError, beyond};
use crate::cli::{SplitName, TransformJobArgs};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TransformJob {
    transform_job_name: String,
    model_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_concurrent_transforms: Option<u64>,
    #[serde(rename = "MaxPayloadInMB", skip_serializing_if = "Option::is_none")]
    max_payload_in_mb: Option<u64>,
    batch_strategy: &'static str,
    transform_input: TransformInput,
    transform_output: TransformOutput,
    transform_resources: TransformResources,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Tag>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TransformInput {
    data_source: DataSource,
    content_type: String,
    split_type: &'static str,
}

#[derive(Debug, Serialize)]
struct DataSource {
    #[serde(rename = "S3DataSource")]
    s3: S3DataSource,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct S3DataSource {
    s3_data_type: &'static str,
    s3_uri: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TransformOutput {
    s3_output_path: String,
    accept: String,
    assemble_with: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TransformResources {
    instance_type: String,
    instance_count: u64,
}

impl TransformJob {
    /// # Errors
    /// Whatever SageMaker would refuse.
    pub fn of(args: &TransformJobArgs) -> Result<Self, RequestError> {
        let payload = args
            .max_payload_mb
            .map(|mb| between("--max-payload-mb", mb, 1, 100));
        let concurrent = args
            .max_concurrent
            .map(|n| between("--max-concurrent", n, 1, 100));
        let (payload, concurrent) = (payload.transpose()?, concurrent.transpose()?);
        if let (Some(payload), Some(concurrent)) = (payload, concurrent)
            && payload * concurrent > 100
        {
            return Err(beyond(
                "--max-concurrent",
                concurrent,
                format!("times --max-payload-mb {payload} it may be 100 at most"),
                "lower one of them",
            ));
        }
        // Lines are put together to requests; photos are requests of their own.
        let (strategy, split) = match args.split {
            SplitName::None => ("SingleRecord", "None"),
            SplitName::Line => ("MultiRecord", "Line"),
        };
        Ok(Self {
            transform_job_name: name_or_time(args.name.as_deref(), names::ANYTHING_ELSE)?,
            model_name: checked("--model", &args.model, names::ANYTHING_ELSE)?,
            max_concurrent_transforms: concurrent,
            max_payload_in_mb: payload,
            batch_strategy: strategy,
            transform_input: TransformInput {
                data_source: DataSource {
                    s3: S3DataSource {
                        s3_data_type: "S3Prefix",
                        s3_uri: limits::s3("--input", &args.input)?,
                    },
                },
                content_type: args.content_type.clone(),
                split_type: split,
            },
            transform_output: TransformOutput {
                s3_output_path: limits::s3("--output", &args.output)?,
                accept: args.accept.clone(),
                assemble_with: split,
                kms_key_id: limits::kms_key("--kms-key", args.kms_key.as_deref())?,
            },
            transform_resources: TransformResources {
                instance_type: limits::instance_type(&args.instance_type)?,
                instance_count: between("--instance-count", args.instance_count, 1, 100)?,
            },
            environment: limits::environment(&args.environment, 16, 1024)?,
            tags: tags(&args.tags)?,
        })
    }
}
