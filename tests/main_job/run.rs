//! Starting the binary and looking at what it left.
//!
//! Input: arguments as they are typed. Output: [`Ended`].

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::pictures;

/// Environment variables that are passed on; everything else could change what a run does.
const PASSED_ON: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// A ResNet18 of width 4 with trained weights.
pub fn narrow_resnet18() -> String {
    golden_onnx("resnet18-kept.onnx")
}

/// The path of a file of `tests/golden/onnx`.
pub fn golden_onnx(name: &str) -> String {
    format!("{}/tests/golden/onnx/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// An empty folder in which the binary is started.
pub struct Sandbox {
    folder: tempfile::TempDir,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Fails the test unless the process succeeded.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Fails the test unless the process ended with `code` and said each of `texts` on stderr.
    pub fn failed(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} in {self:#?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    /// The metric lines that begin an epoch.
    pub fn epochs(&self) -> Vec<&str> {
        let lines = self.stdout.lines();
        lines.filter(|line| line.starts_with("epoch=")).collect()
    }
}

impl Sandbox {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    /// A sandbox with a small picture set in `data`.
    pub fn with_pictures() -> Self {
        let sandbox = Self::new();
        pictures::draw(&sandbox.path("data"), &pictures::SMALL);
        sandbox
    }

    /// A sandbox with a trained model of these pictures in `run`.
    pub fn with_model() -> Self {
        let sandbox = Self::with_pictures();
        let options = "--freeze false --learning-rate 0.003 --epochs 3";
        sandbox.train("run", options).succeeded();
        sandbox
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Names in a folder, sorted.
    pub fn list(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The rows of a run's `results.csv` by column.
    pub fn results(&self, run: &str) -> Vec<BTreeMap<String, String>> {
        let text = self.text(&format!("{run}/results.csv"));
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let row = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            assert_eq!(cells.len(), header.len(), "{line}");
            let cells = cells.into_iter().map(str::to_owned);
            header
                .iter()
                .map(|name| name.to_string())
                .zip(cells)
                .collect()
        };
        lines.map(row).collect()
    }

    /// One column of a run's `results.csv`.
    pub fn column(&self, run: &str, name: &str) -> Vec<f64> {
        let rows = self.results(run);
        rows.iter().map(|row| row[name].parse().unwrap()).collect()
    }

    /// The binary in this folder, with an environment in which nothing is set.
    pub fn command<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sagemaker-burn"));
        command.env_clear();
        for name in PASSED_ON {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
            .args(arguments)
            .current_dir(self.root())
            .env("HOME", self.root())
            .env("RAYON_NUM_THREADS", "2")
            // A build with CUDA has to give the results of the CPU, too.
            .env("CUDA_VISIBLE_DEVICES", "")
            // No test may reach for the network, not even by mistake.
            .env("SAGEMAKER_BURN_ZOO_URL", "http://127.0.0.1:9")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        finish(self.command(arguments))
    }

    /// Trains the narrow network on `data` into the run folder `run`, with `options` as they are typed; an option given
    /// there replaces the usual one.
    pub fn train(&self, run: &str, options: &str) -> Ended {
        finish(self.training(run, options))
    }

    /// The command of [`Sandbox::train`].
    pub fn training(&self, run: &str, options: &str) -> Command {
        let weights = narrow_resnet18();
        let usual = [
            ("--local-data", "data"),
            ("--weights", weights.as_str()),
            ("--image-size", "32"),
            ("--batch-size", "8"),
            ("--output", run),
            ("--epochs", "2"),
            ("--workers", "2"),
        ];
        let options: Vec<&str> = options.split_whitespace().collect();
        let mut arguments = options.clone();
        for (flag, value) in usual {
            if !options.contains(&flag) {
                arguments.extend([flag, value]);
            }
        }
        self.command(&arguments)
    }
}

/// Runs a command to its end.
pub fn finish(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a Python program; `None`, with a line that says so, where Python or one of `modules` is missing.
pub fn python(modules: &[&str], program: &str, arguments: &[&Path]) -> Option<String> {
    let mut command = Command::new(python_with(modules)?);
    command.args(["-c", program]).args(arguments);
    Some(finish(command).succeeded().stdout)
}

/// The Python that has `modules`; `None`, with a line that says so, where there is none. `SAGEMAKER_BURN_PYTHON` names another
/// interpreter than `python3`.
pub fn python_with(modules: &[&str]) -> Option<String> {
    let python = std::env::var("SAGEMAKER_BURN_PYTHON").unwrap_or_else(|_| "python3".into());
    for module in modules {
        let import = format!("import {module}");
        let found = Command::new(&python).args(["-c", &import]).output();
        if !found.is_ok_and(|output| output.status.success()) {
            println!("skipped: {python} cannot import {module}");
            return None;
        }
    }
    Some(python)
}
