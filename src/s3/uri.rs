//! Addresses of the form `s3://bucket/key`.
//!
//! Input: text of the command line. Output: bucket and key, checked, so that a typo is reported before a request.

use std::{fmt, str::FromStr};

use super::S3Error;

const SCHEME: &str = "s3://";
/// S3's own limit on a key, in bytes.
const LONGEST_KEY: usize = 1024;

/// A bucket, and a key or prefix in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Uri {
    /// The bucket's name.
    pub bucket: String,
    /// What follows the bucket and a slash; empty for the bucket itself.
    pub key: String,
}

impl S3Uri {
    /// Whether `text` is meant as an address in S3, well-formed or not.
    #[must_use]
    pub fn is_s3(text: &str) -> bool {
        text.get(..SCHEME.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    /// The key as a folder: with one slash at its end, so that `dogs` does not mean `dogs2/` as well. Empty for the bucket.
    #[cfg_attr(not(feature = "s3"), allow(dead_code))]
    pub(super) fn prefix(&self) -> String {
        match self.key.trim_end_matches('/') {
            "" => String::new(),
            key => format!("{key}/"),
        }
    }

    /// The same bucket with another key.
    #[cfg_attr(not(feature = "s3"), allow(dead_code))]
    pub(super) fn with_key(&self, key: impl Into<String>) -> Self {
        Self {
            bucket: self.bucket.clone(),
            key: key.into(),
        }
    }
}

impl fmt::Display for S3Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        match self.key.as_str() {
            "" => Ok(()),
            key => write!(f, "/{key}"),
        }
    }
}

impl FromStr for S3Uri {
    type Err = S3Error;

    fn from_str(text: &str) -> Result<Self, S3Error> {
        let wrong = |reason: &str| S3Error::Uri {
            given: text.into(),
            reason: reason.into(),
        };
        if !Self::is_s3(text) {
            return Err(wrong("it does not begin with s3://"));
        }
        let (bucket, key) = match text[SCHEME.len()..].split_once('/') {
            Some((bucket, key)) => (bucket, key),
            None => (&text[SCHEME.len()..], ""),
        };
        check_bucket(bucket).map_err(wrong)?;
        check_key(key).map_err(wrong)?;
        Ok(Self {
            bucket: bucket.into(),
            key: key.into(),
        })
    }
}

/// Capitals, underscores and long names are allowed because the oldest buckets have them.
fn check_bucket(bucket: &str) -> Result<(), &'static str> {
    let letters = bucket.as_bytes();
    let at_ends = |letter: Option<&u8>| letter.is_some_and(u8::is_ascii_alphanumeric);
    if bucket.is_empty() {
        Err("the name of the bucket is missing")
    } else if !letters
        .iter()
        .all(|letter| letter.is_ascii_alphanumeric() || b".-_".contains(letter))
    {
        Err("the name of a bucket has only letters, digits, dots and hyphens")
    } else if !(3..=255).contains(&letters.len()) {
        Err("the name of a bucket has 3 to 63 letters")
    } else if !at_ends(letters.first()) || !at_ends(letters.last()) {
        Err("the name of a bucket begins and ends with a letter or digit")
    } else if bucket.contains("..") {
        Err("the name of a bucket has no two dots in a row")
    } else {
        Ok(())
    }
}

fn check_key(key: &str) -> Result<(), &'static str> {
    // One slash at the end is how people write folders.
    let mut parts = key.strip_suffix('/').unwrap_or(key).split('/');
    if key.is_empty() {
        Ok(())
    } else if key.len() > LONGEST_KEY {
        Err("keys have at most 1024 bytes")
    } else if key.chars().any(char::is_control) {
        Err("it has a control character, such as a line break")
    } else if parts.clone().any(str::is_empty) {
        Err("it has two slashes in a row")
    } else if parts.any(|part| part == "." || part == ".." || part == super::CACHED_OBJECTS) {
        Err("`.`, `..` and `.s3-objects` are no parts of a key")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> S3Uri {
        text.parse().unwrap()
    }

    fn refused(text: &str) -> String {
        text.parse::<S3Uri>().unwrap_err().to_string()
    }

    #[test]
    fn bucket_and_key_come_apart_and_together_again() {
        for (text, bucket, key) in [
            ("s3://pets", "pets", ""),
            ("s3://pets/dogs", "pets", "dogs"),
            ("s3://pets/dogs/", "pets", "dogs/"),
            ("s3://my.pets-1/a b/ä+%20.jpg", "my.pets-1", "a b/ä+%20.jpg"),
        ] {
            let uri = parsed(text);
            assert_eq!((uri.bucket.as_str(), uri.key.as_str()), (bucket, key));
            assert_eq!(uri.to_string(), text);
        }
        assert_eq!(parsed("S3://pets/").to_string(), "s3://pets");
    }

    #[test]
    fn a_prefix_is_a_folder() {
        assert_eq!(parsed("s3://pets").prefix(), "");
        assert_eq!(parsed("s3://pets/").prefix(), "");
        assert_eq!(parsed("s3://pets/dogs").prefix(), "dogs/");
        assert_eq!(parsed("s3://pets/dogs/").prefix(), "dogs/");
    }

    #[test]
    fn paths_are_no_addresses() {
        assert!(S3Uri::is_s3("s3://"));
        assert!(S3Uri::is_s3("S3://x"));
        for text in ["", "s3", "s3:/x", "/s3://x", "data", "ä3://x", "https://x"] {
            assert!(!S3Uri::is_s3(text), "{text}");
        }
    }

    #[test]
    fn errors_name_the_text_and_what_is_wrong() {
        for (text, part) in [
            ("data", "does not begin with s3://"),
            ("s3://", "the name of the bucket is missing"),
            ("s3:///dogs", "the name of the bucket is missing"),
            ("s3://my pets/x", "only letters, digits"),
            ("s3://pets:dogs/x", "only letters, digits"),
            ("s3://ab", "3 to 63"),
            ("s3://-pets", "begins and ends"),
            ("s3://pe..ts", "two dots"),
            ("s3://pets//dogs", "two slashes"),
            ("s3://pets/dogs//", "two slashes"),
            ("s3://pets/a/../b", "`..`"),
            ("s3://pets/a\nb", "control character"),
        ] {
            let error = refused(text);
            assert!(error.contains(part), "{error}");
            assert!(error.contains("s3://bucket/folder"), "{error}");
        }
        assert!(refused(&format!("s3://pets/{}", "a".repeat(1025))).contains("1024"));
    }
}
