//! Parts that several requests have in common.
//!
//! Input: [`JobArgs`] and the like. Output: structs with the names of the API.

use serde::Serialize;
use serde_json::Value;

use super::limits::{self, between};
use super::{RequestError, beyond};
use crate::cli::{InputModeName, JobArgs, NetworkArgs, TagArgs};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AlgorithmSpecification {
    training_image: String,
    training_input_mode: InputMode,
    metric_definitions: Value,
}

#[derive(Clone, Copy, Debug, Serialize)]
enum InputMode {
    File,
    FastFile,
    Pipe,
}

impl AlgorithmSpecification {
    /// `metric_definitions`: those of [`crate::sinks::metric_definitions`].
    pub fn of(args: &JobArgs, metric_definitions: Value) -> Result<Self, RequestError> {
        Ok(Self {
            training_image: limits::image(&args.image)?,
            training_input_mode: match args.input_mode {
                InputModeName::File => InputMode::File,
                InputModeName::Fastfile => InputMode::FastFile,
                InputModeName::Pipe => InputMode::Pipe,
            },
            metric_definitions,
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Channel {
    channel_name: String,
    data_source: DataSource,
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
    s3_data_distribution_type: &'static str,
}

/// The channels of a job.
pub fn channels(args: &JobArgs) -> Result<Vec<Channel>, RequestError> {
    const MOST: usize = 20;
    let count = args.channels.len();
    if count > MOST {
        let limit = format!("SageMaker takes {MOST} channels");
        return Err(beyond("--channel", count, limit, "leave some out"));
    }
    let names: Vec<&str> = args
        .channels
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let is_train = |name: &&str| ["train", "training"].contains(name);
    if count > 1 && !names.iter().any(is_train) {
        return Err(RequestError::Rule(format!(
            "--channel {}: training looks for photos in a channel train; give --channel train=s3://…",
            names.join(", ")
        )));
    }
    let channel = |(at, (name, uri)): (usize, &(String, String))| {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
        if name.len() > 64 || !name.chars().all(allowed) {
            let limit = "names of channels have up to 64 letters, digits, dots, hyphens and _";
            return Err(beyond("--channel", name, limit, "rename it"));
        }
        if names[..at].contains(&name.as_str()) {
            let fix = "give each channel once; a prefix stands for everything below it";
            return Err(beyond("--channel", name, "it is there twice", fix));
        }
        let source = S3DataSource {
            s3_data_type: "S3Prefix",
            s3_uri: limits::s3(&format!("--channel {name}"), uri)?,
            s3_data_distribution_type: match args.sharded {
                true => "ShardedByS3Key",
                false => "FullyReplicated",
            },
        };
        Ok(Channel {
            channel_name: name.clone(),
            data_source: DataSource { s3: source },
        })
    };
    args.channels.iter().enumerate().map(channel).collect()
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct OutputDataConfig {
    s3_output_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key_id: Option<String>,
}

impl OutputDataConfig {
    pub fn of(args: &JobArgs) -> Result<Self, RequestError> {
        Ok(Self {
            s3_output_path: limits::s3("--output", &args.output)?,
            kms_key_id: limits::kms_key("--kms-key", args.kms_key.as_deref())?,
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResourceConfig {
    instance_type: String,
    instance_count: u64,
    #[serde(rename = "VolumeSizeInGB")]
    volume_size_in_gb: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_kms_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive_period_in_seconds: Option<u64>,
}

impl ResourceConfig {
    pub fn of(args: &JobArgs, keep_alive: Option<u64>) -> Result<Self, RequestError> {
        let count = between("--instance-count", args.instance_count, 1, 100)?;
        if count > 1 {
            tracing::warn!(
                "--instance-count {count}: training uses one of the {count} instances, and all of them cost"
            );
        }
        let keep_alive = keep_alive.map(|seconds| between("--keep-alive", seconds, 1, 21_600));
        if keep_alive.is_some() && args.spot {
            return Err(RequestError::Rule(
                "--keep-alive with --spot: spot instances cannot be kept; leave one of them out"
                    .into(),
            ));
        }
        Ok(Self {
            instance_type: limits::instance_type(&args.instance_type)?,
            instance_count: count,
            volume_size_in_gb: between("--volume-gb", args.volume_gb, 1, 16_384)?,
            volume_kms_key_id: limits::kms_key("--volume-kms-key", args.volume_kms_key.as_deref())?,
            keep_alive_period_in_seconds: keep_alive.transpose()?,
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StoppingCondition {
    max_runtime_in_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_wait_time_in_seconds: Option<u64>,
}

impl StoppingCondition {
    pub fn of(args: &JobArgs) -> Result<Self, RequestError> {
        // 28 days is the most that an account can be given.
        let runtime = between("--max-runtime", args.max_runtime, 1, 28 * 24 * 3600)?;
        let wait = args.spot.then(|| args.max_wait.unwrap_or(runtime + 3600));
        match wait.filter(|wait| *wait < runtime) {
            Some(wait) => Err(beyond(
                "--max-wait",
                format!("{wait} seconds"),
                format!("it includes the run, for which --max-runtime gives {runtime} seconds"),
                "raise it or lower --max-runtime",
            )),
            None => Ok(Self {
                max_runtime_in_seconds: runtime,
                max_wait_time_in_seconds: wait,
            }),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CheckpointConfig {
    s3_uri: String,
}

impl CheckpointConfig {
    /// Where it was said; `otherwise` where it was not.
    pub fn of(args: &JobArgs, otherwise: Option<String>) -> Result<Option<Self>, RequestError> {
        let place = args.checkpoint.clone().or(otherwise);
        let checked = place
            .map(|uri| limits::s3("--checkpoint", &uri))
            .transpose()?;
        Ok(checked.map(|s3_uri| Self { s3_uri }))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RetryStrategy {
    maximum_retry_attempts: u64,
}

impl RetryStrategy {
    pub fn of(args: &JobArgs) -> Result<Option<Self>, RequestError> {
        let attempts = args
            .retries
            .map(|attempts| between("--retries", attempts, 1, 30));
        Ok(attempts.transpose()?.map(|maximum_retry_attempts| Self {
            maximum_retry_attempts,
        }))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VpcConfig {
    security_group_ids: Vec<String>,
    subnets: Vec<String>,
}

impl VpcConfig {
    pub fn of(args: &NetworkArgs) -> Result<Option<Self>, RequestError> {
        let (subnets, groups) = (&args.subnets, &args.security_groups);
        if subnets.is_empty() && groups.is_empty() {
            return Ok(None);
        }
        if subnets.is_empty() || groups.is_empty() {
            return Err(RequestError::Rule(
                "a VPC needs --subnet and --security-group: give both, or none of them".into(),
            ));
        }
        for (flag, ids, most) in [("--subnet", subnets, 16), ("--security-group", groups, 5)] {
            if ids.len() > most {
                return Err(beyond(
                    flag,
                    ids.len(),
                    format!("SageMaker takes {most}"),
                    "leave some out",
                ));
            }
            let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
            let is_bad = |id: &&String| id.is_empty() || id.len() > 32 || !id.chars().all(allowed);
            if let Some(id) = ids.iter().find(is_bad) {
                let limit =
                    "ids have letters, digits and hyphens, such as subnet-0123456789abcdef0";
                return Err(beyond(flag, id, limit, "give the id, not the name"));
            }
        }
        Ok(Some(Self {
            security_group_ids: groups.clone(),
            subnets: subnets.clone(),
        }))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    key: String,
    value: String,
}

/// The tags, if there are any.
pub fn tags(args: &TagArgs) -> Result<Option<Vec<Tag>>, RequestError> {
    const MOST: usize = 50;
    if args.tags.len() > MOST {
        let limit = format!("SageMaker takes {MOST} tags");
        return Err(beyond("--tag", args.tags.len(), limit, "leave some out"));
    }
    let allowed =
        |letter: char| letter.is_alphanumeric() || letter == ' ' || "_.:/=+-@".contains(letter);
    let tag = |(key, value): &(String, String)| {
        let (keys, values) = (key.chars().count(), value.chars().count());
        if keys > 128 || values > 256 || !format!("{key}{value}").chars().all(allowed) {
            let limit =
                "keys have up to 128, values up to 256 letters, digits, spaces and _.:/=+-@";
            return Err(beyond(
                "--tag",
                format!("{key}={value}"),
                limit,
                "change it",
            ));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(beyond(
                "--tag",
                key,
                "keys that begin with aws: are Amazon's own",
                "rename it",
            ));
        }
        Ok(Tag {
            key: key.clone(),
            value: value.clone(),
        })
    };
    let tags: Vec<Tag> = args.tags.iter().map(tag).collect::<Result<_, _>>()?;
    Ok((!tags.is_empty()).then_some(tags))
}
