//! `request`: every request that it prints is accepted by botocore, by the service's API model and, through the AWS CLI and boto3, by
//! a `moto_server` on this machine; what it refuses, it refuses in a way that helps.
//!
//! botocore looks at types and required members, the API model (`tests/journey/stand_in/shapes.py`) at lengths, patterns and enumerations
//! as well. moto looks at hardly anything but names that are there already, so it takes a grid with too few jobs, a tuning job of 33
//! letters, or a model without data; it overwrites metric definitions and runs nothing. The rules of the strategies are in the unit
//! tests of `src/sagemaker/request`.

use std::fs;

use crate::journey::cloud::source;
use crate::main_job::run::{Sandbox, finish, python_with};

const JOB: &str = "--image 123456789012.dkr.ecr.us-east-1.amazonaws.com/ic:1 --role arn:aws:iam::123456789012:role/R \
                   --channel train=s3://bkt/train/ --channel validation=s3://bkt/valid --output s3://bkt/out";
const EVERYTHING: &str = "-p epochs=3 -p classes=a,b --spot --max-wait 3h --checkpoint s3://bkt/checkpoints --network-isolation \
                          --subnet subnet-0a1b --security-group sg-0a1b --kms-key alias/k --volume-kms-key alias/k \
                          --env RUST_LOG=debug --tag team=dogs --retries 2 --input-mode fastfile --instance-type ml.g4dn.xlarge";

/// Operations of the API and what to type for them, in an order in which each finds what it refers to.
fn requests() -> Vec<(&'static str, String)> {
    let space = "--space batch-size=8,32;learning-rate=0.0001..0.1:log;epochs=2..9;label-smoothing=0..0.3:reverse-log";
    let lists = "--space batch-size=8,32;learning-rate=0.001,0.003,0.01";
    vec![
        ("CreateTrainingJob", format!("training-job {JOB}")),
        ("CreateTrainingJob", format!("training-job --name all {JOB} {EVERYTHING} --debugger --profiler=1000")),
        ("CreateTrainingJob", format!("training-job --name warm {JOB} --keep-alive 30m --debugger=losses --sharded --input-mode pipe")),
        ("CreateHyperParameterTuningJob", format!("tuning-job {JOB} {lists} --max-jobs 4 --parallel 2 --early-stopping auto --random-seed 1")),
        ("CreateHyperParameterTuningJob", format!("tuning-job --name grid {JOB} {lists} --strategy grid")),
        ("CreateHyperParameterTuningJob", format!("tuning-job --name random {JOB} {space} --strategy random --max-jobs 20 --objective validation:loss")),
        ("CreateHyperParameterTuningJob", format!("tuning-job --name band {JOB} -p epochs=9 --space lr=0.001..0.1 --strategy hyperband --max-jobs 20 --min-epochs 1")),
        (
            "CreateHyperParameterTuningJob",
            format!("tuning-job --name everything {JOB} {EVERYTHING} --space lr=0.001..0.1 --max-jobs 20 --target 0.9 --patience 3 \
                     --until-converged --max-total-runtime 10h --warm-start grid --warm-start-type transfer"),
        ),
        ("CreateModel", "model --name m --image 123456789012.dkr.ecr.us-east-1.amazonaws.com/ic:1 --role arn:aws:iam::123456789012:role/R --model-data s3://bkt/out/model.tar.gz --env A=b".into()),
        ("CreateModel", "model --image 123456789012.dkr.ecr.us-east-1.amazonaws.com/ic:1 --role arn:aws:iam::123456789012:role/R --model-data s3://bkt/models --multi-model --tag a=b".into()),
        ("CreateEndpointConfig", "endpoint-config --name c --model m --capture s3://bkt/capture --capture-percent 10 --startup-timeout 5m".into()),
        ("CreateEndpointConfig", "endpoint-config --model m --serverless --memory-mb 3072 --max-concurrency 3".into()),
        ("CreateEndpoint", "endpoint --name e --config c --tag a=b".into()),
        ("CreateTransformJob", "transform-job --model m --input s3://bkt/photos --output s3://bkt/answers --max-payload-mb 10 --max-concurrent 4".into()),
        ("CreateTransformJob", "transform-job --name lines --model m --input s3://bkt/rows --output s3://bkt/answers --content-type text/csv --accept text/csv --split line".into()),
    ]
}

#[test]
fn every_request_is_accepted() {
    let Some(python) = python_with(&["boto3", "moto.server"]) else {
        return;
    };
    let sandbox = Sandbox::new();
    let mut arguments = Vec::new();
    for (at, (operation, line)) in requests().iter().enumerate() {
        let words: Vec<&str> = ["request"]
            .into_iter()
            .chain(line.split_whitespace())
            .collect();
        let file = sandbox.path(&format!("{at}.json"));
        fs::write(&file, sandbox.run(&words).succeeded().stdout).unwrap();
        arguments.push(format!("{operation}={}", file.display()));
    }
    let mut command = std::process::Command::new(python);
    command
        .arg(source("tests/requests/accepted.py"))
        .args(&arguments)
        .env("HOME", sandbox.root());
    let said = finish(command).succeeded().stdout;
    let accepted = said
        .lines()
        .filter(|line| line.starts_with("accepted "))
        .count();
    assert_eq!(accepted, arguments.len(), "{said}");
    let skipped = said.lines().filter(|line| line.starts_with("skipped"));
    skipped.for_each(|line| println!("{line}"));
}

#[test]
fn what_is_refused_says_how_to_put_it_right() {
    let sandbox = Sandbox::new();
    let words = |line: &str| {
        let line = format!("request {line}");
        sandbox.run(&line.split_whitespace().collect::<Vec<_>>())
    };
    let long = "n".repeat(33);
    let tuning = format!("tuning-job {JOB} --space batch-size=8,32;lr=0.001,0.003,0.01");
    for (line, texts) in [
        (
            format!("{tuning} --strategy grid --max-jobs 4"),
            &["--max-jobs 4", "6 combinations"][..],
        ),
        (
            format!("{tuning} --max-jobs 4 --name {long}"),
            &["33 characters", "takes 32"],
        ),
        (
            format!("{tuning} --max-jobs 4 -p bach-size=3"),
            &["did you mean 'batch-size'?"],
        ),
        (
            "endpoint --config my_config".into(),
            &["--config my_config", "try my-config"],
        ),
        (format!("training-job {JOB} --max-wait 3h"), &["--spot"]),
    ] {
        let ended = words(&line);
        let code = ended.code.unwrap();
        assert!(ended.stdout.is_empty(), "{ended:#?}");
        ended.failed(code, texts);
        assert_ne!(code, 0);
    }
}
