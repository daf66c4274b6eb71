//! The forms of an answer, and what else the server tells.

use super::server::{Server, trained};

#[test]
fn answers_come_as_they_are_asked_for() {
    let server = Server::start();
    let file = trained().read("data/test/2.bee/0.jpg");
    let plain = server.invoke("image/jpeg", &file).ok();
    assert_eq!(plain.kind, "application/json");
    let expected = plain.probabilities();
    for accept in ["*/*", "application/json", "text/html, application/*;q=0.8"] {
        assert_eq!(
            server
                .invoke_for("image/jpeg", accept, &file)
                .ok()
                .probabilities(),
            expected,
            "{accept}"
        );
    }
    let npy = server
        .invoke_for("image/jpeg", "application/x-npy", &file)
        .ok();
    assert_eq!(npy.kind, "application/x-npy");
    assert!(npy.body.starts_with(b"\x93NUMPY"));
    let values: Vec<f32> = npy.body[npy.body.len() - 12..]
        .chunks(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    assert_eq!(values, expected);
    let csv = server.invoke_for("image/jpeg", "text/csv", &file).ok();
    let values: Vec<f32> = csv
        .text()
        .trim()
        .split(',')
        .map(|value| value.parse().unwrap())
        .collect();
    assert_eq!(values, expected);
    let lines = server
        .invoke_for("image/jpeg", "application/jsonlines", &file)
        .ok();
    let line: serde_json::Value =
        serde_json::from_str(lines.text().lines().next().unwrap()).unwrap();
    assert_eq!(
        serde_json::from_value::<Vec<f32>>(line["prediction"].clone()).unwrap(),
        expected
    );

    let verbose = server
        .invoke_for("image/jpeg", "application/json; verbose=1", &file)
        .ok()
        .json();
    let manifest = trained().json("run/model/manifest.json");
    let sha256 = manifest["files"]["model.safetensors"]["sha256"]
        .as_str()
        .unwrap();
    assert_eq!(verbose["model"]["version"], sha256[..12]);
    assert_eq!(verbose["model"]["architecture"], "resnet18");
    let top = verbose["predictions"][0]["top"].as_array().unwrap();
    let best = (0..3)
        .max_by(|a, b| expected[*a].total_cmp(&expected[*b]))
        .unwrap();
    assert_eq!(top[0]["index"], best);
    assert_eq!(top[0]["class"], manifest["classes"][best]);
}

#[test]
fn custom_attributes_come_back_and_unknown_headers_do_no_harm() {
    let server = Server::start();
    let file = trained().read("data/test/2.bee/0.jpg");
    let headers = [
        ("content-type", "image/jpeg"),
        ("x-amzn-sagemaker-custom-attributes", "trace-id=42;c000b4f9"),
        ("x-amzn-sagemaker-target-variant", "A"),
    ];
    assert_eq!(
        server.post("/invocations", &headers, &file).ok().custom,
        "trace-id=42;c000b4f9"
    );
    let headers = [("content-type", "image/jpeg"), headers[1]];
    let refused = server.post("/invocations", &headers, b"no picture");
    assert_eq!(
        (refused.status, refused.custom.as_str()),
        (415, "trace-id=42;c000b4f9")
    );
}

#[test]
fn counters_and_parameters() {
    let server = Server::start();
    let file = trained().read("data/test/2.bee/0.jpg");
    server.invoke("image/jpeg", &file).ok();
    server.invoke("image/jpeg", b"x");
    let text = server.get("/metrics").ok().text();
    for line in [
        "sagemaker_burn_requests_total{code=\"200\"} 1",
        "sagemaker_burn_requests_total{code=\"415\"} 1",
        "sagemaker_burn_request_seconds_count 2",
        "sagemaker_burn_requests_in_flight 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    let parameters = server.get("/execution-parameters").ok().json();
    assert_eq!(parameters["BatchStrategy"], "SINGLE_RECORD");
    assert_eq!(parameters["MaxPayloadInMB"], 6);
    assert!(parameters["MaxConcurrentTransforms"].as_u64().unwrap() >= 1);
}

#[test]
fn the_page_is_for_people_on_this_machine() {
    let server = Server::start();
    let page = server.get("/").ok();
    assert!(page.kind.starts_with("text/html"));
    let text = page.text();
    assert!(text.contains("invocations"));
    assert!(
        !text.contains("https://") || !text.contains("src=\"http"),
        "nothing comes from elsewhere"
    );
    let model = server.get("/model").ok().json();
    assert_eq!(model["classes"].as_array().unwrap().len(), 3);
    server
        .get("/examples/..%2Fmanifest.json")
        .refused(404, &["example"]);
}

#[test]
fn predict_asks_a_server_as_any_client_would() {
    let server = Server::start();
    let sandbox = trained();
    let photo = "data/test/2.bee/0.jpg";
    let here = sandbox
        .run(&["predict", "--model", "run", "--json", photo])
        .succeeded();
    let there = sandbox
        .run(&["predict", "--endpoint", &server.address, "--json", photo])
        .succeeded();
    let [here, there] = [here, there]
        .map(|ended| -> serde_json::Value { serde_json::from_str(&ended.stdout).unwrap() });
    assert_eq!(
        here["predictions"][0]["class"],
        there["predictions"][0]["class"]
    );
    let p = |value: &serde_json::Value| value["predictions"][0]["probability"].as_f64().unwrap();
    assert!((p(&here) - p(&there)).abs() < 1e-5);
    sandbox
        .run(&["predict", "--endpoint", &server.address, "run/args.json"])
        .failed(1, &["args.json"]);
    sandbox
        .run(&["predict", "--endpoint", "http://127.0.0.1:9", photo])
        .failed(1, &["--endpoint http://127.0.0.1:9/invocations", "serve"]);
}
