//! Folders that go up.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
};

use super::{client, content, folder, go_on, server::Server, uri, write};

#[test]
fn a_folder_goes_up_and_comes_down_the_same() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("results");
    let run = folder();
    write(run.path(), "weights/best", vec![7; 200_000]);
    write(run.path(), "report.html", "<html>");
    write(run.path(), "empty", "");
    write(run.path(), ".hidden", "no");
    write(run.path(), "half.tmp", "no");
    // Large enough to go up in parts, and not the same in each.
    let mut large = File::create(run.path().join("large.bin")).unwrap();
    large.set_len(70 << 20).unwrap();
    for megabyte in [0, 15, 16, 40, 69] {
        large.seek(SeekFrom::Start(megabyte << 20)).unwrap();
        write!(large, "megabyte {megabyte}").unwrap();
    }
    let to = uri("s3://results/run-1/");
    let client = client(&server.endpoint);
    let mut last = None;
    let up = client
        .upload_folder(run.path(), &to, &mut |progress| {
            last = Some(*progress);
            true
        })
        .unwrap()
        .unwrap();
    let bytes = (70 << 20) + 200_006;
    assert_eq!(
        (up.objects, up.downloaded, up.kept, up.bytes),
        (4, 4, 0, bytes)
    );
    let last = last.unwrap();
    assert_eq!(
        (last.objects_done, last.bytes_done, last.bytes),
        (4, bytes, bytes)
    );

    let again = client
        .upload_folder(run.path(), &to, &mut go_on)
        .unwrap()
        .unwrap();
    assert_eq!((again.downloaded, again.kept, again.bytes), (0, 4, 0));
    write(run.path(), "report.html", "<HTML>");
    let changed = client
        .upload_folder(run.path(), &to, &mut go_on)
        .unwrap()
        .unwrap();
    assert_eq!((changed.downloaded, changed.kept), (1, 3));

    let here = folder();
    client
        .download_folder(&to, here.path(), &mut go_on)
        .unwrap()
        .unwrap();
    for name in [".hidden", "half.tmp"] {
        assert!(!here.path().join(name).exists());
        fs::remove_file(run.path().join(name)).unwrap();
    }
    assert!(content(here.path()) == content(run.path()));
}

#[test]
fn a_stopped_upload_leaves_no_parts() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("aborted");
    let run = folder();
    let large = File::create(run.path().join("large.bin")).unwrap();
    large.set_len(70 << 20).unwrap();
    let stopped = client(&server.endpoint).upload_folder(
        run.path(),
        &uri("s3://aborted/run"),
        &mut |progress| progress.bytes_done == 0,
    );
    assert_eq!(stopped.unwrap(), None);
    let unfinished = String::from_utf8(server.get("aborted", "?uploads")).unwrap();
    assert!(
        unfinished.contains("ListMultipartUploadsResult"),
        "{unfinished}"
    );
    assert!(!unfinished.contains("<UploadId>"), "{unfinished}");
}

#[test]
fn whether_results_may_be_written_is_known_before() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("checked");
    let client = client(&server.endpoint);
    client.upload_check(&uri("s3://checked/runs")).unwrap();
    let left = client.download_folder(&uri("s3://checked"), folder().path(), &mut go_on);
    let error = left.unwrap_err().to_string();
    assert!(error.contains("nothing is below s3://checked"), "{error}");
    let error = client
        .upload_check(&uri("s3://no-such-bucket/runs"))
        .unwrap_err();
    assert!(
        error.to_string().contains("no bucket no-such-bucket"),
        "{error}"
    );
}
