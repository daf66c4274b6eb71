//! What a client needs of the machine: threads, the way to the network, and credentials.
//!
//! Input: the environment and `~/.aws`. Output: a runtime, an HTTP client, and whether there are credentials.

use std::env;

use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use tokio::runtime::{Builder, Runtime};

use super::{S3Error, answer::reason};

/// Enough to decrypt and check 16 streams; the waiting costs none.
const THREADS: usize = 4;

/// Threads of the client's own.
pub(super) fn runtime() -> Result<Runtime, S3Error> {
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("s3")
        .enable_all()
        .build()
        .map_err(|error| S3Error::Client {
            reason: format!("its threads cannot be started: {error}"),
        })
}

/// A client with the proxies that the environment names, and the certificate authorities of the system.
pub(super) fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
    // A proxy has its own idea of what the loopback address is.
    let loopback = endpoint.is_some_and(|url| {
        ["://127.0.0.1", "://localhost", "://[::1]"]
            .iter()
            .any(|host| url.contains(host))
    });
    // The client's shorter ways to build it take no proxies.
    aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder();
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        if !loopback {
            builder.set_proxy_config(Some(ProxyConfig::from_env()));
        }
        builder
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build()
    })
}

/// Asks for credentials once, because the answer to a request without them says less.
pub(super) async fn check_credentials(config: &SdkConfig) -> Result<(), S3Error> {
    let none = || S3Error::NoCredentials {
        profile: variable("AWS_PROFILE"),
    };
    let provider = config.credentials_provider().ok_or_else(none)?;
    match provider.provide_credentials().await {
        Ok(_) => Ok(()),
        Err(CredentialsError::CredentialsNotLoaded(_)) => Err(none()),
        Err(error) => Err(S3Error::BadCredentials {
            reason: reason(&error),
        }),
    }
}

/// A variable of the environment that is not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
