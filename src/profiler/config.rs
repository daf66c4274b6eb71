//! Whether files are written, and how: SageMaker's `profilerconfig.json`.
//!
//! Input: the file, read again while the run goes on. Output: [`ProfilerConfig`]. Keys in any case, values as strings or numbers, as
//! the service and its SDKs write them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Amazon's periods of sampling, in milliseconds.
const INTERVALS_MS: [u64; 6] = [100, 200, 500, 1000, 5000, 60_000];

/// What is written.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfilerConfig {
    pub enabled: bool,
    /// Where the file says so.
    pub local_path: Option<PathBuf>,
    /// A timeline file is closed at this size.
    pub rotate_bytes: usize,
    /// Or at this age.
    pub rotate_seconds: f64,
    /// Between two samples of the machine.
    pub interval_ms: u64,
}

impl Default for ProfilerConfig {
    fn default() -> Self {
        ProfilerConfig {
            enabled: true,
            local_path: None,
            rotate_bytes: 10 << 20,
            rotate_seconds: 60.0,
            interval_ms: 500,
        }
    }
}

impl ProfilerConfig {
    /// Nothing is written.
    pub fn off() -> Self {
        ProfilerConfig {
            enabled: false,
            ..Default::default()
        }
    }

    /// What the text of a file says. As for Amazon's own hook, without `ProfilingParameters` nothing is written.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file = match serde_json::from_str(text).map_err(|error| error.to_string())? {
            Value::Null => return Ok(Self::off()),
            Value::Object(file) => lower(file),
            _ => return Err("it must be a JSON object".into()),
        };
        let disabled = match file.get("disableprofiler").and_then(plain) {
            None => false,
            Some(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => {
                    return Err(format!(
                        "DisableProfiler must be true or false, not '{text}'"
                    ));
                }
            },
        };
        let parameters = match file.get("profilingparameters") {
            Some(Value::Object(parameters)) if !parameters.is_empty() => lower(parameters.clone()),
            _ => return Ok(Self::off()),
        };
        let number = |map: &Map<String, Value>, key: &str, name: &str| {
            let text = map.get(key).and_then(plain);
            text.map(|text| match text.parse::<f64>() {
                Ok(number) if number > 0.0 => Ok(number),
                _ => Err(format!("{name} must be a number above 0, not '{text}'")),
            })
            .transpose()
        };
        let default = Self::default();
        let interval = number(
            &file,
            "profilingintervalinmilliseconds",
            "ProfilingIntervalInMilliseconds",
        )?;
        let bytes = number(
            &parameters,
            "rotatemaxfilesizeinbytes",
            "RotateMaxFileSizeInBytes",
        )?;
        let seconds = number(
            &parameters,
            "rotatefilecloseintervalinseconds",
            "RotateFileCloseIntervalInSeconds",
        )?;
        Ok(ProfilerConfig {
            enabled: !disabled,
            local_path: parameters
                .get("localpath")
                .and_then(plain)
                .map(PathBuf::from),
            rotate_bytes: bytes.map_or(default.rotate_bytes, |bytes| bytes as usize),
            rotate_seconds: seconds.unwrap_or(default.rotate_seconds),
            interval_ms: interval.map_or(default.interval_ms, nearest_interval),
        })
    }
}

/// The period that the service would accept.
fn nearest_interval(asked: f64) -> u64 {
    let distance = |ms: &u64| (*ms as f64 / asked).ln().abs();
    let nearest = INTERVALS_MS
        .into_iter()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest.unwrap_or(500)
}

fn lower(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter()
        .map(|(key, value)| (key.to_lowercase(), value))
        .collect()
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Says where the files of a configuration go; `None` where none are written.
pub type PlaceOf = Box<dyn Fn(&ProfilerConfig) -> Option<PathBuf> + Send>;

/// A file that may change while the run goes on.
#[derive(Clone, Debug)]
pub struct Follow {
    path: PathBuf,
    /// The text that was last understood, or failed to be.
    seen: Option<String>,
}

impl Follow {
    pub fn new(path: &Path) -> Self {
        Follow {
            path: path.to_owned(),
            seen: None,
        }
    }

    /// What the file says now; `None` where that is what it said before, or nothing that can be understood. The latter is warned
    /// about once for each text, and what held before holds on.
    pub fn look(&mut self) -> Option<ProfilerConfig> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_else(|_| "null".into());
        if self.seen.as_ref() == Some(&text) {
            return None;
        }
        let parsed = ProfilerConfig::parse(&text);
        self.seen = Some(text);
        parsed
            .map_err(|error| {
                tracing::warn!(
                    "{}: {error}; profiling goes on as before",
                    self.path.display()
                )
            })
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_job() {
        let config = ProfilerConfig::parse(
            r#"{"S3OutputPath":"s3://b/p","ProfilingIntervalInMilliseconds":"1000",
                "ProfilingParameters":{"LocalPath":"/opt/ml/output/profiler","RotateMaxFileSizeInBytes":"1000","RotateFileCloseIntervalInSeconds":30}}"#,
        );
        let config = config.unwrap();
        assert!(config.enabled);
        assert_eq!(config.local_path, Some("/opt/ml/output/profiler".into()));
        assert_eq!(
            (
                config.rotate_bytes,
                config.rotate_seconds,
                config.interval_ms
            ),
            (1000, 30.0, 1000)
        );
    }

    #[test]
    fn nothing_is_written_unless_it_is_asked_for() {
        for text in [
            "null",
            "{}",
            r#"{"ProfilingIntervalInMilliseconds":500}"#,
            r#"{"ProfilingParameters":{}}"#,
            r#"{"DISABLEPROFILER":"True","profilingparameters":{"localpath":"/x"}}"#,
        ] {
            assert!(!ProfilerConfig::parse(text).unwrap().enabled, "{text}");
        }
    }

    #[test]
    fn errors_name_the_key() {
        for (text, part) in [
            ("[1]", "object"),
            (r#"{"DisableProfiler":"perhaps"}"#, "DisableProfiler"),
            (
                r#"{"ProfilingParameters":{"RotateMaxFileSizeInBytes":"big"}}"#,
                "RotateMaxFileSizeInBytes",
            ),
        ] {
            let error = ProfilerConfig::parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_changed_file_is_seen_once_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profilerconfig.json");
        let mut follow = Follow::new(&path);
        assert_eq!(follow.look(), Some(ProfilerConfig::off()), "no file");
        assert_eq!(follow.look(), None);
        std::fs::write(&path, r#"{"ProfilingParameters":{"LocalPath":"/x"}}"#).unwrap();
        assert!(follow.look().unwrap().enabled);
        std::fs::write(&path, "{").unwrap();
        assert_eq!((follow.look(), follow.look()), (None, None));
    }
}
