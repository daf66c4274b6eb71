//! Files that are no pictures: a warning and a line in the report each, never the run.

use std::fs;

use super::run::Sandbox;

/// Broken files by what is wrong with them, in training and validation.
const BROKEN: [&str; 4] = [
    "train/2.bee/empty.jpg",
    "train/10.ant/text.jpg",
    "train/wild cat/cut.jpg",
    "valid/2.bee/cut.jpg",
];

fn with_broken_files() -> Sandbox {
    let sandbox = Sandbox::with_pictures();
    let whole = sandbox.read("data/train/2.bee/0.jpg");
    for name in BROKEN {
        let content = match name {
            name if name.ends_with("empty.jpg") => &[],
            name if name.ends_with("text.jpg") => &b"this is not a picture"[..],
            _ => &whole[..whole.len() * 2 / 3],
        };
        fs::write(sandbox.path("data").join(name), content).unwrap();
    }
    sandbox
}

#[test]
fn each_costs_one_warning_and_a_line_in_the_report() {
    let sandbox = with_broken_files();
    for (run, options) in [
        ("features", "--freeze true"),
        ("frozen", "--freeze true --augmentation crop"),
        ("full", "--freeze false --cache-mb 0"),
    ] {
        let ended = sandbox
            .train(run, &format!("{options} --epochs 3"))
            .succeeded();
        assert_eq!(ended.epochs().len(), 3);
        let warnings: Vec<&str> = ended
            .stderr
            .lines()
            .filter(|line| line.starts_with("warning: "))
            .collect();
        assert_eq!(warnings.len(), BROKEN.len(), "{run}: {warnings:#?}");
        let report = sandbox.text(&format!("{run}/report.html"));
        for name in BROKEN {
            let about = warnings.iter().filter(|line| line.contains(name)).count();
            assert_eq!(about, 1, "{run}: {name} in {warnings:#?}");
            assert!(report.contains(name), "{run}: {name} is not in the report");
        }
        let summary = format!("{} broken images were left out", BROKEN.len());
        assert!(ended.stderr.contains(&summary), "{run}: {}", ended.stderr);
    }
}

#[test]
fn strict_fails_at_the_first_and_names_it() {
    let sandbox = with_broken_files();
    for options in ["--strict", "--strict true --freeze false"] {
        let ended = sandbox
            .train("run", options)
            .failed(1, &["broken image", "data/train/"]);
        let error = ended
            .stderr
            .lines()
            .find(|line| line.starts_with("error: "))
            .unwrap();
        assert!(BROKEN.iter().any(|name| error.contains(name)), "{error}");
        assert!(!sandbox.path("run/model").exists());
        fs::remove_dir_all(sandbox.path("run")).unwrap();
    }
}

#[test]
fn nothing_but_broken_files_is_an_error() {
    let sandbox = Sandbox::with_pictures();
    for class in ["2.bee", "10.ant", "wild cat"] {
        for name in sandbox.list(&format!("data/valid/{class}")) {
            fs::write(sandbox.path(&format!("data/valid/{class}/{name}")), "x").unwrap();
        }
    }
    for options in ["--freeze true", "--freeze false"] {
        sandbox
            .train(&options.replace(' ', "-"), options)
            .failed(1, &["data/valid/"]);
    }
}

#[test]
fn eval_and_predict_survive_them_too() {
    let sandbox = with_broken_files();
    sandbox.train("run", "--epochs 1").succeeded();
    let ended = sandbox
        .run(&[
            "eval", "run", "--data", "data", "--split", "valid", "--json",
        ])
        .succeeded();
    let scores: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&scores["images"], &scores["skipped"]),
        (&18.into(), &1.into())
    );
    sandbox
        .run(&[
            "eval", "run", "--data", "data", "--split", "valid", "--strict",
        ])
        .failed(1, &["data/valid/2.bee/cut.jpg"]);

    let pictures = ["data/valid/2.bee/cut.jpg", "data/valid/2.bee/0.jpg"];
    let mut arguments = vec!["predict", "--model", "run", "--json"];
    arguments.extend(pictures);
    let ended = sandbox.run(&arguments).failed(1, &[]);
    let lines: Vec<serde_json::Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        lines[0]["error"].as_str().unwrap().contains("truncated"),
        "{lines:?}"
    );
    assert!(lines[1]["predictions"].is_array(), "{lines:?}");
}
