//! `docker run IMAGE train` on a prepared `/opt/ml`, without a network.

use super::engine::{Container, image, inspect, me, volume};
use crate::main_job::{pictures, running::Running};
use crate::sagemaker::job::{Job, printed};

/// The job in a container that was started.
fn start(job: &Job) -> (Container, Running) {
    let ml = volume(&job.sandbox, "ml", "/opt/ml");
    Container::start(
        &["--network", "none", "--user", &me(), "--volume", &ml],
        &["train"],
    )
}

#[test]
fn a_job_runs_to_its_end_and_leaves_a_model() {
    if image().is_none() {
        return;
    }
    let job = Job::new();
    let (container, running) = start(&job);
    let ended = running.end().succeeded();
    assert_eq!(
        printed(&ended, "validation:accuracy").len(),
        2,
        "{ended:#?}"
    );
    // The image for GPUs says why it takes the CPU, and goes on.
    assert!(ended.stderr.contains("device: cpu ("), "{}", ended.stderr);
    assert_eq!(job.failure(), None);
    job.predicts();
    assert!(job.at("output/data/report.html").is_file());
    assert_eq!(inspect(&container.name, "{{.State.ExitCode}}"), "0");
}

#[test]
fn docker_stop_ends_it_with_a_model_and_success() {
    if image().is_none() {
        return;
    }
    let endless = [("epochs", "100000"), ("freeze", "false")];
    let job = Job::with(&pictures::SMALL, &endless);
    let (container, mut running) = start(&job);
    assert!(running.wait_for("epoch=2"));
    // SageMaker kills 120 seconds after SIGTERM; the exit code of a process that was killed is 137.
    assert_eq!(container.stop(120), "0 false false");
    let ended = running.end().succeeded();
    assert!(
        ended.stderr.contains("stopped by SIGTERM"),
        "{}",
        ended.stderr
    );
    assert_eq!(job.failure(), None);
    job.predicts();
}

#[test]
fn what_is_wrong_is_in_the_failure_file() {
    if image().is_none() {
        return;
    }
    let job = Job::with(&pictures::SMALL, &[("epochs", "many")]);
    let (container, running) = start(&job);
    assert_eq!(running.end().code, Some(1));
    assert_eq!(inspect(&container.name, "{{.State.ExitCode}}"), "1");
    assert!(job.failure().unwrap().contains("epochs"));
}

#[test]
fn weights_in_the_image_need_no_setting_and_no_network() {
    let Some(image) = image() else { return };
    let job = Job::with(&pictures::SMALL, &[]);
    std::fs::remove_dir_all(job.at("input/data/weights")).unwrap();
    job.channels(&["train", "validation", "test"]);
    let (_container, running) = start(&job);
    let ended = running.end();
    if ended.stderr.contains("is not there") || ended.stderr.contains("cannot be downloaded") {
        assert!(job.failure().is_some());
        println!("skipped: no weights are baked into {image}");
        return;
    }
    let ended = ended.succeeded();
    assert!(
        ended.stderr.contains("from /opt/sagemaker-burn/cache/"),
        "{}",
        ended.stderr
    );
    job.predicts();
}

#[test]
fn a_gpu_that_is_asked_for_and_not_there_is_an_error_not_a_crash() {
    if image().is_none() {
        return;
    }
    let job = Job::with(&pictures::SMALL, &[("device", "cuda")]);
    let (_container, running) = start(&job);
    let ended = running.end().failed(1, &["cuda"]);
    assert!(ended.stderr.contains("--device"), "{}", ended.stderr);
}
