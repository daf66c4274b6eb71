//! The hosts of a job and this one's place among them.
//!
//! Input: `resourceconfig.json`, `SM_HOSTS`, `SM_CURRENT_HOST`. Output: [`Resources`].

use serde_json::Value;

use super::{Environment, JobError, Paths, read_object};

/// The hosts of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    pub current_host: String,
    /// Sorted, so that every host gives every other the same rank.
    pub hosts: Vec<String>,
    /// Such as `ml.g4dn.xlarge`, where the platform says.
    pub instance_type: Option<String>,
}

impl Resources {
    /// Reads the hosts; without any word of them there is one.
    ///
    /// # Errors
    /// A damaged file, or a current host that is not in the list.
    pub fn read(paths: &Paths, environment: &Environment) -> Result<Self, JobError> {
        let file = paths.config_file("resourceconfig.json");
        let config = read_object(&file)?.unwrap_or_default();
        let text = |key: &str| config.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut hosts = match environment.get("SM_HOSTS") {
            Some(value) => serde_json::from_str(value).map_err(|_| JobError::Variable {
                variable: "SM_HOSTS".into(),
                value: value.into(),
                message: "expected a JSON list of host names such as [\"algo-1\"]".into(),
            })?,
            None => config.get("hosts").map_or_else(Vec::new, names),
        };
        hosts.sort();
        hosts.dedup();
        let current_host = environment
            .get("SM_CURRENT_HOST")
            .map(str::to_owned)
            .or_else(|| text("current_host"))
            .or_else(|| hosts.first().cloned())
            .unwrap_or_else(|| "algo-1".into());
        if hosts.is_empty() {
            hosts.push(current_host.clone());
        }
        if !hosts.contains(&current_host) {
            let message = format!(
                "the current host `{current_host}` is not among the hosts {}",
                hosts.join(", ")
            );
            return Err(match environment.get("SM_CURRENT_HOST") {
                Some(value) => JobError::Variable {
                    variable: "SM_CURRENT_HOST".into(),
                    value: value.into(),
                    message,
                },
                None => JobError::File {
                    path: file,
                    message,
                },
            });
        }
        Ok(Resources {
            current_host,
            hosts,
            instance_type: text("current_instance_type"),
        })
    }

    /// Position among the hosts, from 0.
    pub fn rank(&self) -> usize {
        let position = self
            .hosts
            .iter()
            .position(|host| *host == self.current_host);
        position.unwrap_or(0)
    }
}

fn names(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: Option<&str>, environment: Environment) -> Result<Resources, JobError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("input/config")).unwrap();
        if let Some(config) = config {
            std::fs::write(dir.path().join("input/config/resourceconfig.json"), config).unwrap();
        }
        Resources::read(&Paths::below(dir.path(), &environment), &environment)
    }

    #[test]
    fn a_real_file_and_none_at_all() {
        let real = r#"{"current_host":"algo-2","current_instance_type":"ml.g4dn.xlarge",
            "current_group_name":"homogeneousCluster","hosts":["algo-2","algo-1"],
            "instance_groups":[{"instance_group_name":"homogeneousCluster","instance_type":"ml.g4dn.xlarge",
            "hosts":["algo-2","algo-1"]}],"network_interface_name":"eth0","topology":null}"#;
        let resources = read(Some(real), Environment::default()).unwrap();
        assert_eq!((resources.rank(), resources.hosts.len()), (1, 2));
        assert_eq!(resources.instance_type.as_deref(), Some("ml.g4dn.xlarge"));
        let resources = read(None, Environment::default()).unwrap();
        assert_eq!((resources.rank(), resources.hosts.len()), (0, 1));
    }

    #[test]
    fn the_environment_wins() {
        let environment =
            Environment::of([("SM_HOSTS", r#"["a","b","c"]"#), ("SM_CURRENT_HOST", "c")]);
        let config = r#"{"current_host":"algo-1","hosts":["algo-1"]}"#;
        assert_eq!(read(Some(config), environment).unwrap().rank(), 2);
        let error = read(None, Environment::of([("SM_HOSTS", "a,b")])).unwrap_err();
        assert!(error.to_string().contains("SM_HOSTS=a,b"), "{error}");
    }

    #[test]
    fn a_stranger_among_the_hosts_is_an_error() {
        let config = r#"{"current_host":"algo-3","hosts":["algo-1","algo-2"]}"#;
        let error = read(Some(config), Environment::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("algo-3") && error.contains("resourceconfig.json"),
            "{error}"
        );
    }
}
