//! The Docker engine of this machine.
//!
//! Input: arguments of `docker run`. Output: [`Container`], which is removed when it is dropped.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::main_job::run::{Ended, Sandbox, finish};
use crate::main_job::running::Running;

/// The image to test; `None`, with a line that says so, where there is none.
pub fn image() -> Option<&'static str> {
    static IMAGE: OnceLock<Result<String, String>> = OnceLock::new();
    let image = IMAGE.get_or_init(|| {
        let name =
            std::env::var("SAGEMAKER_BURN_IMAGE").unwrap_or_else(|_| "sagemaker-burn:cpu".into());
        if !succeeds(&["version"]) {
            return Err("no Docker engine answers".into());
        }
        match succeeds(&["image", "inspect", &name]) {
            true => Ok(name),
            false => Err(format!("there is no image {name}")),
        }
    });
    image
        .as_deref()
        .map_err(|reason| println!("skipped: {reason}"))
        .ok()
}

fn succeeds(arguments: &[&str]) -> bool {
    let mut command = Command::new("docker");
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What `docker` says to these arguments.
pub fn docker(arguments: &[&str]) -> Ended {
    let mut command = Command::new("docker");
    command.args(arguments);
    finish(command)
}

/// A value of `docker inspect` in Go's template language.
pub fn inspect(what: &str, template: &str) -> String {
    let said = docker(&["inspect", "--format", template, what]).succeeded();
    said.stdout.trim().to_owned()
}

/// A container with a name of its own.
pub struct Container {
    pub name: String,
}

impl Container {
    /// The command `docker run <options> <image> <arguments>`, and the container that it will start.
    pub fn command(options: &[&str], arguments: &[&str]) -> (Self, Command) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sagemaker-burn-test-{}-{number}", std::process::id());
        let mut command = Command::new("docker");
        command
            .args(["run", "--name", &name])
            .args(options)
            .arg(image().expect("the caller has looked"))
            .args(arguments)
            .stdin(Stdio::null());
        (Self { name }, command)
    }

    /// Runs to its end.
    pub fn finish(options: &[&str], arguments: &[&str]) -> Ended {
        let (_container, command) = Self::command(options, arguments);
        finish(command)
    }

    /// Starts and reads what it says.
    pub fn start(options: &[&str], arguments: &[&str]) -> (Self, Running) {
        let (container, command) = Self::command(options, arguments);
        (container, Running::start(command))
    }

    /// SIGTERM, and SIGKILL after `seconds`; then how it ended.
    pub fn stop(&self, seconds: u32) -> String {
        docker(&["stop", "--time", &seconds.to_string(), &self.name]).succeeded();
        inspect(
            &self.name,
            "{{.State.ExitCode}} {{.State.OOMKilled}} {{.State.Running}}",
        )
    }

    /// Runs the program in this container, too.
    pub fn exec(&self, arguments: &[&str]) -> Ended {
        let program = "/usr/local/bin/sagemaker-burn";
        let mut all = vec!["exec", &self.name, program];
        all.extend(arguments);
        docker(&all)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        succeeds(&["rm", "--force", "--volumes", &self.name]);
    }
}

/// `--volume` of a folder of a sandbox.
pub fn volume(sandbox: &Sandbox, folder: &str, place: &str) -> String {
    readable(sandbox.root());
    format!("{}:{place}", sandbox.path(folder).display())
}

/// Lets every user read, as SageMaker does with what it mounts.
fn readable(folder: &Path) {
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder, mode).unwrap();
}

/// The user and group of this process, who owns the sandbox.
pub fn me() -> String {
    let id = |flag| {
        let output = Command::new("id").arg(flag).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    format!("{}:{}", id("-u"), id("-g"))
}
