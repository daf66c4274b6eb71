//! A network and a service that have their moments.

use std::{
    fs,
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use sagemaker_burn::s3::{Client, Settings};

use super::{
    client, content, folder, go_on, noise,
    proxy::{Fate, Proxy},
    server::{Server, put},
    settings, uri, write,
};

#[test]
fn a_service_that_asks_to_slow_down_gets_its_time() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("busy");
    let busy = Proxy::to(&server.endpoint, |request| match request.number % 3 {
        0 => Fate::Throttle,
        _ => Fate::Pass,
    });
    let client = client(&busy.endpoint);
    let there = folder();
    for i in 0..100 {
        write(there.path(), &format!("{i}.jpg"), format!("photo {i}"));
    }
    let to = uri("s3://busy/dogs");
    client.upload_folder(there.path(), &to, &mut go_on).unwrap();
    let here = folder();
    let synced = client.download_folder(&to, here.path(), &mut go_on);
    assert_eq!(synced.unwrap().unwrap().downloaded, 100);
    assert_eq!(content(here.path()), content(there.path()));
}

#[test]
fn a_service_that_never_stops_asking_is_named() {
    let Some(server) = Server::shared() else {
        return;
    };
    let busy = Proxy::to(&server.endpoint, |_| Fate::Throttle);
    let client = client(&busy.endpoint);
    let error = client
        .download_file(&uri("s3://busy2/a.onnx"), folder().path(), &mut go_on)
        .unwrap_err()
        .to_string();
    assert!(error.contains("s3://busy2/a.onnx"), "{error}");
    assert!(error.contains("slow down (SlowDown)"), "{error}");
    assert_eq!(busy.seen().len(), 10);
}

#[test]
fn a_cut_connection_is_continued_where_it_ended() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("cut");
    let photo = noise(1_000_000);
    server.put("cut", "dogs/a.jpg", &photo);
    // Twice in the middle, and once before the first byte.
    let cuts = AtomicUsize::new(0);
    let bad = Proxy::to(&server.endpoint, move |request| {
        if !request.line.contains("a.jpg") {
            return Fate::Pass;
        }
        match cuts.fetch_add(1, Ordering::Relaxed) {
            0 | 2 => Fate::Cut(300_000),
            1 => Fate::Cut(0),
            _ => Fate::Pass,
        }
    });
    let here = folder();
    let mut last = None;
    client(&bad.endpoint)
        .download_folder(&uri("s3://cut/dogs"), here.path(), &mut |progress| {
            last = Some(*progress);
            true
        })
        .unwrap()
        .unwrap();
    assert!(fs::read(here.path().join("a.jpg")).unwrap() == photo);
    assert_eq!(last.unwrap().bytes_done, 1_000_000);
    let gets: Vec<_> = bad
        .seen()
        .into_iter()
        .filter(|one| one.line.contains("a.jpg"))
        .collect();
    let ranges: Vec<_> = gets.iter().map(|one| one.range.as_deref()).collect();
    assert_eq!(
        ranges,
        [
            None,
            Some("bytes=300000-"),
            Some("bytes=300000-"),
            Some("bytes=600000-")
        ]
    );
    assert!(
        gets.iter()
            .all(|one| one.if_match == gets[0].if_match && one.if_match.is_some())
    );
}

#[test]
fn an_object_that_changes_in_the_middle_is_fetched_anew() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("moving");
    server.put("moving", "dogs/a.jpg", noise(500_000));
    let newer: Vec<u8> = noise(500_000).into_iter().rev().collect();
    let content = newer.clone();
    // Not the server itself: a proxy never ends.
    let url = server.url("moving", "dogs/a.jpg");
    let cuts = AtomicUsize::new(0);
    let bad = Proxy::to(&server.endpoint, move |request| {
        if !request.line.contains("a.jpg") {
            return Fate::Pass;
        }
        match cuts.fetch_add(1, Ordering::Relaxed) {
            0 => Fate::Cut(200_000),
            1 => {
                put(&url, &content);
                Fate::Pass
            }
            _ => Fate::Pass,
        }
    });
    let here = folder();
    let client = client(&bad.endpoint);
    let from = uri("s3://moving/dogs");
    client
        .download_folder(&from, here.path(), &mut go_on)
        .unwrap();
    assert!(fs::read(here.path().join("a.jpg")).unwrap() == newer);
    let again = client.download_folder(&from, here.path(), &mut go_on);
    assert_eq!(again.unwrap().unwrap().kept, 1);
}

#[test]
fn a_link_that_never_delivers_is_given_up() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("dead");
    server.put("dead", "dogs/a.jpg", noise(5_000));
    server.put("dead", "dogs/b.jpg", "fine");
    let bad = Proxy::to(&server.endpoint, |request| match &request.line {
        line if line.contains("a.jpg") => Fate::Cut(10),
        _ => Fate::Pass,
    });
    let here = folder();
    let error = client(&bad.endpoint)
        .download_folder(&uri("s3://dead/dogs"), here.path(), &mut go_on)
        .unwrap_err()
        .to_string();
    assert!(error.contains("s3://dead/dogs/a.jpg"), "{error}");
    assert!(error.contains("again and again"), "{error}");
    assert!(!here.path().join("a.jpg").exists());
    assert!(!here.path().join(".s3-parts").exists());
}

#[test]
fn a_server_that_falls_silent_is_asked_again() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("silent");
    let photo = noise(100_000);
    server.put("silent", "dogs/a.jpg", &photo);
    let gets = AtomicUsize::new(0);
    let bad = Proxy::to(&server.endpoint, move |request| {
        if !request.line.contains("a.jpg") {
            return Fate::Pass;
        }
        match gets.fetch_add(1, Ordering::Relaxed) {
            0 => Fate::Stall(70_000),
            _ => Fate::Pass,
        }
    });
    let client = Client::with_settings(Settings {
        silence: Duration::from_secs(2),
        ..settings(&bad.endpoint)
    });
    let here = folder();
    let began = Instant::now();
    client
        .unwrap()
        .download_folder(&uri("s3://silent/dogs"), here.path(), &mut go_on)
        .unwrap();
    assert!(fs::read(here.path().join("a.jpg")).unwrap() == photo);
    assert_eq!(bad.seen()[2].range.as_deref(), Some("bytes=70000-"));
    assert!(began.elapsed().as_secs() < 15);
}

#[test]
fn where_nobody_listens_it_is_said_soon() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = format!("http://{closed}");
    let began = Instant::now();
    let error = client(&endpoint)
        .download_folder(&uri("s3://pets/dogs"), folder().path(), &mut go_on)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("cannot reach {endpoint}")),
        "{error}"
    );
    assert!(error.contains("AWS_ENDPOINT_URL"), "{error}");
    assert!(began.elapsed().as_secs() < 5);
}
