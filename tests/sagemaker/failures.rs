//! T3: whatever goes wrong, the failure file says why, cause first, in at most 1,024 characters.

use std::{fs, process::Command};

use serde_json::json;

use super::job::Job;
use crate::main_job::run::finish;

#[test]
fn channels_that_are_missing_or_wrong_are_named() {
    let job = Job::new();
    fs::rename(job.at("input/data/train"), job.at("input/data/moved")).unwrap();
    job.fails(&["channel `train` has no data", "S3Uri"]);
    job.channels(&["validation", "test", "weights"]);
    job.fails(&[
        "no training channel",
        "`train`",
        "validation, test, weights",
    ]);
    job.channels(&["train", "training"]);
    job.fails(&["`train` and `training`"]);
    fs::write(job.at("input/config/inputdataconfig.json"), "{").unwrap();
    job.fails(&["inputdataconfig.json", "not JSON"]);
    fs::write(job.at("input/config/inputdataconfig.json"), "").unwrap();
    job.fails(&["no training channel", "no channel at all"]);
    fs::remove_file(job.at("input/config/inputdataconfig.json")).unwrap();
    job.fails(&["no training channel", "no channel at all"]);
}

#[test]
fn broken_photos_and_weights_are_named() {
    let job = Job::new();
    fs::write(job.at("input/data/train/2.bee/0.jpg"), "no photo").unwrap();
    job.hyperparameters(&[("strict", "true")]);
    job.fails(&["0.jpg", "not a JPEG"]);
    fs::write(job.at("input/data/weights/narrow.onnx"), "no network").unwrap();
    job.fails(&["narrow.onnx"]);
    fs::remove_file(job.at("input/data/weights/narrow.onnx")).unwrap();
    job.fails(&["channel `weights`", ".onnx", "found none"]);
}

#[test]
fn folders_that_cannot_be_written_fail_before_training() {
    for folder in ["model", "output/data", "checkpoints"] {
        let job = Job::new();
        let path = job.at(folder);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "a file in its place").unwrap();
        let failure = job.fails(&["cannot be written"]);
        assert!(failure.contains(&path.display().to_string()), "{failure}");
    }
}

/// Mounts a file system of `options` at `place` for as long as `run` takes; false where this machine does not allow that.
fn mounted(place: &std::path::Path, options: &str, run: impl FnOnce()) {
    fs::create_dir_all(place).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "none"])
        .arg(place)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("skipped: file systems cannot be mounted here");
        return;
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    Command::new("umount")
        .arg("-l")
        .arg(place)
        .status()
        .unwrap();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_read_only_model_folder_fails_before_training() {
    let job = Job::new();
    mounted(&job.at("model"), "ro", || {
        let failure = job.fails(&["model cannot be written", "mount it writable"]);
        assert!(failure.contains("Read-only"), "{failure}");
    });
}

#[test]
fn a_full_disk_is_the_cause() {
    let job = Job::new();
    // Room for a checkpoint of the narrow network, not for two.
    mounted(&job.at("checkpoints"), "size=200k", || {
        job.fails(&["checkpoints/", "No space left", "VolumeSizeInGB"]);
    });
    let job = Job::new();
    mounted(&job.at("model"), "size=100k", || {
        job.fails(&["model", "No space left"]);
    });
    // Failure file and results on the full disk itself.
    let job = Job::new();
    mounted(&job.at("output"), "size=16k", || {
        job.fails(&["No space left"]);
    });
}

/// The job with so many kilobytes of address space.
fn limited(job: &Job, kilobytes: usize) -> Command {
    let program = job.command(&[]);
    let script = format!("ulimit -v {kilobytes} && exec \"$@\"");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(job.sandbox.root())
        .env_clear()
        // As much address space on a machine with many cores.
        .env("MALLOC_ARENA_MAX", "1")
        .envs(
            program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    command
}

#[test]
fn memory_that_runs_out_is_the_cause() {
    let job = Job::new();
    job.hyperparameters(&[
        ("image-size", "1024"),
        ("batch-size", "48"),
        ("freeze", "false"),
    ]);
    let ended = finish(limited(&job, 700_000));
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:#?}");
    let failure = job.failure().unwrap();
    assert!(
        failure.starts_with("out of memory") && failure.contains("batch-size"),
        "{failure}"
    );
}

#[test]
fn a_process_that_is_killed_leaves_a_reason() {
    let job = Job::with(
        &crate::main_job::pictures::SMALL,
        &[("epochs", "100000"), ("freeze", "false")],
    );
    for (signal, said) in [
        ("KILL", "memory ran out"),
        ("ILL", "SIGILL"),
        ("ABRT", "SIGABRT"),
    ] {
        let mut running = crate::main_job::running::Running::start(job.command(&[]));
        assert!(running.wait_for("epoch=1"));
        // The training, not its supervisor.
        let kill = format!("pkill -{signal} -P {}", running.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        let ended = running.end();
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        let failure = job.failure().unwrap();
        assert!(failure.contains(said), "{failure}");
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
}

#[test]
fn a_panic_is_a_cause_too() {
    // More threads than there is address space for their stacks: the thread pool panics.
    let job = Job::new();
    let mut command = limited(&job, 2_000_000);
    command
        .env("RAYON_NUM_THREADS", "50000")
        // So large that what is left when one does not fit is enough to panic with.
        .env("RUST_MIN_STACK", (64 << 20).to_string());
    let ended = finish(command);
    assert_ne!(ended.code, Some(0), "{ended:#?}");
    let failure = job.failure().unwrap();
    assert!(
        failure.starts_with("internal error: ") && failure.contains("thread pool"),
        "{failure}"
    );
}

#[test]
fn reasons_are_short_and_begin_with_the_cause() {
    let job = Job::new();
    let long = "x".repeat(2400);
    job.config("hyperparameters.json", &json!({"optimizer": long}));
    let failure = job.fails(&["hyperparameters.json"]);
    assert_eq!(failure.chars().count(), 1024);
}
