//! T13 and the rest of what a container is to SageMaker: no flags, variables of the platform, several models, a read-only root.

use std::{fs, os::unix::process::CommandExt, process::Command};

use serde_json::json;

use super::server::{Server, trained};
use crate::main_job::run::Sandbox;

/// A container's root with the model of [`trained`] in it.
fn container() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("ml/model")).unwrap();
    for name in ["manifest.json", "model.safetensors", "model.onnx"] {
        fs::copy(
            trained().path("run/model").join(name),
            sandbox.path("ml/model").join(name),
        )
        .unwrap();
    }
    sandbox
}

fn serve(sandbox: &Sandbox, variables: &[(&str, &str)]) -> Command {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    let mut command = sandbox.command(&["serve"]);
    command
        .env("SAGEMAKER_BASE_DIR", sandbox.path("ml"))
        .env("SAGEMAKER_BIND_TO_PORT", port)
        .envs(variables.iter().copied());
    command
}

#[test]
fn nothing_but_serve_is_needed_and_the_page_stays_at_home() {
    let sandbox = container();
    let server = Server::of(serve(
        &sandbox,
        &[("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv")],
    ));
    let file = trained().read("data/test/2.bee/0.jpg");
    let answer = server.invoke("image/jpeg", &file).ok();
    assert!(answer.kind.starts_with("text/csv"), "{}", answer.kind);
    server.get("/").refused(404, &[]);
    server.get("/model").refused(404, &[]);
    server.get("/models").refused(404, &[]);
    fs::remove_file(sandbox.path("ml/model/manifest.json")).unwrap();
    crate::main_job::run::finish(serve(&sandbox, &[])).failed(1, &["ml/model", "manifest.json"]);
}

#[test]
fn batch_transform_is_told_what_it_may_send() {
    let sandbox = container();
    let variables = [
        ("SAGEMAKER_BATCH", "true"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "10"),
        ("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "4"),
        ("SAGEMAKER_BATCH_STRATEGY", "MULTI_RECORD"),
    ];
    let server = Server::of(serve(&sandbox, &variables));
    assert_eq!(
        server.get("/execution-parameters").ok().json(),
        json!({"MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 10})
    );
}

#[test]
fn models_are_loaded_listed_invoked_and_unloaded() {
    let sandbox = container();
    let server = Server::of(serve(&sandbox, &[("SAGEMAKER_MULTI_MODEL", "true")]));
    let kind = [("content-type", "application/json")];
    let url = sandbox.path("ml/model").display().to_string();
    let load = |name: &str, url: &str| {
        let body = json!({"model_name": name, "url": url}).to_string();
        server.post("/models", &kind, body.as_bytes())
    };
    assert_eq!(server.get("/models").ok().json(), json!({"models": []}));
    load("dogs", &url).ok();
    load("dogs", &url).refused(409, &["dogs"]);
    load("other", "/nowhere").refused(400, &["/nowhere"]);
    server
        .post("/models", &kind, b"{}")
        .refused(400, &["model_name"]);
    assert_eq!(
        server.get("/models").ok().json(),
        json!({"models": [{"modelName": "dogs", "modelUrl": url}]})
    );
    assert_eq!(server.get("/models/dogs").ok().json()["modelName"], "dogs");
    server.get("/models/cats").refused(404, &["cats"]);
    let file = trained().read("data/test/2.bee/0.jpg");
    let image = [("content-type", "image/jpeg")];
    assert_eq!(
        server
            .post("/models/dogs/invoke", &image, &file)
            .ok()
            .probabilities()
            .len(),
        3
    );
    server
        .post("/models/cats/invoke", &image, &file)
        .refused(404, &["cats"]);
    server
        .invoke("image/jpeg", &file)
        .refused(400, &["/models/{name}/invoke"]);
    server.delete("/models/dogs").ok();
    server.delete("/models/dogs").refused(404, &["dogs"]);
    server
        .post("/models/dogs/invoke", &image, &file)
        .refused(404, &["dogs"]);
}

#[test]
fn a_user_without_rights_on_a_read_only_folder_is_enough() {
    let sandbox = container();
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout == b"0\n");
    if !is_root {
        println!("skipped: only root can become another user");
        return;
    }
    let mut command = serve(&sandbox, &[]);
    // The program, its model and nothing else may be read; nothing may be written.
    let mut modes = vec![sandbox.root().to_owned()];
    modes.extend(["ml", "ml/model"].map(|name| sandbox.path(name)));
    for folder in modes {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o555);
        fs::set_permissions(folder, mode).unwrap();
    }
    let program = sandbox.command(&[] as &[&str]).get_program().to_owned();
    let reachable = Command::new("sh")
        .args(["-c", "test -x \"$0\""])
        .arg(program)
        .uid(65534)
        .gid(65534)
        .status();
    if !reachable.is_ok_and(|status| status.success()) {
        println!("skipped: the program lies where only root can read");
        return;
    }
    command.uid(65534).gid(65534);
    let server = Server::of(command);
    server
        .invoke("image/jpeg", &trained().read("data/test/2.bee/0.jpg"))
        .ok();
}
