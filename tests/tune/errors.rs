//! What is wrong is said before the first trial.

use super::tune;
use crate::main_job::run::Sandbox;

#[test]
fn mistakes_are_named_before_anything_is_trained() {
    let sandbox = Sandbox::with_pictures();
    for (options, parts) in [
        (
            "--space bach-size=4,8",
            vec!["bach-size", "did you mean 'batch-size'?"],
        ),
        (
            "--space batch-size=4,many",
            vec!["--space", "many", "whole number"],
        ),
        (
            "--space learning-rate=0..1:log",
            vec!["--learning-rate", "above 0"],
        ),
        ("--space @missing.json", vec!["missing.json"]),
        ("--strategy grid", vec!["--max-jobs 4", "there are 6"]),
        (
            "--strategy grid --max-jobs - --space learning-rate=0.1..0.2",
            vec!["grid needs a list"],
        ),
        (
            "--batch-size 8",
            vec!["batch-size is in --space and also set to 8"],
        ),
        (
            "--strategy hyperband --early-stopping auto",
            vec!["does not go with --strategy hyperband"],
        ),
        (
            "--strategy hyperband --epochs - --space epochs=1..9",
            vec!["epochs", "cannot be in --space"],
        ),
        (
            "--space warmup-epochs=1,5",
            vec!["warmup-epochs 5", "longer than --epochs 2"],
        ),
        ("--weights missing.onnx", vec!["missing.onnx"]),
        ("--local-data missing", vec!["missing"]),
    ] {
        tune(&sandbox, "study", options).failed(1, &parts);
        assert!(!sandbox.path("study/trials").exists(), "{options}");
    }
    sandbox
        .run(&["tune", "--local-data", "data"])
        .failed(2, &["--space"]);
}

#[test]
fn a_study_goes_on_only_as_it_began() {
    let sandbox = Sandbox::with_pictures();
    tune(&sandbox, "study", "--max-jobs 1").succeeded();
    for (options, parts) in [
        (
            "--space batch-size=4,16",
            ["another space", "batch-size=4,8", "batch-size=4,16"],
        ),
        ("--epochs 3", ["another --epochs", "there 2", "now 3"]),
        (
            "--strategy random",
            ["another strategy", "Bayesian", "Random"],
        ),
        (
            "--image-size 64",
            ["another --image-size", "there 32", "now 64"],
        ),
    ] {
        tune(&sandbox, "study", &format!("{options} --max-jobs 2")).failed(1, &parts);
    }
    let error = tune(&sandbox, "data", "").failed(1, &["holds something else than a study"]);
    assert!(error.stdout.is_empty());
}

#[test]
fn a_dry_run_says_what_there_would_be() {
    let sandbox = Sandbox::with_pictures();
    let ended = tune(&sandbox, "study", "--dry-run").succeeded();
    for words in ["epochs", "command line", "combinations 6", "trials      4"] {
        assert!(ended.stdout.contains(words), "{words} in {}", ended.stdout);
    }
    assert!(!sandbox.path("study").exists());
}
