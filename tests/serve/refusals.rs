//! What cannot be answered is refused with the right code and a reason; nothing crashes the server.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::arrays::{f4, npy};
use super::server::{Server, trained};

#[test]
fn each_mistake_has_its_code_and_its_reason() {
    let server = Server::start();
    let file = trained().read("data/test/2.bee/0.jpg");
    server.invoke("image/jpeg", b"").refused(400, &[]);
    server
        .invoke("image/jpeg", b"garbage")
        .refused(415, &["JPEG", "NPY"]);
    server
        .invoke("image/jpeg", &file[..file.len() / 2])
        .refused(400, &["truncated"]);
    server
        .invoke("video/mp4", &file)
        .refused(415, &["image/*", "application/x-npy"]);
    server
        .invoke("application/json", b"{\"url\": \"http://127.0.0.1/x.jpg\"}")
        .refused(400, &["url"]);
    server
        .invoke("application/json", b"[[1, 2], [3]]")
        .refused(400, &[]);
    server.invoke("application/json", b"{").refused(400, &[]);
    server.invoke("text/csv", b"1,2,3").refused(400, &["3072"]);
    server
        .invoke(
            "application/x-npy",
            &npy("<f4", false, &[3, 31, 32], &f4(&vec![0.0; 3 * 31 * 32])),
        )
        .refused(400, &["32"]);
    server
        .invoke("application/x-npy", &npy("|O", false, &[1], &[0; 8]))
        .refused(400, &[]);
    server
        .invoke(
            "application/x-npy",
            &npy("<f4", false, &[3, 32, 32], &[0; 9]),
        )
        .refused(400, &[]);
    server
        .invoke_for("image/jpeg", "image/png", &file)
        .refused(406, &["application/json"]);
    server.get("/nowhere").refused(404, &["/invocations"]);
    server.get("/invocations").refused(405, &[]);
    server.invoke("image/jpeg", &file).ok();
}

#[test]
fn bodies_have_a_limit_and_large_photos_are_within_it() {
    let server = Server::start();
    let mut large = trained().read("data/test/2.bee/0.jpg");
    // Behind the end of a JPEG there may be anything.
    large.resize(7 << 20, 0);
    server.invoke("image/jpeg", &large).ok();
    large.resize(26 << 20, 0);
    server.invoke("image/jpeg", &large).refused(413, &["25 MB"]);
    let mut command = trained().command(&["serve", "--model", "run", "--port", "0"]);
    command.env("SAGEMAKER_MAX_PAYLOAD_IN_MB", "1");
    let server = Server::of(command);
    server
        .invoke("image/jpeg", &large[..2 << 20])
        .refused(413, &["1 MB"]);
}

#[test]
fn a_pixel_bomb_is_refused_from_its_header() {
    let server = Server::start();
    let mut file = trained().read("data/test/2.bee/1.png");
    // Width and height in the first chunk, whose checksum decoders may look at first.
    file[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    server.invoke("image/png", &file).refused(400, &[]);
    let array = npy("|u1", false, &[1 << 20, 1 << 20, 3], &[0; 100]);
    server.invoke("application/x-npy", &array).refused(400, &[]);
    let memory = server.get("/metrics").text();
    let peak = memory
        .lines()
        .find_map(|line| line.strip_prefix("sagemaker_burn_peak_memory_bytes "));
    if let Some(peak) = peak {
        assert!(peak.parse::<f64>().unwrap() < 600e6, "{peak}");
    }
}

#[test]
fn mutated_bodies_never_end_the_server() {
    let server = Server::start();
    let file = trained().read("data/test/2.bee/0.jpg");
    let array = npy("<f4", false, &[3, 32, 32], &f4(&vec![0.5; 3 * 32 * 32]));
    let json = format!("{{\"instances\": [{:?}]}}", vec![vec![vec![7; 3]; 9]; 9]);
    let csv = vec!["0.5"; 3 * 32 * 32].join(",");
    let bodies: [(&str, &[u8]); 4] = [
        ("image/jpeg", &file),
        ("application/x-npy", &array),
        ("application/json", json.as_bytes()),
        ("text/csv", csv.as_bytes()),
    ];
    let mut rng = StdRng::seed_from_u64(5);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..400 {
        let (kind, body) = bodies[round % bodies.len()];
        let mut body = body.to_vec();
        for _ in 0..rng.random_range(1..4) {
            // Headers are the interesting part.
            let end = if rng.random_bool(0.7) {
                body.len().min(200)
            } else {
                body.len()
            };
            let at = rng.random_range(0..end);
            body[at] = rng.random();
        }
        if rng.random_bool(0.2) {
            body.truncate(rng.random_range(0..body.len()));
        }
        let answer = server.invoke(kind, &body);
        assert!(
            matches!(answer.status, 200 | 400 | 413 | 415),
            "{kind}: {}",
            answer.text()
        );
        seen.insert(answer.status);
    }
    assert!(seen.len() > 1, "{seen:?}");
    server.invoke("image/jpeg", &file).ok();
}
