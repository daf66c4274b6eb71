//! `docker run IMAGE serve` on the model of a training job.

use std::net::TcpListener;

use super::engine::{Container, image, volume};
use crate::main_job::run::Sandbox;
use crate::serve::server::{Server, trained};

/// The folder `ml` of a container with the model of [`trained`], and photos.
fn root() -> Sandbox {
    let trained = trained();
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("ml/model")).unwrap();
    for name in ["manifest.json", "model.safetensors", "model.onnx"] {
        let file = trained.path("run/model").join(name);
        std::fs::copy(file, sandbox.path("ml/model").join(name)).unwrap();
    }
    let photo = trained.path("data/test/2.bee/0.jpg");
    std::fs::copy(photo, sandbox.path("ml/photo.jpg")).unwrap();
    sandbox
}

#[test]
fn any_user_a_read_only_root_no_network_and_one_gigabyte_are_enough() {
    if image().is_none() {
        return;
    }
    let sandbox = root();
    let ml = volume(&sandbox, "ml", "/opt/ml:ro");
    let limits = "--read-only --user 1000 --network none --memory 1g --cap-drop ALL --security-opt no-new-privileges";
    let mut options: Vec<&str> = limits.split(' ').collect();
    options.extend(["--volume", &ml]);
    let (container, mut running) = Container::start(&options, &["serve"]);
    running
        .line_with("ready after")
        .expect("it loads its model");
    // No network leads to it, so the question comes from the same container.
    let asked = container.exec(&[
        "predict",
        "--endpoint",
        "http://127.0.0.1:8080",
        "--json",
        "/opt/ml/photo.jpg",
    ]);
    let answer = asked.succeeded().stdout;
    assert!(answer.contains("2.bee"), "{answer}");
    assert_eq!(container.stop(30), "0 false false");
    running.end().succeeded();
}

#[test]
fn ping_and_invocations() {
    if image().is_none() {
        return;
    }
    let sandbox = root();
    let ml = volume(&sandbox, "ml", "/opt/ml:ro");
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!(
        "SAGEMAKER_BIND_TO_PORT={}",
        free.local_addr().unwrap().port()
    );
    drop(free);
    let options = ["--network", "host", "--env", &port, "--volume", &ml];
    let (_container, command) = Container::command(&options, &["serve"]);
    // Ready when /ping says 200.
    let server = Server::of(command);
    let photo = sandbox.read("ml/photo.jpg");
    let of_container = server.invoke("image/jpeg", &photo).ok().probabilities();
    let here = Server::start()
        .invoke("image/jpeg", &photo)
        .ok()
        .probabilities();
    assert_eq!(of_container.len(), 3);
    for (one, other) in of_container.iter().zip(&here) {
        assert!((one - other).abs() < 1e-5, "{of_container:?} {here:?}");
    }
}
