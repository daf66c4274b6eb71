//! How the server is set up.
//!
//! Input: flags and the variables that SageMaker sets. Output: [`Settings`].

use std::net::IpAddr;

use crate::sagemaker::Environment;

/// What a server goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub host: IpAddr,
    pub port: u16,
    /// Largest body of a request, in bytes.
    pub max_payload_bytes: usize,
    /// What is answered where the request does not say.
    pub default_accept: Option<String>,
    /// Invocations that may be under way at once; more are turned away.
    pub max_in_flight: usize,
    /// Serve the page for people at `/`.
    pub page: bool,
    /// Models are loaded and unloaded by request.
    pub multi_model: bool,
    pub top_k: usize,
    pub transform: Transform,
}

/// What a batch transform job is told at `/execution-parameters`.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    pub max_concurrent: usize,
    pub strategy: String,
    pub max_payload_mb: usize,
}

/// A variable that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}={value}: expected {expected}")]
pub struct SettingError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

/// Real-time endpoints take 25 MB; batch transform 6 unless told otherwise.
const PAYLOAD_MB: usize = 25;
const TRANSFORM_PAYLOAD_MB: usize = 6;

impl Settings {
    /// Takes what the platform says; flags override it afterwards. Inside of SageMaker the server listens on every address, on a
    /// laptop only on this machine.
    ///
    /// # Errors
    /// A variable that is set to something unusable.
    pub fn of_environment(environment: &Environment, hosted: bool) -> Result<Self, SettingError> {
        let number = |name: &'static str, default: usize| match environment.get(name) {
            None => Ok(default),
            Some(value) => match value.trim().parse::<usize>() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(SettingError {
                    name,
                    value: value.into(),
                    expected: "a whole number above 0",
                }),
            },
        };
        let is_true = |name: &str| {
            let value = environment.get(name).unwrap_or_default();
            value.eq_ignore_ascii_case("true") || value == "1"
        };
        let port = number("SAGEMAKER_BIND_TO_PORT", 8080)?;
        let port = u16::try_from(port).map_err(|_| SettingError {
            name: "SAGEMAKER_BIND_TO_PORT",
            value: port.to_string(),
            expected: "a port below 65536",
        })?;
        let batch = is_true("SAGEMAKER_BATCH");
        let usual = if batch {
            TRANSFORM_PAYLOAD_MB
        } else {
            PAYLOAD_MB
        };
        let payload_mb = number("SAGEMAKER_MAX_PAYLOAD_IN_MB", usual)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let transform_mb = number("SAGEMAKER_MAX_PAYLOAD_IN_MB", TRANSFORM_PAYLOAD_MB)?.min(100);
        Ok(Settings {
            host: match hosted {
                true => [0, 0, 0, 0].into(),
                false => [127, 0, 0, 1].into(),
            },
            port,
            max_payload_bytes: payload_mb * 1024 * 1024,
            default_accept: environment
                .get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT")
                .map(str::to_owned),
            max_in_flight: 64,
            page: !hosted,
            multi_model: is_true("SAGEMAKER_MULTI_MODEL"),
            top_k: 5,
            transform: Transform {
                // The product of the two may be 100 at most.
                max_concurrent: number("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", (2 * cores).min(16))?
                    .min(100 / transform_mb.max(1))
                    .max(1),
                strategy: match environment.get("SAGEMAKER_BATCH_STRATEGY") {
                    Some(strategy) if strategy.eq_ignore_ascii_case("multi_record") => {
                        "MULTI_RECORD"
                    }
                    _ => "SINGLE_RECORD",
                }
                .into(),
                max_payload_mb: transform_mb,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_decides_and_nonsense_is_named() {
        let environment = Environment::of([
            ("SAGEMAKER_BIND_TO_PORT", "9000"),
            ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "50"),
            ("SAGEMAKER_MULTI_MODEL", "true"),
            ("SAGEMAKER_BATCH_STRATEGY", "MultiRecord"),
            ("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "8"),
        ]);
        let settings = Settings::of_environment(&environment, true).unwrap();
        assert_eq!(
            (settings.port, settings.host.to_string()),
            (9000, "0.0.0.0".into())
        );
        assert_eq!(settings.max_payload_bytes, 50 << 20);
        assert!(settings.multi_model && !settings.page);
        assert_eq!(settings.transform.max_concurrent, 2, "two of 50 MB are 100");
        let settings = Settings::of_environment(&Environment::default(), false).unwrap();
        assert_eq!(
            (settings.port, settings.host.to_string()),
            (8080, "127.0.0.1".into())
        );
        assert_eq!(settings.max_payload_bytes, 25 << 20);
        assert_eq!(settings.transform.max_payload_mb, 6);
        for (name, value) in [
            ("SAGEMAKER_BIND_TO_PORT", "http"),
            ("SAGEMAKER_BIND_TO_PORT", "70000"),
            ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "0"),
        ] {
            let error = Settings::of_environment(&Environment::of([(name, value)]), true);
            assert!(
                error
                    .unwrap_err()
                    .to_string()
                    .contains(&format!("{name}={value}"))
            );
        }
    }
}
