//! Transfers that were stopped, and go on.

use std::{collections::BTreeSet, fs};

use super::{
    client, content, folder, go_on,
    proxy::{Fate, Proxy},
    server::Server,
    uri, write,
};

#[test]
fn a_stopped_download_goes_on_where_it_was() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("stopped");
    let there = folder();
    for i in 0..200 {
        write(
            there.path(),
            &format!("{}/{i}.jpg", i % 3),
            format!("photo {i}"),
        );
    }
    let from = uri("s3://stopped/dogs");
    client(&server.endpoint)
        .upload_folder(there.path(), &from, &mut go_on)
        .unwrap();
    let watched = Proxy::to(&server.endpoint, |_| Fate::Pass);
    let client = client(&watched.endpoint);
    let here = folder();
    let mut done = 0;
    let stopped = client.download_folder(&from, here.path(), &mut |progress| {
        done = progress.objects_done;
        done < 100
    });
    assert_eq!(stopped.unwrap(), None);
    assert!(!here.path().join(".s3-parts").exists());
    // A kill leaves parts.
    write(here.path(), ".s3-parts/7", "half");

    let before = watched.seen().len();
    let rest = client
        .download_folder(&from, here.path(), &mut go_on)
        .unwrap()
        .unwrap();
    assert!((done..150).contains(&rest.kept), "{rest:?}");
    assert_eq!(rest.kept + rest.downloaded, 200);
    // A request may come twice on a busy machine, but none for an object that is here.
    let asked: BTreeSet<_> = watched.seen()[before..]
        .iter()
        .filter(|one| one.line.contains(".jpg"))
        .map(|one| one.line.clone())
        .collect();
    assert_eq!(asked.len(), rest.downloaded);
    assert_eq!(content(here.path()), content(there.path()));
}

#[test]
fn an_object_that_vanishes_after_a_kill_leaves_nothing() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("vanish");
    for name in ["a", "b"] {
        server.put("vanish", &format!("dogs/{name}"), name);
    }
    let client = client(&server.endpoint);
    let here = folder();
    let from = uri("s3://vanish/dogs");
    client
        .download_folder(&from, here.path(), &mut go_on)
        .unwrap();
    // As a kill between a file's renaming and the next writing of the index leaves it.
    let index = here.path().join(".s3-index.json");
    let mut content: serde_json::Value =
        serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    content["objects"]["a"] = "".into();
    content["objects"]["b"] = "".into();
    fs::write(&index, content.to_string()).unwrap();
    server.delete("vanish", "dogs/a");
    let synced = client.download_folder(&from, here.path(), &mut go_on);
    assert_eq!(synced.unwrap().unwrap().downloaded, 1);
    assert!(!here.path().join("a").exists());
}
