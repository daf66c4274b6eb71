//! The connection to S3: settings, credentials, time limits, and the threads that requests run on.
//!
//! Input: the environment and `~/.aws`, as every AWS tool reads them, or explicit [`Settings`]. Output: a [`Client`] whose
//! calls return when the work is done. `on_progress` is called from the calling thread; with `false` it stops the work.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_config::BehaviorVersion;
use aws_sdk_s3::config::{
    Builder, Credentials, Region, SharedCredentialsProvider, StalledStreamProtectionConfig,
    retry::{RetryConfig, RetryPartition, TokenBucket},
    timeout::TimeoutConfig,
};
use tokio::runtime::Runtime;

use super::{
    Progress, S3Error, S3Uri, Synced,
    answer::{Asked, Place},
    download,
    environment::{check_credentials, http_client, runtime, variable},
    upload,
};

/// Attempts at a request while S3 asks to slow down or fails on its side.
const ATTEMPTS: u32 = 10;
/// Attempts at the first request: without a network, waiting only hides what to do.
const FIRST_ATTEMPTS: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that sends nothing for so long is given up. There is no limit on the whole: links may be slow.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The limit on the wait for an answer includes the sending of the body, which may take long over a slow link. That
/// the link moves at all is watched separately.
const SEND_TIMEOUT: Duration = Duration::from_secs(900);

/// Fixed keys of an account.
#[derive(Clone)]
pub struct Keys {
    /// As `AWS_ACCESS_KEY_ID`.
    pub id: String,
    /// As `AWS_SECRET_ACCESS_KEY`.
    pub secret: String,
}

/// What [`Client::connect`] takes from the environment.
#[derive(Clone)]
pub struct Settings {
    /// The address of an S3 service other than AWS's own; its buckets are then named in the path.
    pub endpoint: Option<String>,
    /// The region, such as `eu-west-1`.
    pub region: String,
    /// The keys.
    pub keys: Keys,
    /// The longest pause before the second attempt at a request; it doubles with each further one.
    pub first_pause: Duration,
    /// For how long a server may send nothing.
    pub silence: Duration,
}

/// What does not depend on where the credentials are from.
struct Service {
    endpoint: Option<String>,
    region: String,
    first_pause: Duration,
    silence: Duration,
}

/// Clients for the kinds of requests, which share their connections.
#[derive(Debug)]
pub(super) struct Requests {
    /// For most.
    pub(super) usual: aws_sdk_s3::Client,
    /// For the first one, which shows whether anything is there.
    pub(super) first: aws_sdk_s3::Client,
    /// For those with a large body.
    pub(super) sending: aws_sdk_s3::Client,
    pub(super) place: Place,
    pub(super) first_pause: Duration,
}

impl Requests {
    /// Says what is asked, for errors.
    pub(super) fn asked<'a>(&'a self, action: &'static str, uri: &'a S3Uri) -> Asked<'a> {
        Asked {
            place: &self.place,
            action,
            uri,
        }
    }
}

/// A connection to S3.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    requests: Arc<Requests>,
}

impl Client {
    /// Connects as the environment says: credentials from the variables `AWS_…`, the profile, or the machine's role; the
    /// region; and `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` for a service other than AWS's own.
    ///
    /// # Errors
    /// [`S3Error::NoCredentials`], [`S3Error::BadCredentials`] or [`S3Error::NoRegion`]. No request to S3 is made yet.
    pub fn connect() -> Result<Self, S3Error> {
        let runtime = runtime()?;
        let endpoint = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
        let config = runtime.block_on(
            aws_config::defaults(BehaviorVersion::v2026_01_12())
                .http_client(http_client(endpoint.as_deref()))
                .load(),
        );
        runtime.block_on(check_credentials(&config))?;
        let endpoint = endpoint.or_else(|| config.endpoint_url().map(Into::into));
        let region = match (config.region(), &endpoint) {
            (Some(region), _) => region.to_string(),
            // Other services have no regions, but signatures name one.
            (None, Some(_)) => "us-east-1".into(),
            (None, None) => return Err(S3Error::NoRegion),
        };
        let builder = Builder::from(&config);
        let service = Service {
            endpoint,
            region,
            first_pause: FIRST_PAUSE,
            silence: SILENCE_TIMEOUT,
        };
        Ok(Self::build(runtime, builder, service))
    }

    /// Connects as `settings` say, whatever the environment.
    ///
    /// # Errors
    /// [`S3Error::Client`] if its threads cannot be started.
    pub fn with_settings(settings: Settings) -> Result<Self, S3Error> {
        let keys = Credentials::new(
            settings.keys.id,
            settings.keys.secret,
            None,
            None,
            "settings",
        );
        let builder = Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .http_client(http_client(settings.endpoint.as_deref()));
        let service = Service {
            endpoint: settings.endpoint,
            region: settings.region,
            first_pause: settings.first_pause,
            silence: settings.silence,
        };
        Ok(Self::build(runtime()?, builder, service))
    }

    fn build(runtime: Runtime, mut builder: Builder, service: Service) -> Self {
        let Service {
            endpoint,
            region,
            first_pause,
            silence,
        } = service;
        if let Some(endpoint) = &endpoint {
            // A name for each bucket is something that AWS has.
            builder = builder.endpoint_url(endpoint).force_path_style(true);
        }
        let retries = |attempts| {
            RetryConfig::standard()
                .with_max_attempts(attempts)
                .with_initial_backoff(first_pause)
                .with_max_backoff(LONGEST_PAUSE)
        };
        let timeouts = |limit| {
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(limit)
                .build()
        };
        let stalled = StalledStreamProtectionConfig::enabled().grace_period(silence);
        // Each request has its own number of attempts. The client's usual budget for all of them together would end a
        // download of many objects, although it goes on.
        let unlimited = RetryPartition::custom("s3").token_bucket(TokenBucket::unlimited());
        let builder = builder
            .region(Region::new(region.clone()))
            .retry_partition(unlimited.build())
            .stalled_stream_protection(stalled.build())
            .timeout_config(timeouts(silence));
        let usual = builder.retry_config(retries(ATTEMPTS)).build();
        let first = usual.to_builder().retry_config(retries(FIRST_ATTEMPTS));
        let sending = usual.to_builder().timeout_config(timeouts(SEND_TIMEOUT));
        let requests = Requests {
            first: aws_sdk_s3::Client::from_conf(first.build()),
            sending: aws_sdk_s3::Client::from_conf(sending.build()),
            usual: aws_sdk_s3::Client::from_conf(usual),
            place: Place {
                endpoint: endpoint.unwrap_or_else(|| format!("Amazon S3 in {region}")),
                region,
            },
            first_pause,
        };
        Self {
            runtime,
            requests: Arc::new(requests),
        }
    }

    /// Downloads everything below `from` into `folder`, which is made if it is not there. Objects that an earlier call
    /// downloaded and that did not change are kept; files of objects that are gone are removed. `None` if `on_progress`
    /// stopped it; what is complete then stays.
    ///
    /// # Errors
    /// [`S3Error::Empty`] if nothing is there, [`S3Error::Key`] or [`S3Error::Clash`] if keys cannot be files,
    /// [`S3Error::File`] if a file cannot be written, and all that says why S3 did not answer.
    pub fn download_folder(
        &self,
        from: &S3Uri,
        folder: &Path,
        on_progress: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Option<Synced>, S3Error> {
        self.runtime
            .block_on(download::folder(&self.requests, from, folder, on_progress))
    }

    /// Downloads the object `from` into `folder` under its own base name, unless it is there and did not change. The
    /// path, or `None` if `on_progress` stopped it.
    ///
    /// # Errors
    /// [`S3Error::MissingKey`] if there is no such object, [`S3Error::File`] if it cannot be written, and all that says why
    /// S3 did not answer.
    pub fn download_file(
        &self,
        from: &S3Uri,
        folder: &Path,
        on_progress: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Option<PathBuf>, S3Error> {
        self.runtime
            .block_on(download::file(&self.requests, from, folder, on_progress))
    }

    /// Uploads all of `folder` to below `to`, but for hidden and temporary files and for what is there already. `None` if
    /// `on_progress` stopped it; what is uploaded then stays.
    ///
    /// # Errors
    /// [`S3Error::File`] or [`S3Error::FileName`] if a file cannot be read, and all that says why S3 did not take it.
    pub fn upload_folder(
        &self,
        folder: &Path,
        to: &S3Uri,
        on_progress: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Option<Synced>, S3Error> {
        self.runtime
            .block_on(upload::folder(&self.requests, folder, to, on_progress))
    }

    /// Whether objects may be written below `to`: writes a small one and deletes it. For use before hours of training.
    ///
    /// # Errors
    /// [`S3Error::MissingBucket`], [`S3Error::Denied`], and all that says why S3 did not answer.
    pub fn upload_check(&self, to: &S3Uri) -> Result<(), S3Error> {
        self.runtime.block_on(upload::check(&self.requests, to))
    }
}
