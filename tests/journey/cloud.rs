//! The stand-in, running, and commands whose cloud it is.
//!
//! Input: Python with moto and boto3. Output: [`Cloud`].

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, Weak},
};

use crate::main_job::run::{Ended, Sandbox, finish, narrow_resnet18, python_with};

/// The account of moto.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/sagemaker-burn";
pub const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-burn:latest";

/// Where the files of the tests are.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A running stand-in, in which there is a role and an image.
pub struct Cloud {
    process: Child,
    python: String,
    path: String,
    pub address: String,
    folder: Sandbox,
}

impl Cloud {
    /// The one of all tests that run at the same time; `None`, said aloud, where this machine cannot have one.
    pub fn shared() -> Option<Arc<Self>> {
        static RUNNING: Mutex<Weak<Cloud>> = Mutex::new(Weak::new());
        let mut running = RUNNING
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(cloud) = running.upgrade() {
            return Some(cloud);
        }
        let cloud = Arc::new(Self::start()?);
        *running = Arc::downgrade(&cloud);
        Some(cloud)
    }

    fn start() -> Option<Self> {
        let python = python_with(&["boto3", "moto.moto_server.werkzeug_app"])?;
        // The AWS CLI of the same environment, if it is there, before any other.
        let beside = Path::new(&python)
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default();
        let usual = std::env::var("PATH").unwrap_or_default();
        let programs = source("tests/journey/programs");
        let path = format!("{}:{}:{usual}", programs.display(), beside.display());
        let found = Command::new("aws")
            .arg("--version")
            .env("PATH", &path)
            .output();
        if !found.is_ok_and(|output| output.status.success()) {
            println!("skipped: there is no AWS CLI (aws)");
            return None;
        }
        let folder = Sandbox::new();
        let mut process = Command::new(&python)
            .arg(source("tests/journey/stand_in"))
            .args(["--binary", env!("CARGO_BIN_EXE_sagemaker-burn"), "--folder"])
            .arg(folder.path("stand-in"))
            // It ends when this is closed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let out = process.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut address).unwrap();
        assert!(address.starts_with("http"), "the stand-in does not start");
        let cloud = Cloud {
            process,
            python,
            path,
            address: address.trim().into(),
            folder,
        };
        cloud.prepare();
        Some(cloud)
    }

    /// Makes the role as the documentation says, and an image, of which SageMaker only wants to know that it is there.
    fn prepare(&self) {
        let trust = format!(
            "file://{}",
            source("scripts/execution-role-trust.json").display()
        );
        let role = [
            "iam",
            "create-role",
            "--role-name",
            "sagemaker-burn",
            "--assume-role-policy-document",
        ];
        self.aws(&[&role[..], &[&trust]].concat()).succeeded();
        for (file, line) in [
            (
                "execution-role-policy.json",
                "iam put-role-policy --role-name sagemaker-burn --policy-name jobs --policy-document",
            ),
            (
                "iam-policy.json",
                "iam create-policy --policy-name developer --policy-document",
            ),
        ] {
            let policy = fs::read_to_string(source("scripts").join(file)).unwrap();
            let policy = policy
                .replace("ACCOUNT", "123456789012")
                .replace("BUCKET", "dogs");
            let policy = policy
                .replace("REPOSITORY", "sagemaker-burn")
                .replace("ROLE", "sagemaker-burn");
            let words: Vec<&str> = line.split(' ').chain([policy.as_str()]).collect();
            self.aws(&words).succeeded();
        }
        self.aws(&[
            "ecr",
            "create-repository",
            "--repository-name",
            "sagemaker-burn",
        ])
        .succeeded();
        let manifest = r#"{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": [],
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1, "digest": "sha256:00"}}"#;
        let put = [
            "ecr",
            "put-image",
            "--repository-name",
            "sagemaker-burn",
            "--image-tag",
            "latest",
            "--image-manifest",
            manifest,
        ];
        self.aws(&put).succeeded();
    }

    /// A command in a sandbox, in an environment in which nothing is set but what leads here.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>, sandbox: &Sandbox) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .current_dir(sandbox.root())
            .env("PATH", &self.path)
            .env("HOME", sandbox.root())
            .env("SAGEMAKER_BURN", env!("CARGO_BIN_EXE_sagemaker-burn"))
            // The address is what differs from Amazon's; the rest is how fast a test asks and that it need not ask Amazon who it is.
            .env("AWS_ENDPOINT_URL", &self.address)
            .env("AWS_ACCESS_KEY_ID", "testing")
            .env("AWS_SECRET_ACCESS_KEY", "testing")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("JOURNEY_POLL_SECONDS", "0")
            .stdin(Stdio::null());
        command
    }

    /// A program of the journey, not yet started.
    pub fn script(&self, sandbox: &Sandbox, line: &[&str]) -> Command {
        let mut command = self.command(source("scripts").join(line[0]), sandbox);
        command.args(&line[1..]);
        command
    }

    /// A program of the journey, to its end.
    pub fn step(&self, sandbox: &Sandbox, line: &[&str]) -> Ended {
        finish(self.script(sandbox, line))
    }

    /// A Python program of these tests, not yet started; `None` where a module is missing.
    pub fn python(&self, sandbox: &Sandbox, modules: &[&str], name: &str) -> Option<Command> {
        python_with(modules)?;
        let mut command = self.command(&self.python, sandbox);
        command.arg(source("tests/journey").join(name));
        Some(command)
    }

    /// The AWS CLI.
    pub fn aws(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command("aws", &self.folder);
        command.args(arguments);
        finish(command)
    }

    /// What was left of a training job: its fake `/opt/ml`.
    pub fn job(&self, name: &str) -> PathBuf {
        self.folder.path("stand-in/jobs").join(name)
    }

    /// Turns the next calls of an operation away as SageMaker does when they come too fast.
    pub fn throttle(&self, operation: &str, calls: u32) {
        let body = format!(r#"{{"throttle": {{"{operation}": {calls}}}}}"#);
        ureq::post(format!("{}/stand-in/faults", self.address))
            .send(body.as_str())
            .unwrap();
    }

    /// No call of an operation is turned away any more.
    pub fn calm(&self, operation: &str) {
        self.throttle(operation, 0);
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // The end of its input ends it, and with it the endpoints that still run.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Hyperparameters with which a training takes a second.
pub const QUICK: [&str; 6] = [
    "-p",
    "epochs=3",
    "-p",
    "image-size=32",
    "-p",
    "freeze=false",
];

/// A sandbox with pictures, which were uploaded, and the notes that go with it.
pub fn uploaded(cloud: &Cloud, bucket: &str) -> Sandbox {
    let sandbox = Sandbox::with_pictures();
    let place = format!("s3://{bucket}/journey");
    let weights = narrow_resnet18();
    let line = [
        "upload-data",
        "data",
        &place,
        "--weights",
        &weights,
        "--create-bucket",
    ];
    cloud.step(&sandbox, &line).succeeded();
    fs::write(sandbox.path("journey/image"), IMAGE).unwrap();
    sandbox
}
