//! How a server begins and ends.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::server::{Server, trained};
use crate::main_job::run::{Sandbox, finish};

#[test]
fn sigterm_answers_what_is_under_way() {
    let server = Server::start();
    let file = trained().read("data/test/2.bee/0.jpg");
    let mut stream = TcpStream::connect(server.address.trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        file.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&file[..100]).unwrap();
    thread::sleep(Duration::from_millis(100));
    let asked = Instant::now();
    server.signal("TERM");
    thread::sleep(Duration::from_millis(200));
    stream.write_all(&file[100..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ended = server.end().succeeded();
    assert!(ended.stderr.contains("stopping"), "{}", ended.stderr);
    assert!(asked.elapsed() < Duration::from_secs(20));
}

/// The weights come through a pipe, so the model is loaded when the test says so.
#[test]
fn until_the_model_is_loaded_it_says_503() {
    let sandbox = Sandbox::new();
    let trained = trained();
    let (model, run) = (sandbox.path("model"), trained.path("run/model"));
    fs::create_dir(&model).unwrap();
    fs::copy(run.join("manifest.json"), model.join("manifest.json")).unwrap();
    let weights = model.join("model.safetensors");
    let made = Command::new("mkfifo").arg(&weights).status().unwrap();
    assert!(made.success());
    // Free again before the server wants it.
    let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr();
    let port = address.unwrap().port();
    let number = port.to_string();
    let command = sandbox.command(&["serve", "--model", "model", "--port", &number]);
    let server = Server::loading(command, port);
    for (method, answer) in [
        ("ping", server.get("/ping")),
        ("invocations", server.invoke("image/jpeg", b"any")),
    ] {
        assert_eq!(answer.status, 503, "{method}: {}", answer.text());
    }
    // Read through the pipe to be checked, then as a file to be used.
    let whole = sandbox.path("whole");
    fs::copy(run.join("model.safetensors"), &whole).unwrap();
    let mut pipe = File::create(&weights).unwrap();
    fs::rename(&whole, &weights).unwrap();
    pipe.write_all(&fs::read(&weights).unwrap()).unwrap();
    drop(pipe);
    server.wait_until_ready();
    let photo = trained.read("data/test/2.bee/0.jpg");
    server.invoke("image/jpeg", &photo).ok();
}

#[test]
fn a_missing_or_damaged_model_is_the_cause() {
    let sandbox = Sandbox::new();
    sandbox
        .run(&["serve", "--model", "nowhere", "--port", "0"])
        .failed(1, &["nowhere", "no model here"]);
    sandbox
        .run(&["serve", "--port", "0"])
        .failed(1, &["--model", "runs"]);
    let model = sandbox.path("model");
    fs::create_dir(&model).unwrap();
    for name in ["manifest.json", "model.safetensors"] {
        fs::copy(trained().path("run/model").join(name), model.join(name)).unwrap();
    }
    // Without the ONNX file, which no endpoint needs, it runs.
    drop(Server::of(
        sandbox.command(&["serve", "--model", "model", "--port", "0"]),
    ));
    let weights = model.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    sandbox
        .run(&["serve", "--model", "model", "--port", "0"])
        .failed(1, &["model.safetensors", "damaged"]);
    fs::remove_file(&weights).unwrap();
    sandbox
        .run(&["serve", "--model", "model", "--port", "0"])
        .failed(1, &["model.safetensors", "missing"]);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = Server::start();
    let port = server.address.rsplit(':').next().unwrap();
    let command = trained().command(&["serve", "--model", "run", "--port", port]);
    finish(command).failed(1, &["cannot listen on", port, "--port"]);
}
