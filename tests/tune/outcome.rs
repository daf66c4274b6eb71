//! What a study leaves.

use super::jobs::{jobs, said};
use super::{SPACE, tune};
use crate::main_job::run::{Sandbox, finish};

#[test]
fn four_trials_end_in_a_table_a_model_and_hyperparameters_that_give_the_same_again() {
    let sandbox = Sandbox::with_pictures();
    let ended = tune(&sandbox, "study", "").succeeded();
    let jobs = jobs(&sandbox, "study");
    assert_eq!(jobs.len(), 4);
    assert!(
        jobs.iter()
            .all(|job| job["TrainingJobStatus"] == "Completed")
    );
    let value = |job: usize| jobs[job]["FinalObjectiveValue"].parse::<f64>().unwrap();
    assert!((1..4).all(|job| value(0) >= value(job)));
    assert_eq!(ended.stdout.lines().count(), 5, "{}", ended.stdout);
    assert!(ended.stderr.contains("4/4 done"), "{}", ended.stderr);

    // The head alone is trained, whatever the batch size: one pass over each split, whose features stay.
    let passes = said(&sandbox, "study", "are computed, to be shared");
    assert_eq!(passes, 3);
    assert_eq!(said(&sandbox, "study", "shared with an earlier run"), 9);

    // Only the best model stays, and it is what predict takes.
    let best = jobs[0]["TrainingJobName"].replace("study-", "study/trials/");
    for trial in sandbox.list("study/trials") {
        let folder = format!("study/trials/{trial}");
        assert!(!sandbox.path(&format!("{folder}/weights")).exists());
        assert_eq!(
            sandbox.path(&format!("{folder}/model")).exists(),
            folder == best
        );
    }
    sandbox
        .run(&["eval", "study", "--data", "data"])
        .succeeded();

    // The command for the final training is printed; it reaches the same objective, also without shared features.
    let command = ended
        .stderr
        .lines()
        .find(|line| line.contains("train --local-data"));
    let words = command
        .unwrap()
        .trim()
        .trim_start_matches("sagemaker-burn ");
    let mut words: Vec<&str> = words.split(' ').collect();
    words.extend(["--output", "final"]);
    sandbox.run(&words).succeeded();
    let accuracies = sandbox.column("final", "valid_accuracy");
    assert_eq!(accuracies.into_iter().fold(0.0, f64::max), value(0));
    let hyperparameters = sandbox.json("study/best-hyperparameters.json");
    assert_eq!(hyperparameters["epochs"], "2");
    assert_eq!(hyperparameters["batch-size"], jobs[0]["batch-size"]);

    let page = sandbox.text("study/tune.html");
    for words in [
        &jobs[0]["TrainingJobName"],
        "polyline",
        SPACE,
        "validation:accuracy",
    ] {
        assert!(page.contains(words), "{words}");
    }

    // The same command again has nothing to do, one with more trials goes on.
    let journal = sandbox.read("study/journal.jsonl");
    let again = tune(&sandbox, "study", "").succeeded();
    assert_eq!(again.stdout, ended.stdout);
    assert!(journal == sandbox.read("study/journal.jsonl"));
    let more = tune(&sandbox, "study", "--max-jobs 99").succeeded();
    assert_eq!(more.stdout.lines().count(), 7, "{}", more.stdout);
}

#[test]
fn trials_that_train_more_than_the_head_share_nothing() {
    let sandbox = Sandbox::with_pictures();
    for (study, options) in [("all", "--freeze false"), ("crops", "--augmentation crop")] {
        let options = format!("{options} --max-jobs 2 --epochs 1");
        tune(&sandbox, study, &options).succeeded();
        assert_eq!(said(&sandbox, study, "features of"), 0);
        assert!(!sandbox.path(&format!("{study}/features")).exists());
    }
}

#[test]
fn two_trials_at_once_share_one_pass_too() {
    let sandbox = Sandbox::with_pictures();
    let ended = tune(
        &sandbox,
        "study",
        "--parallel 2 --max-jobs 6 --strategy random",
    )
    .succeeded();
    assert_eq!(ended.stdout.lines().count(), 7, "{}", ended.stdout);
    assert_eq!(said(&sandbox, "study", "are computed, to be shared"), 3);
    let first = ended.stderr.find("trial 2/6").unwrap();
    assert!(
        first < ended.stderr.find("trial 1 completed").unwrap(),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_grid_tries_every_combination_and_a_file_of_ranges_is_a_space() {
    let sandbox = Sandbox::with_pictures();
    let ranges = r#"{"CategoricalParameterRanges": [
        {"Name": "batch_size", "Values": ["4", "8"]}, {"Name": "optimizer", "Values": ["\"sgd\"", "\"adam\""]}]}"#;
    std::fs::write(sandbox.path("ranges.json"), ranges).unwrap();
    let options = "--strategy grid --max-jobs - --space @ranges.json --objective validation:loss";
    tune(&sandbox, "study", options).succeeded();
    let jobs = jobs(&sandbox, "study");
    let tried: std::collections::BTreeSet<_> = jobs
        .iter()
        .map(|job| (job["batch-size"].clone(), job["optimizer"].clone()))
        .collect();
    assert_eq!((jobs.len(), tried.len()), (4, 4));
    let values: Vec<f64> = jobs
        .iter()
        .map(|job| job["FinalObjectiveValue"].parse().unwrap())
        .collect();
    // A loss is the better the lower; it is that of the last epoch.
    assert!(values.is_sorted(), "{values:?}");
    let best = jobs[0]["TrainingJobName"].replace("study-", "study/trials/");
    assert_eq!(sandbox.column(&best, "valid_loss").pop(), Some(values[0]));
}

#[test]
fn without_a_folder_the_study_of_the_same_command_goes_on() {
    let sandbox = Sandbox::with_pictures();
    let run = |options: &str| {
        let mut command = super::study(&sandbox, "-", options);
        command.env("RUST_LOG", "info");
        finish(command).succeeded()
    };
    run("--max-jobs 1");
    run("--max-jobs 2");
    assert_eq!(sandbox.list("runs"), ["tune-1"]);
    run("--max-jobs 1 --epochs 1");
    assert_eq!(sandbox.list("runs"), ["tune-1", "tune-2"]);
}
