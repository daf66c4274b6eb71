//! The form of single values: roles, images, addresses in S3, types of instances, keys, tags, variables.
//!
//! Input: the flag and the text. Output: the text, or an error that names both. The limits are those of the service's API model.

use std::collections::BTreeMap;

use super::{RequestError, beyond};
use crate::s3::S3Uri;

/// A whole number within limits.
///
/// # Errors
/// A number outside of them.
pub fn between(flag: &str, value: u64, least: u64, most: u64) -> Result<u64, RequestError> {
    match (least..=most).contains(&value) {
        true => Ok(value),
        false => Err(beyond(
            flag,
            value,
            format!("SageMaker takes {least} to {most}"),
            "choose one of these",
        )),
    }
}

/// The ARN of a role: `arn:aws:iam::123456789012:role/NAME`.
///
/// # Errors
/// Anything else.
pub fn role(arn: &str) -> Result<String, RequestError> {
    let well_formed = || {
        let rest = arn.strip_prefix("arn:aws")?;
        let (partition, rest) = rest.split_once(":iam::")?;
        let (account, name) = rest.split_once(":role/")?;
        let plain = |letter: char| letter.is_ascii_lowercase() || letter == '-';
        let in_name = |letter: char| letter.is_ascii_alphanumeric() || "+=,.@-_/".contains(letter);
        let is_good = partition.chars().all(plain)
            && is_account(account)
            && !name.is_empty()
            && name.chars().all(in_name);
        is_good.then_some(())
    };
    match arn.len() <= 2048 && well_formed().is_some() {
        true => Ok(arn.into()),
        false => Err(beyond(
            "--role",
            arn,
            "SageMaker takes the ARN of a role, such as arn:aws:iam::123456789012:role/NAME",
            "aws iam get-role --role-name NAME --query Role.Arn prints it",
        )),
    }
}

/// An image in Amazon ECR: `123456789012.dkr.ecr.eu-west-1.amazonaws.com/NAME:TAG`.
///
/// # Errors
/// Anything else, images of other registries among them.
pub fn image(uri: &str) -> Result<String, RequestError> {
    let well_formed = || {
        let (host, name) = uri.split_once('/')?;
        let (account, rest) = host.split_once(".dkr.ecr")?;
        // `-fips` may follow; the domain differs in China and in isolated regions.
        let is_region = rest.split('.').count() >= 4;
        let path = name.split(['@', ':']).next()?;
        let in_path = |letter: char| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_./".contains(letter)
        };
        let is_good = is_account(account)
            && is_region
            && !path.is_empty()
            && path.chars().all(in_path)
            && !uri.contains(char::is_whitespace);
        is_good.then_some(())
    };
    match uri.len() <= 255 && well_formed().is_some() {
        true => Ok(uri.into()),
        false => Err(beyond(
            "--image",
            uri,
            "SageMaker takes images from Amazon ECR, such as 123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-burn:latest",
            "push it there with scripts/push-ecr",
        )),
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.chars().all(|letter| letter.is_ascii_digit())
}

/// An address in S3.
///
/// # Errors
/// One that is not well-formed or longer than 1,024 characters.
pub fn s3(flag: &str, uri: &str) -> Result<String, RequestError> {
    let example = "give one such as s3://bucket/prefix";
    match uri.parse::<S3Uri>() {
        Ok(_) if uri.len() <= 1024 => Ok(uri.into()),
        Ok(_) => Err(beyond(
            flag,
            uri,
            "SageMaker takes 1024 characters",
            "shorten the prefix",
        )),
        Err(error) => Err(beyond(flag, uri, error.to_string(), example)),
    }
}

/// An address below another one.
pub fn s3_below(uri: &str, name: &str) -> String {
    format!("{}/{name}", uri.trim_end_matches('/'))
}

/// A type of instance: `ml.FAMILY.SIZE`. Which ones there are changes by the month and by the region, so only the form is checked.
///
/// # Errors
/// Another form, that of EC2 among them.
pub fn instance_type(kind: &str) -> Result<String, RequestError> {
    let parts: Vec<&str> = kind.split('.').collect();
    let plain = |part: &&str| {
        let allowed =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        !part.is_empty() && part.chars().all(allowed)
    };
    if parts.len() == 3 && parts[0] == "ml" && parts.iter().all(plain) {
        return Ok(kind.into());
    }
    let fix = match parts.len() {
        2 => format!("try ml.{kind}"),
        _ => "give one such as ml.m5.xlarge, or ml.g4dn.xlarge with a GPU".into(),
    };
    let limit = "types of SageMaker have the form ml.FAMILY.SIZE";
    Err(beyond("--instance-type", kind, limit, fix))
}

/// A KMS key: its id, ARN or alias.
///
/// # Errors
/// Other characters than those of keys.
pub fn kms_key(flag: &str, key: Option<&str>) -> Result<Option<String>, RequestError> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || ":/_-".contains(letter);
    match key {
        Some(key) if key.is_empty() || key.len() > 2048 || !key.chars().all(allowed) => {
            Err(beyond(
                flag,
                key,
                "SageMaker takes the id, ARN or alias of a key",
                "aws kms list-aliases prints them",
            ))
        }
        key => Ok(key.map(Into::into)),
    }
}

/// Environment variables, at most `most` of them, each value of at most `longest` characters.
///
/// # Errors
/// Too many, names that are none, values that are too long.
pub fn environment(
    pairs: &[(String, String)],
    most: usize,
    longest: usize,
) -> Result<Option<BTreeMap<String, String>>, RequestError> {
    if pairs.len() > most {
        return Err(beyond(
            "--env",
            pairs.len(),
            format!("SageMaker takes {most} variables"),
            "leave some out",
        ));
    }
    for (name, value) in pairs {
        let begins = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if !begins || !name.chars().all(allowed) {
            let limit = "names of variables have letters, digits and _";
            return Err(beyond("--env", name, limit, "rename it"));
        }
        if name.chars().count() > longest || value.chars().count() > longest {
            let limit = format!("SageMaker takes {longest} characters");
            return Err(beyond(
                "--env",
                name,
                limit,
                "put long values into a file in a channel",
            ));
        }
    }
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    Ok((!map.is_empty()).then_some(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_arns() {
        for good in [
            "arn:aws:iam::123456789012:role/R",
            "arn:aws-cn:iam::123456789012:role/service-role/Amazon-SageMaker_1",
        ] {
            assert_eq!(role(good).unwrap(), good);
        }
        for bad in [
            "R",
            "arn:aws:iam::1234:role/R",
            "arn:aws:iam::123456789012:user/R",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
        ] {
            let error = role(bad).unwrap_err().to_string();
            assert!(
                error.contains(&format!("--role {bad}:")) && error.contains("get-role"),
                "{error}"
            );
        }
    }

    #[test]
    fn images_come_from_ecr() {
        for good in [
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/ic:1",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/team/ic",
            "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/ic@sha256:00ff",
        ] {
            assert_eq!(image(good).unwrap(), good);
        }
        for bad in [
            "sagemaker-burn:latest",
            "docker.io/library/ic:1",
            "12.dkr.ecr.us-east-1.amazonaws.com/ic",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/i c",
        ] {
            let error = image(bad).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("push-ecr"), "{error}");
        }
    }

    #[test]
    fn types_of_instances_have_three_parts() {
        assert_eq!(instance_type("ml.g4dn.xlarge").unwrap(), "ml.g4dn.xlarge");
        let error = instance_type("g4dn.xlarge").unwrap_err().to_string();
        assert!(error.ends_with("try ml.g4dn.xlarge"), "{error}");
        assert!(instance_type("ml.big").is_err() && instance_type("gpu").is_err());
    }

    #[test]
    fn addresses_keys_and_variables() {
        assert!(s3("--output", "s3://bucket/out/").is_ok());
        for bad in [
            "bucket/out",
            "s3:/bucket",
            "s3://b",
            &format!("s3://bucket/{}", "k".repeat(1020)),
        ] {
            let error = s3("--output", bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--output {bad}:")), "{error}");
        }
        assert_eq!(s3_below("s3://bucket/out/", "job"), "s3://bucket/out/job");
        assert!(kms_key("--kms-key", Some("alias/dogs")).is_ok());
        assert!(kms_key("--kms-key", Some("my key")).is_err());
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert!(environment(&[], 16, 512).unwrap().is_none());
        assert!(
            environment(&[pair("RUST_LOG", "debug")], 16, 512)
                .unwrap()
                .is_some()
        );
        assert!(environment(&[pair("1A", "x")], 16, 512).is_err());
        assert!(environment(&[pair("A", &"x".repeat(513))], 16, 512).is_err());
        assert!(environment(&vec![pair("A", "x"); 17], 16, 512).is_err());
        let error = between("--retries", 31, 1, 30).unwrap_err().to_string();
        assert!(
            error.contains("--retries 31: SageMaker takes 1 to 30"),
            "{error}"
        );
    }
}
