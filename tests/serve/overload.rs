//! More than it can take: requests are turned away at once, the others are answered, and memory stays.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use super::server::{Answer, Server, post, trained};

#[test]
fn ten_times_too_many_requests_are_answered_or_turned_away() {
    let server = Server::with(&["--max-in-flight", "2"]);
    let file = trained().read("data/test/2.bee/0.jpg");
    let url = format!("{}/invocations", server.address);
    let ten_times = || -> Vec<Answer> {
        let kind = [("content-type", "image/jpeg")];
        (0..10).map(|_| post(&url, &kind, &file)).collect()
    };
    let answers: Vec<Answer> = thread::scope(|scope| {
        let clients: Vec<_> = (0..20).map(|_| scope.spawn(ten_times)).collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!(count(200) + count(429), 200);
    assert!(count(200) >= 2);
    if let Some(busy) = answers.iter().find(|answer| answer.status == 429) {
        assert_eq!(busy.retry_after, "1");
    }
    server.invoke("image/jpeg", &file).ok();
}

#[test]
fn idle_and_half_open_connections_keep_nobody_out() {
    let server = Server::start();
    let address = server.address.trim_start_matches("http://");
    let mut idle: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for (number, stream) in idle.iter_mut().enumerate() {
        match number % 3 {
            0 => {}
            1 => stream
                .write_all(b"POST /invocations HTTP/1.1\r\nHost:")
                .unwrap(),
            _ => stream
                .write_all(
                    b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nabc",
                )
                .unwrap(),
        }
    }
    let started = Instant::now();
    server.get("/ping").ok();
    assert!(started.elapsed() < Duration::from_secs(2));
    let file = trained().read("data/test/2.bee/0.jpg");
    server.invoke("image/jpeg", &file).ok();
    drop(idle);
    server.invoke("image/jpeg", &file).ok();
}

#[test]
fn wrong_lengths_and_broken_requests_are_survived() {
    let server = Server::start();
    let address = server.address.trim_start_matches("http://");
    for request in [
        "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{request:?}: {answer}"
        );
    }
    server.get("/ping").ok();
}
