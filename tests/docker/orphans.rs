//! Process 1 of a container waits for whatever was left behind, or the table of processes fills with zombies.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::engine::{Container, docker, image, volume};
use crate::main_job::{pictures, run::Sandbox, running::Running};
use crate::sagemaker::job::Job;

/// Ids on this machine of the processes in a container, and of their parents.
fn processes(container: &Container) -> Vec<(u32, u32)> {
    let said = docker(&["top", &container.name, "-o", "pid,ppid"]).succeeded();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| cells[index].parse().unwrap();
        (number(0), number(1))
    };
    said.stdout.lines().skip(1).map(row).collect()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a second training in the container, kills its supervisor so that the trainer is an orphan and dies, and looks for what is
/// left of it.
fn leave_an_orphan(container: &Container) {
    let before = processes(container);
    let known = |pid: u32| before.iter().any(|(known, _)| *known == pid);
    docker(&[
        "exec",
        "--detach",
        "--env",
        "SAGEMAKER_BASE_DIR=/job",
        &container.name,
        "/usr/local/bin/sagemaker-burn",
        "train",
    ])
    .succeeded();
    let mut pair = None;
    eventually("the second training runs", || {
        let now = processes(container);
        pair = now.iter().find_map(|(child, parent)| {
            let is_pair =
                !known(*child) && !known(*parent) && now.iter().any(|(pid, _)| pid == parent);
            is_pair.then_some((*child, *parent))
        });
        pair.is_some()
    });
    let (child, parent) = pair.unwrap();
    let kill = Command::new("sh")
        .args(["-c", &format!("kill -KILL {parent}")])
        .status();
    if !kill.is_ok_and(|status| status.success()) {
        println!("skipped: processes of a container cannot be killed from here");
        return;
    }
    // The engine does not list zombies, the kernel does.
    let lives = |pid: u32| Path::new(&format!("/proc/{pid}")).exists();
    eventually("the orphan is waited for", || {
        !lives(child) && !lives(parent)
    });
}

/// A job without end in a sandbox of its own.
fn endless() -> Job {
    let job = Job::with(
        &pictures::SMALL,
        &[("epochs", "100000"), ("freeze", "false")],
    );
    job.add_weights();
    job
}

fn start(main: &Sandbox, folder: &str, second: &Job, command: &str) -> (Container, Running) {
    let ml = volume(main, folder, "/opt/ml");
    let other = volume(&second.sandbox, "ml", "/job");
    Container::start(
        &["--network", "none", "--volume", &ml, "--volume", &other],
        &[command],
    )
}

#[test]
fn a_training_job_waits_for_orphans() {
    if image().is_none() {
        return;
    }
    let (first, second) = (endless(), endless());
    let (container, mut running) = start(&first.sandbox, "ml", &second, "train");
    assert!(running.wait_for("epoch=1"));
    leave_an_orphan(&container);
    assert_eq!(container.stop(120), "0 false false");
}

#[test]
fn an_endpoint_waits_for_orphans() {
    if image().is_none() {
        return;
    }
    let (model, second) = (Sandbox::with_model(), endless());
    std::fs::create_dir(model.path("ml")).unwrap();
    std::fs::rename(model.path("run/model"), model.path("ml/model")).unwrap();
    let (container, mut running) = start(&model, "ml", &second, "serve");
    running
        .line_with("ready after")
        .expect("it loads its model");
    leave_an_orphan(&container);
    assert_eq!(container.stop(30), "0 false false");
}
