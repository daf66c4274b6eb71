//! `CreateModel`.
//!
//! Input: [`ModelArgs`]. Output: [`Model`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::names::{self, name_or_time};
use super::parts::{Tag, VpcConfig, tags};
use super::{RequestError, beyond, limits};
use crate::cli::ModelArgs;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Model {
    model_name: String,
    primary_container: Container,
    execution_role_arn: String,
    enable_network_isolation: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    vpc_config: Option<VpcConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Tag>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    image: String,
    mode: &'static str,
    model_data_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<BTreeMap<String, String>>,
}

impl Model {
    /// # Errors
    /// Whatever SageMaker would refuse.
    pub fn of(args: &ModelArgs) -> Result<Self, RequestError> {
        let data = limits::s3("--model-data", &args.model_data)?;
        let is_archive = data.ends_with(".tar.gz");
        if args.multi_model == is_archive {
            let (limit, fix) = match args.multi_model {
                true => (
                    "with --multi-model it is the prefix below which the archives are",
                    "leave the name of the file out",
                ),
                false => (
                    "a model is one file that ends with .tar.gz",
                    "give the address of model.tar.gz, or --multi-model for a prefix",
                ),
            };
            return Err(beyond("--model-data", data, limit, fix));
        }
        Ok(Self {
            model_name: name_or_time(args.name.as_deref(), names::ANYTHING_ELSE)?,
            primary_container: Container {
                image: limits::image(&args.image)?,
                mode: if args.multi_model {
                    "MultiModel"
                } else {
                    "SingleModel"
                },
                // A prefix without its slash would mean names that begin alike, too.
                model_data_url: match args.multi_model {
                    true => limits::s3_below(&data, ""),
                    false => data,
                },
                environment: limits::environment(&args.environment, 100, 1024)?,
            },
            execution_role_arn: limits::role(&args.role)?,
            enable_network_isolation: args.network.network_isolation,
            vpc_config: VpcConfig::of(&args.network)?,
            tags: tags(&args.tags)?,
        })
    }
}
