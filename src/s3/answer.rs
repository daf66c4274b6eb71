//! What an answer of S3, or its absence, means to the user.
//!
//! Input: an error of the AWS client. Output: an [`S3Error`] with the way out.

use std::{error::Error, iter};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::{S3Error, S3Uri};

/// Where requests go.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The endpoint's address, or words for the usual one.
    pub(super) endpoint: String,
    pub(super) region: String,
}

/// What was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) place: &'a Place,
    /// The permission that it needs.
    pub(super) action: &'static str,
    pub(super) uri: &'a S3Uri,
}

impl Asked<'_> {
    /// Explains `error`, the client's own retries being over.
    pub(super) fn explain<E>(&self, error: &SdkError<E, HttpResponse>) -> S3Error
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => self.service(
                answer.raw().status().as_u16(),
                answer.err().code(),
                answer
                    .err()
                    .message()
                    .map_or_else(|| reason(error), Into::into),
                answer.raw().headers().get("x-amz-bucket-region"),
            ),
            // An answer that cannot be read, such as the page of a proxy.
            SdkError::ResponseError(answer) => self.other(
                format!("HTTP {}", answer.raw().status().as_u16()),
                reason(error),
            ),
            _ => match reason(error) {
                // The client names no type for it: credentials ran out in the middle and there are no new ones.
                reason if reason.contains("credentials") => S3Error::BadCredentials { reason },
                reason if reason.contains("ertificate") => S3Error::Untrusted {
                    endpoint: self.place.endpoint.clone(),
                    reason,
                },
                reason => S3Error::Unreachable {
                    endpoint: self.place.endpoint.clone(),
                    reason,
                },
            },
        }
    }

    fn service(
        &self,
        status: u16,
        code: Option<&str>,
        message: String,
        region: Option<&str>,
    ) -> S3Error {
        let uri = self.uri.clone();
        match (code.unwrap_or_default(), status) {
            ("NoSuchBucket", _) => S3Error::MissingBucket {
                bucket: uri.bucket,
                endpoint: self.place.endpoint.clone(),
            },
            ("NoSuchKey" | "NotFound" | "", 404) => S3Error::MissingKey { uri },
            (
                "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException",
                _,
            )
            | ("AuthorizationHeaderMalformed", _)
            | (_, 301 | 307) => S3Error::WrongRegion {
                bucket: uri.bucket,
                used: self.place.region.clone(),
                region: region.or_else(|| expected_region(&message)).map(Into::into),
            },
            (
                code @ ("InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "ExpiredTokenException"
                | "InvalidSecurity"
                | "AuthFailure"),
                _,
            ) => S3Error::RefusedCredentials {
                uri,
                code: code.into(),
                message,
            },
            ("RequestTimeTooSkewed", _) => S3Error::Clock,
            ("InvalidObjectState", _) => S3Error::Archived { uri },
            (
                code @ ("SlowDown"
                | "ServiceUnavailable"
                | "Throttling"
                | "ThrottlingException"
                | "RequestLimitExceeded"
                | "TooManyRequests"),
                _,
            ) => S3Error::Throttled {
                uri,
                code: code.into(),
            },
            ("", 503 | 429) => S3Error::Throttled {
                uri,
                code: format!("HTTP {status}"),
            },
            ("AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "", 403) => {
                S3Error::Denied {
                    uri,
                    action: self.action,
                }
            }
            ("", status) => self.other(format!("HTTP {status}"), message),
            (code, _) => self.other(code.into(), message),
        }
    }

    fn other(&self, code: String, message: String) -> S3Error {
        S3Error::Service {
            uri: self.uri.clone(),
            action: self.action,
            code,
            message,
        }
    }
}

/// The region in a message like `the region 'us-east-1' is wrong; expecting 'eu-west-1'`.
fn expected_region(message: &str) -> Option<&str> {
    message.split_once("expecting '")?.1.split('\'').next()
}

/// The words of an error and of what caused it, each once.
pub(super) fn reason(error: &dyn Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in iter::successors(Some(error), |error: &&dyn Error| (*error).source()) {
        let text = cause.to_string();
        if !words.iter().any(|before| before.contains(&text)) {
            words.push(text);
        }
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str, message: &str, region: Option<&str>) -> String {
        let place = Place {
            endpoint: "http://store:9000".into(),
            region: "us-east-1".into(),
        };
        let uri = "s3://pets/dogs".parse().unwrap();
        let asked = Asked {
            place: &place,
            action: "s3:GetObject",
            uri: &uri,
        };
        let code = Some(code).filter(|code| !code.is_empty());
        asked
            .service(status, code, message.into(), region)
            .to_string()
    }

    #[test]
    fn each_answer_names_what_to_do() {
        for (status, code, parts) in [
            (404, "NoSuchBucket", ["pets", "http://store:9000"]),
            (404, "NoSuchKey", ["s3://pets/dogs", "aws s3 ls"]),
            (404, "", ["s3://pets/dogs", "aws s3 ls"]),
            (403, "AccessDenied", ["s3://pets/dogs", "s3:GetObject"]),
            (403, "", ["s3://pets/dogs", "s3:GetObject"]),
            (403, "InvalidAccessKeyId", ["why", "AWS_ACCESS_KEY_ID"]),
            (400, "ExpiredToken", ["why", "AWS_SESSION_TOKEN"]),
            (403, "RequestTimeTooSkewed", ["clock", "set it"]),
            (403, "InvalidObjectState", ["s3://pets/dogs", "restore"]),
            (503, "SlowDown", ["s3://pets/dogs", "slow down"]),
            (503, "", ["HTTP 503", "slow down"]),
            (500, "InternalError", ["InternalError", "why"]),
            (418, "", ["HTTP 418", "why"]),
        ] {
            let text = answer(status, code, "why", None);
            for part in parts {
                assert!(text.contains(part), "{status} {code}: {text}");
            }
        }
    }

    #[test]
    fn the_right_region_is_named_where_the_answer_tells() {
        let text = answer(301, "PermanentRedirect", "", Some("eu-west-1"));
        assert!(text.contains("not in the region us-east-1; set AWS_REGION=eu-west-1"));
        let message = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-north-1'";
        let text = answer(400, "AuthorizationHeaderMalformed", message, None);
        assert!(text.contains("AWS_REGION=eu-north-1"), "{text}");
        let text = answer(301, "", "", None);
        assert!(text.contains("AWS_REGION=<the bucket's region>"), "{text}");
    }
}
