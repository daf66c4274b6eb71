//! A fake root and the job in it.
//!
//! Input: hyperparameters and channels. Output: the files that the platform would write, and a process to start.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::main_job::{
    pictures,
    run::{Ended, Sandbox, finish, narrow_resnet18},
};

/// A fake `/opt/ml` below `ml` in a sandbox.
pub struct Job {
    pub sandbox: Sandbox,
}

/// What makes a training take a fraction of a second.
pub const QUICK: [(&str, &str); 4] = [
    ("image-size", "32"),
    ("batch-size", "8"),
    ("epochs", "2"),
    ("workers", "2"),
];

impl Job {
    /// A job with the three documented files, photos in the channels `train`, `validation` and `test`, and the narrow network in
    /// the channel `weights`.
    pub fn new() -> Self {
        Self::with(&pictures::SMALL, &[])
    }

    /// The same with other pictures and further hyperparameters.
    pub fn with(counts: &pictures::Counts, hyperparameters: &[(&str, &str)]) -> Self {
        let job = Self::empty();
        pictures::draw(&job.at("input/data"), counts);
        fs::rename(job.at("input/data/valid"), job.at("input/data/validation")).unwrap();
        job.add_weights();
        job.channels(&["train", "validation", "test", "weights"]);
        job.hyperparameters(hyperparameters);
        job
    }

    /// A root with nothing but hosts.
    pub fn empty() -> Self {
        let job = Job {
            sandbox: Sandbox::new(),
        };
        fs::create_dir_all(job.at("input/config")).unwrap();
        fs::create_dir_all(job.at("input/data")).unwrap();
        job.config(
            "resourceconfig.json",
            &json!({"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}),
        );
        job
    }

    /// The narrow network as the channel `weights`.
    pub fn add_weights(&self) {
        fs::create_dir_all(self.at("input/data/weights")).unwrap();
        fs::copy(narrow_resnet18(), self.at("input/data/weights/narrow.onnx")).unwrap();
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.sandbox.path("ml").join(name)
    }

    pub fn config(&self, name: &str, content: &Value) {
        fs::write(self.at("input/config").join(name), content.to_string()).unwrap();
    }

    /// Writes `hyperparameters.json`: those of [`QUICK`], and the given ones.
    pub fn hyperparameters(&self, given: &[(&str, &str)]) {
        let all = QUICK.iter().chain(given);
        let map = all.map(|(name, value)| (name.to_string(), json!(value)));
        self.config("hyperparameters.json", &Value::Object(map.collect()));
    }

    /// Writes `inputdataconfig.json` with these channels in File mode.
    pub fn channels(&self, names: &[&str]) {
        let entry = json!({
            "ContentType": "application/x-image", "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"
        });
        let map = names.iter().map(|name| (name.to_string(), entry.clone()));
        self.config("inputdataconfig.json", &Value::Object(map.collect()));
    }

    /// The process that the platform would start.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut all = vec!["train"];
        all.extend(arguments);
        let mut command = self.sandbox.command(&all);
        command.env("SAGEMAKER_BASE_DIR", self.at(""));
        command
    }

    /// Runs the job to its end.
    pub fn run(&self) -> Ended {
        finish(self.command(&[]))
    }

    /// Fails the test unless the job failed with this cause first, in the log and in the failure file.
    pub fn fails(&self, texts: &[&str]) -> String {
        let ended = self.run();
        let failure = self
            .failure()
            .unwrap_or_else(|| panic!("no failure file: {ended:#?}"));
        assert!(ended.code.is_some_and(|code| code != 0), "{ended:#?}");
        assert!(failure.chars().count() <= 1024, "{failure}");
        let first = failure.lines().next().unwrap();
        for text in texts {
            assert!(first.contains(text), "{text:?} in {failure:?}");
            assert!(ended.stderr.contains(text), "{text:?} in {ended:#?}");
        }
        failure
    }

    pub fn failure(&self) -> Option<String> {
        fs::read_to_string(self.at("output/failure")).ok()
    }

    /// The artifact classifies a photo.
    pub fn predicts(&self) {
        let model = self.at("model");
        let photo = self.at("input/data/test/2.bee/0.jpg");
        let arguments = [Path::new("predict"), Path::new("--model"), &model, &photo];
        finish(self.sandbox.command(&arguments)).succeeded();
    }
}

/// Values of a metric in the order in which they were printed.
pub fn printed(ended: &Ended, name: &str) -> Vec<f64> {
    let start = format!("{name}=");
    let cells = ended.stdout.lines().flat_map(|line| line.split(' '));
    let values = cells.filter_map(|cell| cell.strip_prefix(&start));
    values.map(|value| value.parse().unwrap()).collect()
}
