//! Folders and files that come down whole.

use std::{fs, time::Instant};

use sagemaker_burn::s3::Synced;

use super::{client, content, folder, go_on, server::Server, uri, write};

#[test]
fn five_thousand_objects_come_once_and_then_only_what_changed() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("many");
    let client = client(&server.endpoint);
    let photos = folder();
    for i in 0..5000 {
        write(
            photos.path(),
            &format!("{}/{i}.jpg", i % 7),
            format!("photo {i}"),
        );
    }
    let began = Instant::now();
    let sent = client.upload_folder(photos.path(), &uri("s3://many/dogs"), &mut go_on);
    assert_eq!(sent.unwrap().unwrap().downloaded, 5000);
    eprintln!("5,000 objects up in {:.1} s", began.elapsed().as_secs_f64());
    // A neighbour whose name begins alike, and what consoles make for a folder.
    server.put("many", "dogs2/other.jpg", "other");
    server.put("many", "dogs/", "");

    let here = folder();
    let began = Instant::now();
    let mut last = None;
    let sync = |on_progress: &mut dyn FnMut(&_) -> bool| {
        client
            .download_folder(&uri("s3://many/dogs"), here.path(), on_progress)
            .unwrap()
            .unwrap()
    };
    let first = sync(&mut |progress| {
        last = Some(*progress);
        true
    });
    eprintln!(
        "5,000 objects down in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert_eq!(
        (first.objects, first.downloaded, first.kept),
        (5000, 5000, 0)
    );
    assert!(content(here.path()) == content(photos.path()));
    let last = last.unwrap();
    assert_eq!((last.objects_done, last.objects), (5000, 5000));
    assert_eq!((last.bytes_done, last.bytes), (first.bytes, first.bytes));

    let again = sync(&mut go_on);
    let nothing = Synced {
        objects: 5000,
        kept: 5000,
        ..Synced::default()
    };
    assert_eq!(again, nothing);

    // Of the same size, so only the ETag tells.
    server.put("many", "dogs/0/0.jpg", "PHOTO 0");
    server.delete("many", "dogs/1/1.jpg");
    write(here.path(), "1/mine.jpg", "mine");
    let changed = sync(&mut go_on);
    assert_eq!((changed.objects, changed.downloaded), (4999, 1));
    assert_eq!(fs::read(here.path().join("0/0.jpg")).unwrap(), b"PHOTO 0");
    assert!(!here.path().join("1/1.jpg").exists());
    assert_eq!(fs::read(here.path().join("1/mine.jpg")).unwrap(), b"mine");
}

#[test]
fn any_name_survives_both_ways() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("names");
    let client = client(&server.endpoint);
    let there = folder();
    let names = [
        "a b/c d.jpg",
        "ä/日本.jpg",
        "1+1=2.jpg",
        "100%.jpg",
        "%20.jpg",
        "a&b<c>'d'.jpg",
        "q?x#y.jpg",
        "nothing",
    ];
    for name in names {
        let text = if name == "nothing" { "" } else { name };
        write(there.path(), name, text);
    }
    let to = uri("s3://names/with space/ü+%");
    client
        .upload_folder(there.path(), &to, &mut go_on)
        .unwrap()
        .unwrap();
    // The key is the name itself, not its code in an address.
    let key = "with%20space/%C3%BC%2B%25/1%2B1%3D2.jpg";
    assert_eq!(server.get("names", key), b"1+1=2.jpg");
    let here = folder();
    let synced = client.download_folder(&to, here.path(), &mut go_on);
    assert_eq!(synced.unwrap().unwrap().downloaded, names.len());
    assert_eq!(content(here.path()), content(there.path()));
    let again = client.upload_folder(there.path(), &to, &mut go_on);
    assert_eq!(again.unwrap().unwrap().kept, names.len());
}

#[test]
fn a_file_comes_under_its_own_name_and_only_if_it_changed() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("weights");
    server.put("weights", "models/r18.onnx", "first");
    let client = client(&server.endpoint);
    let here = folder();
    let fetch = || {
        let mut done = None;
        let path = client
            .download_file(
                &uri("s3://weights/models/r18.onnx"),
                here.path(),
                &mut |progress| {
                    done = Some(*progress);
                    true
                },
            )
            .unwrap()
            .unwrap();
        assert_eq!(path, here.path().join("r18.onnx"));
        let done = done.unwrap();
        assert_eq!((done.objects_done, done.bytes_done), (1, done.bytes));
        fs::read(path).unwrap()
    };
    assert_eq!(fetch(), b"first");
    // Would be overwritten by a download.
    write(here.path(), "r18.onnx", "FIRST");
    assert_eq!(fetch(), b"FIRST");
    server.put("weights", "models/r18.onnx", "second");
    assert_eq!(fetch(), b"second");
}

#[test]
fn a_file_may_become_a_folder() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("turns");
    server.put("turns", "data/a", "file");
    let client = client(&server.endpoint);
    let here = folder();
    let sync = || {
        client
            .download_folder(&uri("s3://turns/data/"), here.path(), &mut go_on)
            .unwrap()
            .unwrap()
    };
    sync();
    server.delete("turns", "data/a");
    server.put("turns", "data/a/b", "deeper");
    sync();
    assert_eq!(fs::read(here.path().join("a/b")).unwrap(), b"deeper");
    server.delete("turns", "data/a/b");
    server.put("turns", "data/a", "file");
    sync();
    assert_eq!(fs::read(here.path().join("a")).unwrap(), b"file");
}
