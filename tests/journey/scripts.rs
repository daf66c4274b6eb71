//! T7 and T12: the programs in `scripts/`, one after the other.

use std::{collections::BTreeMap, fs};

use regex::Regex;
use serde_json::Value;

use super::cloud::{Cloud, QUICK, ROLE, source, uploaded};
use crate::main_job::run::{Sandbox, finish};

/// The last value of the objective in the log of a job, found as the printed definition says.
fn score(cloud: &Cloud, definition: &Regex, job: &str) -> f64 {
    let log = fs::read_to_string(cloud.job(job).join("log")).unwrap();
    let values = definition.captures_iter(&log);
    values
        .map(|found| found[1].parse().unwrap())
        .last()
        .unwrap()
}

/// The expression of the binary for a metric.
fn definition(sandbox: &Sandbox, metric: &str) -> Regex {
    let shown = sandbox.run(&["metric-definitions"]).succeeded().stdout;
    let definitions: Vec<BTreeMap<String, String>> = serde_json::from_str(&shown).unwrap();
    let found = definitions
        .iter()
        .find(|definition| definition["Name"] == metric);
    Regex::new(&found.unwrap()["Regex"]).unwrap()
}

fn hyperparameters(cloud: &Cloud, job: &str) -> BTreeMap<String, String> {
    let file = cloud.job(job).join("input/config/hyperparameters.json");
    let all: BTreeMap<String, String> = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    all.into_iter()
        .filter(|(name, _)| !name.starts_with('_'))
        .collect()
}

/// The training jobs of a tuning job.
pub fn children(cloud: &Cloud, tuning_job: &str) -> Vec<String> {
    let line = "sagemaker list-training-jobs-for-hyper-parameter-tuning-job --output json --hyper-parameter-tuning-job-name";
    let words: Vec<&str> = line
        .split(' ')
        .chain([
            tuning_job,
            "--query",
            "TrainingJobSummaries[].TrainingJobName",
        ])
        .collect();
    serde_json::from_str(&cloud.aws(&words).succeeded().stdout).unwrap()
}

/// Makes sure that a job is the best one of a tuning job, by its log and the logs of the others; returns the scores of all.
pub fn is_best(cloud: &Cloud, sandbox: &Sandbox, tuning_job: &str, best: &str) -> Vec<f64> {
    let definition = definition(sandbox, "validation:accuracy");
    let jobs = children(cloud, tuning_job);
    assert_eq!(jobs.len(), 4, "{jobs:?}");
    let scores: Vec<f64> = jobs
        .iter()
        .map(|job| score(cloud, &definition, job))
        .collect();
    let most = scores.iter().copied().fold(0.0, f64::max);
    assert_eq!(
        score(cloud, &definition, best),
        most,
        "{best} of {jobs:?}: {scores:?}"
    );
    scores
}

#[test]
fn from_photos_to_an_endpoint_and_back() {
    let Some(cloud) = Cloud::shared() else { return };
    let sandbox = uploaded(&cloud, "dogs");
    let note = |name: &str| sandbox.text(&format!("journey/{name}")).trim().to_owned();
    let pushed = ["create-repository", "pushed:1"];
    let made = cloud.step(&sandbox, &pushed).succeeded();
    let image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/pushed:1";
    assert_eq!(note("image"), image);
    assert!(
        made.stderr.contains("repository pushed: by the gigabyte"),
        "{made:#?}"
    );

    let mut line = vec![
        "tune",
        "--role",
        ROLE,
        "--parallel",
        "2",
        "--random-seed",
        "1",
    ];
    line.extend(QUICK);
    let tuned = cloud.step(&sandbox, &line).succeeded();
    assert!(tuned.stderr.contains("4 of 4 done"), "{tuned:#?}");
    let best = note("best-training-job");
    let scores = is_best(&cloud, &sandbox, &note("tuning-job"), &best);
    let value = scores.iter().copied().fold(0.0, f64::max);
    // Scores differ, or any job could be called the best.
    assert!(scores.iter().any(|score| *score < value), "{scores:?}");
    assert!(
        tuned
            .stderr
            .contains(&format!("best: {best} with {value:?}")),
        "{tuned:#?}"
    );
    let found: BTreeMap<String, String> =
        serde_json::from_slice(&sandbox.read("journey/best-hyperparameters.json")).unwrap();
    assert_eq!(found, hyperparameters(&cloud, &best));
    assert_eq!(
        tuned.stdout.matches("Completed").count(),
        4,
        "{}",
        tuned.stdout
    );
    // No training job of a tuning job has a debugger.
    for job in children(&cloud, &note("tuning-job")) {
        assert!(
            !cloud
                .job(&job)
                .join("input/config/debughookconfig.json")
                .exists()
        );
    }

    let trained = cloud.step(&sandbox, &["train-best"]).succeeded();
    let job = note("training-job");
    assert!(
        trained.stdout.contains("validation:accuracy"),
        "{trained:#?}"
    );
    assert_eq!(hyperparameters(&cloud, &job), found);
    for file in ["debughookconfig.json", "profilerconfig.json"] {
        assert!(
            cloud.job(&job).join("input/config").join(file).is_file(),
            "{file}"
        );
    }

    let deployed = cloud.step(&sandbox, &["deploy"]).succeeded();
    let endpoint = note("endpoint");
    let advice = format!("aws sagemaker delete-endpoint --endpoint-name {endpoint}");
    assert!(deployed.stderr.contains(&advice), "{deployed:#?}");
    let answer = cloud
        .step(
            &sandbox,
            &["query", "data/test/wild cat/0.jpg", "data/test/2.bee/0.jpg"],
        )
        .succeeded();
    assert_eq!(answer.stdout.matches(" %  ").count(), 6, "{answer:#?}");
    assert!(answer.stdout.contains("wild cat\n"), "{answer:#?}");
    assert!(answer.stderr.contains(&advice), "{answer:#?}");
    invoked(&cloud, &sandbox, &endpoint);

    let refused = cloud
        .step(&sandbox, &["delete-everything"])
        .failed(1, &["--yes"]);
    assert!(refused.stderr.contains("This costs money"), "{refused:#?}");
    let deleted = cloud
        .step(&sandbox, &["delete-everything", "--yes"])
        .succeeded();
    assert!(!deleted.stderr.contains("This costs money"), "{deleted:#?}");
    assert_eq!(note("made"), "");
    let left = cloud.aws(&[
        "sagemaker",
        "describe-endpoint",
        "--endpoint-name",
        &endpoint,
    ]);
    left.failed(left_over(&cloud), &["Could not find"]);
    let repository = [
        "ecr",
        "describe-repositories",
        "--repository-names",
        "pushed",
    ];
    let missing = cloud.aws(&repository);
    missing.failed(left_over(&cloud), &["RepositoryNotFoundException"]);
    let objects = cloud.aws(&["s3", "ls", "--recursive", "s3://dogs/journey"]);
    assert_eq!(objects.stdout, "");
}

/// The code with which this version of the AWS CLI ends at an error of the service.
fn left_over(cloud: &Cloud) -> i32 {
    let ended = cloud.aws(&["sagemaker", "describe-model", "--model-name", "none"]);
    ended.code.filter(|code| *code != 0).unwrap()
}

/// T12: boto3 against the endpoint.
fn invoked(cloud: &Cloud, sandbox: &Sandbox, endpoint: &str) {
    let command = cloud.python(sandbox, &["numpy"], "invoke.py");
    let Some(mut command) = command else { return };
    command.args([endpoint, "data/test/2.bee/0.jpg"]);
    let said = finish(command).succeeded().stdout;
    assert_eq!(said.trim(), "all answers are right");
}

#[test]
fn a_dry_run_needs_neither_an_account_nor_earlier_steps() {
    let Some(cloud) = Cloud::shared() else { return };
    let sandbox = Sandbox::with_pictures();
    for line in [
        &["create-repository", "dogs:1"][..],
        &["upload-data", "data", "s3://dogs/journey"],
        &["tune", "--strategy", "grid"],
        &["show-tuning"],
        &["train-best"],
        &["deploy", "--serverless"],
        &["query", "data/test/2.bee/0.jpg"],
        &["delete-everything"],
    ] {
        let mut command = cloud.script(&sandbox, line);
        // Nobody answers here.
        command
            .arg("--dry-run")
            .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
        let ended = finish(command).succeeded();
        let shown = format!("{}{}", ended.stdout, ended.stderr);
        let expected = if line[0] == "delete-everything" {
            "nothing to delete"
        } else {
            "+ "
        };
        assert!(shown.contains(expected), "{ended:#?}");
        assert!(!sandbox.path("journey").exists(), "{line:?}");
        let help = cloud.step(&sandbox, &[line[0], "--help"]).succeeded();
        assert!(help.stdout.contains("Usage: scripts/"), "{help:#?}");
        assert!(
            help.stdout.contains("--dry-run") && !help.stdout.contains("source"),
            "{help:#?}"
        );
    }
}

#[test]
fn the_programs_are_clean_by_shellcheck() {
    let found = std::process::Command::new("shellcheck")
        .arg("--version")
        .output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no shellcheck");
        return;
    }
    let names = "create-repository upload-data tune show-tuning train-best deploy query delete-everything journey.bash";
    let mut command = std::process::Command::new("shellcheck");
    command.arg("-x").current_dir(source(""));
    command.args(names.split(' ').map(|name| format!("scripts/{name}")));
    finish(command).succeeded();
}

#[test]
fn the_notebook_is_committed_without_outputs() {
    let text = fs::read_to_string(source("scripts/train_and_deploy.ipynb")).unwrap();
    let notebook: Value = serde_json::from_str(&text).unwrap();
    for cell in notebook["cells"].as_array().unwrap() {
        assert!(
            cell.get("outputs")
                .is_none_or(|outputs| outputs == &serde_json::json!([]))
        );
    }
}
