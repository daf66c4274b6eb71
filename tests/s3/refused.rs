//! What cannot be had is refused in words that help.

use std::process::Command;

use sagemaker_burn::s3::{Client, S3Error};

use super::{
    client, folder, go_on,
    proxy::{Fate, Proxy},
    server::Server,
    settings, uri,
};

fn refusal(client: &Client, from: &str) -> String {
    client
        .download_folder(&uri(from), folder().path(), &mut go_on)
        .unwrap_err()
        .to_string()
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn what_is_missing_is_named_with_what_is_near() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("missing");
    server.put("missing", "data/dogs2/a.jpg", "a");
    server.put("missing", "data/cats/a.jpg", "a");
    server.put("missing", "single.jpg", "a");
    let client = client(&server.endpoint);
    let no_bucket = refusal(&client, "s3://no-such-bucket/dogs");
    assert_says(&no_bucket, &["no bucket no-such-bucket", &server.endpoint]);
    let longer = refusal(&client, "s3://missing/data/dogs");
    assert_says(
        &longer,
        &[
            "nothing is below s3://missing/data/dogs/",
            "s3://missing/data/dogs2/",
        ],
    );
    assert!(!longer.contains("cats"), "{longer}");
    let typo = refusal(&client, "s3://missing/data/cast");
    assert_says(&typo, &["did you mean one of: s3://missing/data/cats/,"]);
    let object = refusal(&client, "s3://missing/single.jpg");
    assert_says(&object, &["did you mean one of: s3://missing/single.jpg"]);
    let no_key = client
        .download_file(
            &uri("s3://missing/data/x.onnx"),
            folder().path(),
            &mut go_on,
        )
        .unwrap_err();
    assert_says(
        &no_key.to_string(),
        &["there is no s3://missing/data/x.onnx"],
    );
}

#[test]
fn keys_that_cannot_be_files_are_refused() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("hostile");
    server.put("hostile", "twice/a", "file");
    server.put("hostile", "twice/a/b", "below a file");
    server.put("hostile", "double/a//b", "two slashes");
    let client = client(&server.endpoint);
    let clash = refusal(&client, "s3://hostile/twice");
    assert_says(&clash, &["s3://hostile/twice/a and s3://hostile/twice/a/b"]);
    let empty = refusal(&client, "s3://hostile/double");
    assert_says(&empty, &["s3://hostile/double/a//b", "empty part"]);
}

#[test]
fn keys_that_are_not_accepted_are_not_taken_for_missing_permission() {
    let Some(server) = Server::start(&[("INITIAL_NO_AUTH_ACTION_COUNT", "1")]) else {
        return;
    };
    server.make_bucket("private");
    let mut settings = settings(&server.endpoint);
    settings.keys.id = "AKIAUNKNOWN".into();
    let unknown = Client::with_settings(settings).unwrap();
    let text = refusal(&unknown, "s3://private/dogs");
    assert_says(
        &text,
        &[
            "s3://private/dogs",
            "refuses the AWS credentials",
            "AWS_ACCESS_KEY_ID",
        ],
    );
}

#[test]
fn the_bucket_s_own_region_is_named() {
    let Some(server) = Server::shared() else {
        return;
    };
    let elsewhere = Proxy::to(&server.endpoint, |_| {
        Fate::Answer(
            "301 Moved Permanently\r\nx-amz-bucket-region: eu-west-1",
            "<Error><Code>PermanentRedirect</Code></Error>",
        )
    });
    let text = refusal(&client(&elsewhere.endpoint), "s3://far/dogs");
    assert_says(
        &text,
        &["far is not in the region us-east-1", "AWS_REGION=eu-west-1"],
    );
}

#[test]
fn a_permission_that_is_missing_is_named() {
    let Some(server) = Server::shared() else {
        return;
    };
    let closed = Proxy::to(&server.endpoint, |_| {
        Fate::Answer(
            "403 Forbidden",
            "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
        )
    });
    let client = client(&closed.endpoint);
    assert_says(
        &refusal(&client, "s3://shut/dogs"),
        &["s3://shut/dogs", "s3:ListBucket"],
    );
    let error = client.upload_check(&uri("s3://shut/run")).unwrap_err();
    assert_says(&error.to_string(), &["s3://shut/run/", "s3:PutObject"]);
}

/// What `Client::connect` and a listing say in a process with only these variables.
fn connect_with(variables: &[(&str, &str)]) -> String {
    let home = folder();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "s3::refused::says_how_it_connects",
            "--ignored",
            "--nocapture",
        ])
        .env_clear()
        .env("HOME", home.path())
        // Not the role of the machine that the tests run on.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8_lossy(&child.stdout).into_owned()
}

#[test]
#[ignore = "run by the test below, in an environment of its own"]
fn says_how_it_connects() {
    let listed = Client::connect().and_then(|client| {
        client.download_folder(&uri("s3://env/dogs"), folder().path(), &mut go_on)
    });
    match listed {
        Err(error @ S3Error::Empty { .. }) => println!("connected, but {error}"),
        other => println!(
            "{}",
            other.map_or_else(|error| error.to_string(), |_| "data".into())
        ),
    }
}

#[test]
fn the_environment_says_how_to_connect() {
    let Some(server) = Server::shared() else {
        return;
    };
    server.make_bucket("env");
    let keys = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    assert_says(
        &connect_with(&[]),
        &["no AWS credentials", "AWS_PROFILE", "role"],
    );
    assert_says(
        &connect_with(&[("AWS_PROFILE", "nobody"), ("AWS_REGION", "us-east-1")]),
        &["credentials", "nobody"],
    );
    assert_says(&connect_with(&keys), &["no AWS region", "AWS_REGION"]);
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
        let said = connect_with(&[keys[0], keys[1], (name, &server.endpoint)]);
        assert_says(&said, &["connected, but nothing is below s3://env/dogs/"]);
    }
}
