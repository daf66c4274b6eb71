//! Folders as users have them: missing, incomplete, without splits; and what `inspect` says of them.

use std::fs;

use super::{pictures, run::Sandbox};

#[test]
fn a_folder_that_cannot_be_trained_on_is_named_and_no_run_is_left() {
    let sandbox = Sandbox::with_pictures();
    fs::create_dir_all(sandbox.path("bare")).unwrap();
    fs::create_dir_all(sandbox.path("no-images/train/a")).unwrap();
    fs::create_dir_all(sandbox.path("no-images/train/b")).unwrap();
    fs::write(sandbox.path("file"), "x").unwrap();
    pictures::draw(&sandbox.path("empty-class"), &pictures::SMALL);
    fs::create_dir_all(sandbox.path("empty-class/train/dodo")).unwrap();
    pictures::draw(&sandbox.path("missing-class"), &pictures::SMALL);
    fs::remove_dir_all(sandbox.path("missing-class/valid/10.ant")).unwrap();
    pictures::draw(&sandbox.path("unknown-class"), &pictures::SMALL);
    fs::rename(
        sandbox.path("unknown-class/valid/10.ant"),
        sandbox.path("unknown-class/valid/yeti"),
    )
    .unwrap();
    pictures::add(&sandbox.path("one-class/train"), "2.bee", 4);
    pictures::draw(&sandbox.path("no-train"), &[("valid", 4)]);

    let cases = [
        ("nowhere", "nowhere"),
        ("file", "file"),
        ("bare", "bare"),
        ("no-images", "no images"),
        ("empty-class", "dodo"),
        ("missing-class", "10.ant"),
        ("unknown-class", "yeti"),
        ("one-class", "2.bee"),
        ("no-train", "train"),
    ];
    for (folder, said) in cases {
        let ended = sandbox
            .train("run", &format!("--local-data {folder}"))
            .failed(1, &[said]);
        let error = ended.stderr.lines().last().unwrap();
        assert!(error.starts_with("error: "), "{folder}: {error}");
        assert!(error.contains(folder), "{folder}: {error}");
        assert_eq!(ended.stdout, "", "{folder}");
        assert!(
            !sandbox.path("run").exists(),
            "{folder} leaves a run folder"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;

    let sandbox = Sandbox::with_pictures();
    let closed = sandbox.path("data/train/2.bee");
    let allow = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o000);
    if fs::read_dir(&closed).is_ok() {
        println!("skipped: the superuser may read everything");
    } else {
        sandbox.train("run", "").failed(1, &["2.bee", "permission"]);
    }
    allow(0o755);
}

#[test]
fn class_folders_alone_are_split_and_it_is_said() {
    let sandbox = Sandbox::new();
    pictures::draw(&sandbox.path(""), &[("data", 10)]);
    let ended = sandbox.train("run", "--epochs 1").succeeded();
    assert!(
        ended
            .stderr
            .contains("24 images to train on, 6 to validate, 0 to test"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("20 % of each class"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("seed 42"), "{}", ended.stderr);
    assert!(!ended.stdout.contains("test:"), "{}", ended.stdout);
}

#[test]
fn validation_folders_may_have_any_of_their_names() {
    for name in ["val", "validation"] {
        let sandbox = Sandbox::new();
        pictures::draw(&sandbox.path("data"), &[("train", 8), (name, 4)]);
        let ended = sandbox.train("run", "--epochs 1").succeeded();
        let counts = "24 images to train on, 12 to validate, 0 to test";
        assert!(ended.stderr.contains(counts), "{name}: {}", ended.stderr);
    }
}

#[test]
fn inspect_counts_and_flags_leaks_and_broken_files() {
    let sandbox = Sandbox::with_pictures();
    let copy = |from: &str, to: &str| {
        fs::copy(
            sandbox.path("data").join(from),
            sandbox.path("data").join(to),
        )
        .unwrap();
    };
    copy("train/2.bee/0.jpg", "valid/2.bee/leak.jpg");
    copy("train/10.ant/1.png", "train/10.ant/twin.png");
    fs::write(sandbox.path("data/test/10.ant/broken.jpg"), "x").unwrap();

    let ended = sandbox
        .run(&["inspect", "data", "--json", "--output", "found.json"])
        .succeeded();
    let found: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(found, sandbox.json("found.json"));
    assert_eq!(found["images"], 3 * (16 + 6 + 4) + 3);
    let counts = |split: &serde_json::Value| (split["name"].clone(), split["images"].clone());
    let splits: Vec<_> = found["splits"]
        .as_array()
        .unwrap()
        .iter()
        .map(counts)
        .collect();
    let expected = [("train", 49), ("valid", 19), ("test", 13)];
    assert_eq!(
        splits,
        expected.map(|(name, images)| (name.into(), images.into()))
    );
    assert_eq!(found["splits"][0]["classes"][1]["name"], "10.ant");
    assert_eq!(found["splits"][0]["classes"][1]["images"], 17);
    assert_eq!(found["sizes"]["width"]["max"], 40);
    assert_eq!(found["sizes"]["height"]["min"], 36);

    let broken = found["broken"].as_array().unwrap();
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0]["path"].as_str().unwrap().ends_with("broken.jpg"));
    let duplicates = found["duplicates"].as_array().unwrap();
    assert_eq!(duplicates.len(), 2, "{duplicates:?}");
    let across = |name: &str| {
        let named = |d: &&serde_json::Value| d["paths"].to_string().contains(name);
        duplicates.iter().find(named).unwrap()["across_splits"].clone()
    };
    assert_eq!(
        (across("leak.jpg"), across("twin.png")),
        (true.into(), false.into())
    );

    let text = sandbox.run(&["inspect", "data"]).succeeded().stdout;
    for part in ["leak.jpg", "broken.jpg", "2.bee", "train", "valid"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    sandbox.run(&["inspect", "nowhere"]).failed(1, &["nowhere"]);
}

/// Test images that cannot be used cost training a warning; evaluation then goes on without them, too.
#[test]
fn test_images_without_labels_stop_neither_training_nor_evaluation() {
    let sandbox = Sandbox::with_pictures();
    let test = sandbox.path("data/test");
    fs::remove_dir_all(&test).unwrap();
    fs::create_dir(&test).unwrap();
    fs::copy(
        sandbox.path("data/valid/2.bee/0.jpg"),
        test.join("loose.jpg"),
    )
    .unwrap();
    let ended = sandbox.train("run", "--epochs 1").succeeded();
    assert!(
        ended.stderr.contains("warning: no test images"),
        "{ended:?}"
    );

    let arguments = ["eval", "run", "--data", "data", "--json"];
    let ended = sandbox.run(&arguments).succeeded();
    assert!(ended.stderr.contains("data/valid"), "{ended:?}");
    let mut arguments = arguments.to_vec();
    arguments.extend(["--split", "test"]);
    sandbox.run(&arguments).failed(1, &["--split test", "data"]);
}

/// With a drawn split, evaluation measures the images that training held out, and none that it learnt.
#[test]
fn evaluation_repeats_the_draw_of_training() {
    let sandbox = Sandbox::new();
    pictures::draw(&sandbox.path(""), &[("data", 10)]);
    sandbox.train("run", "--epochs 2").succeeded();
    let ended = sandbox
        .run(&["eval", "run", "--data", "data", "--json"])
        .succeeded();
    assert!(ended.stderr.contains("held out"), "{ended:?}");
    let scores: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(scores["images"], 6);
    let metrics = sandbox.json("run/model/manifest.json")["metrics"].clone();
    assert_eq!(scores["top1"], metrics["validation:accuracy"]);

    // Another list of images gives another draw, so the old one cannot be repeated.
    fs::remove_file(sandbox.path("data/2.bee/0.jpg")).unwrap();
    let ended = sandbox
        .run(&["eval", "run", "--data", "data", "--json"])
        .succeeded();
    assert!(ended.stderr.contains("warning: "), "{ended:?}");
}
