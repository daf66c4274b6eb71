//! Why something in S3 could not be read or written, each with the way out.

use std::{io, path::PathBuf};

use super::S3Uri;

/// Why something in S3 could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The program has no S3 client.
    #[error(
        "this program was built without S3 support; build with `--features s3`, or copy the data first with `aws s3 sync`"
    )]
    NotBuilt,
    /// The address is malformed.
    #[error("`{given}` is not an address in S3: {reason}; write s3://bucket/folder")]
    Uri {
        /// What the user wrote.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No home and no other place for the cache.
    #[error("no place to keep what is downloaded from S3: set SAGEMAKER_BURN_CACHE to a folder")]
    NoCacheFolder,
    /// A local file or folder could not be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A local file's name cannot be a key.
    #[error("cannot upload {path}: its name is not valid Unicode; rename it")]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// The threads of the client could not be started, or one of them failed.
    #[error("the S3 client failed: {reason}")]
    Client {
        /// What went wrong.
        reason: String,
    },
    /// Nothing names credentials.
    #[error(
        "no AWS credentials{}: set AWS_PROFILE to a profile of ~/.aws/config, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
         or run with a role (SageMaker, EC2, ECS)",
        .profile
            .as_ref()
            .map(|name| format!(" (~/.aws has none for the profile {name})"))
            .unwrap_or_default()
    )]
    NoCredentials {
        /// What `AWS_PROFILE` says.
        profile: Option<String>,
    },
    /// Something names credentials, but they cannot be had.
    #[error(
        "cannot get AWS credentials: {reason}; check AWS_PROFILE and ~/.aws, and log in again (`aws sso login`) if the \
         session is over"
    )]
    BadCredentials {
        /// What went wrong.
        reason: String,
    },
    /// S3 does not accept the credentials.
    #[error(
        "{uri}: S3 refuses the AWS credentials ({code}: {message}); get new ones, and check AWS_ACCESS_KEY_ID, \
         AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the profile that AWS_PROFILE names"
    )]
    RefusedCredentials {
        /// What was asked for.
        uri: S3Uri,
        /// S3's code.
        code: String,
        /// S3's words.
        message: String,
    },
    /// Nothing names a region.
    #[error(
        "no AWS region: set AWS_REGION to the bucket's region, such as eu-west-1, or `region` in the profile of ~/.aws/config"
    )]
    NoRegion,
    /// The bucket is in another region.
    #[error(
        "the bucket {bucket} is not in the region {used}; set AWS_REGION={}",
        .region.as_deref().unwrap_or("<the bucket's region>")
    )]
    WrongRegion {
        /// The bucket.
        bucket: String,
        /// The region that was asked.
        used: String,
        /// The bucket's region, if the answer told.
        region: Option<String>,
    },
    /// There is no such bucket.
    #[error(
        "there is no bucket {bucket} at {endpoint}; check its name, and that AWS_PROFILE and AWS_ENDPOINT_URL are those of \
         the right account and service"
    )]
    MissingBucket {
        /// The bucket.
        bucket: String,
        /// Where was asked.
        endpoint: String,
    },
    /// There is no such object.
    #[error("there is no {uri}; `aws s3 ls s3://{}/` lists what there is", .uri.bucket)]
    MissingKey {
        /// The object.
        uri: S3Uri,
    },
    /// Nothing is below the prefix.
    #[error(
        "nothing is below {uri}{}",
        if .near.is_empty() {
            "; check the name".into()
        } else {
            format!("; did you mean one of: {}", .near.join(", "))
        }
    )]
    Empty {
        /// The prefix.
        uri: S3Uri,
        /// Addresses with similar names.
        near: Vec<String>,
    },
    /// The credentials do not allow the action.
    #[error(
        "{uri}: access denied; the credentials need the permission {action} there{}",
        if *.action == "s3:GetObject" {
            " (S3 answers the same where the object does not exist and s3:ListBucket is not allowed)"
        } else {
            ""
        }
    )]
    Denied {
        /// What was asked for.
        uri: S3Uri,
        /// The permission.
        action: &'static str,
    },
    /// No connection, or no answer.
    #[error(
        "cannot reach {endpoint}: {reason}; check the network, the proxy (HTTPS_PROXY, NO_PROXY), AWS_REGION and \
         AWS_ENDPOINT_URL"
    )]
    Unreachable {
        /// Where was asked.
        endpoint: String,
        /// What went wrong.
        reason: String,
    },
    /// The server's certificate is from nobody that this machine trusts.
    #[error(
        "cannot trust {endpoint}: {reason}; install the certificate authorities (package ca-certificates), or name a file \
         with them in SSL_CERT_FILE"
    )]
    Untrusted {
        /// Where was asked.
        endpoint: String,
        /// What went wrong.
        reason: String,
    },
    /// S3 asks to slow down, and goes on doing so.
    #[error("{uri}: S3 still asks to slow down ({code}) after many attempts; try again later")]
    Throttled {
        /// What was asked for.
        uri: S3Uri,
        /// S3's code.
        code: String,
    },
    /// The object is in an archive.
    #[error(
        "{uri} is archived (Glacier); restore it first, for example with `aws s3api restore-object`"
    )]
    Archived {
        /// The object.
        uri: S3Uri,
    },
    /// The clock of this machine is wrong.
    #[error("S3 refuses the request because the clock of this machine is wrong; set it")]
    Clock,
    /// The key cannot be a path below the folder.
    #[error(
        "{uri} cannot be a file below the folder: {reason}; rename the object, or leave it out of the prefix"
    )]
    Key {
        /// The object.
        uri: S3Uri,
        /// What is wrong with the key.
        reason: String,
    },
    /// Two objects would be one file, or one a file and the other a folder.
    #[error("{first} and {second} cannot both be files of one folder; rename one of them")]
    Clash {
        /// One object.
        first: S3Uri,
        /// The other.
        second: S3Uri,
    },
    /// The connection broke again and again in the middle of an object.
    #[error(
        "{uri}: the connection broke again and again, the last time after {received_bytes} bytes: {reason}; try again, \
         what is complete is kept"
    )]
    Cut {
        /// The object.
        uri: S3Uri,
        /// Bytes that had arrived.
        received_bytes: u64,
        /// What went wrong.
        reason: String,
    },
    /// The object was replaced again and again during its download.
    #[error("{uri} is being changed while it is downloaded; try again when it is finished")]
    Changing {
        /// The object.
        uri: S3Uri,
    },
    /// Any other answer.
    #[error("{uri}: S3 answers {code} to {action}: {message}")]
    Service {
        /// What was asked for.
        uri: S3Uri,
        /// The permission that the request needs, which names it.
        action: &'static str,
        /// S3's code, or the HTTP status.
        code: String,
        /// S3's words.
        message: String,
    },
}

#[cfg(feature = "s3")]
impl S3Error {
    /// Names `path` in an input/output error.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
