use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::cli::{Cli, Command, RequestCommand};

const JOB: &str = "--image 123456789012.dkr.ecr.us-east-1.amazonaws.com/ic:1 --role arn:aws:iam::123456789012:role/R \
                   --channel train=s3://bkt/train/ --output s3://bkt/out";

/// The request that `sagemaker-burn request LINE` prints.
fn request(line: &str) -> Result<Value, String> {
    let arguments = ["sagemaker-burn", "request"]
        .into_iter()
        .chain(line.split_whitespace());
    let cli = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?;
    let Some(Command::Request(command)) = cli.command else {
        return Err("another command".into());
    };
    let made = match &command {
        RequestCommand::TrainingJob(args) => TrainingJob::of(args).map(|r| json!(r)),
        RequestCommand::TuningJob(args) => TuningJob::of(args).map(|r| json!(r)),
        RequestCommand::Model(args) => Model::of(args).map(|r| json!(r)),
        RequestCommand::EndpointConfig(args) => EndpointConfig::of(args).map(|r| json!(r)),
        RequestCommand::Endpoint(args) => Endpoint::of(args).map(|r| json!(r)),
        RequestCommand::TransformJob(args) => TransformJob::of(args).map(|r| json!(r)),
    };
    made.map_err(|error| error.to_string())
}

fn training(options: &str) -> Result<Value, String> {
    request(&format!("training-job {JOB} {options}"))
}

fn tuning(options: &str) -> Result<Value, String> {
    request(&format!("tuning-job {JOB} {options}"))
}

#[track_caller]
fn refused(made: Result<Value, String>, texts: &[&str]) {
    let error = made.unwrap_err();
    for text in texts {
        assert!(error.contains(text), "{text:?} in {error:?}");
    }
}

#[test]
fn a_tuning_job_has_the_form_that_sagemaker_documents() {
    let made = tuning(
        "--name dog-hpo -p epochs=3 --space batch-size=8,32;lr=0.001,0.003,0.01 --max-jobs 4 --parallel 2 \
         --early-stopping auto --random-seed 1 --max-runtime 3600",
    )
    .unwrap();
    let config = &made["HyperParameterTuningJobConfig"];
    assert_eq!(
        config,
        &json!({
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:accuracy"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "CategoricalParameterRanges": [
                    {"Name": "batch-size", "Values": ["8", "32"]},
                    {"Name": "learning-rate", "Values": ["0.001", "0.003", "0.01"]}
                ],
                "ContinuousParameterRanges": [],
                "IntegerParameterRanges": []
            },
            "TrainingJobEarlyStoppingType": "Auto",
            "RandomSeed": 1
        })
    );
    let definition = &made["TrainingJobDefinition"];
    assert_eq!(definition["StaticHyperParameters"], json!({"epochs": "3"}));
    let algorithm = &definition["AlgorithmSpecification"];
    assert_eq!(algorithm["TrainingInputMode"], "File");
    assert_eq!(
        algorithm["MetricDefinitions"],
        crate::sinks::metric_definitions(Some(5))
    );
    // The API has no place for these in a tuning job.
    for key in ["DebugHookConfig", "ProfilerConfig", "ContainerEntrypoint"] {
        assert!(!made.to_string().contains(key), "{key}");
    }
}

#[test]
fn each_strategy_has_its_rules() {
    let grid = "--strategy grid --space batch-size=8,32;lr=0.001,0.003,0.01";
    let limits = |made: &Value| made["HyperParameterTuningJobConfig"]["ResourceLimits"].clone();
    assert_eq!(limits(&tuning(grid).unwrap())["MaxNumberOfTrainingJobs"], 6);
    refused(
        tuning(&format!("{grid} --max-jobs 4")),
        &["--max-jobs 4", "all 6 combinations", "leave it out"],
    );
    refused(
        tuning("--strategy grid --space lr=0.001..0.1"),
        &["grid", "learning-rate=0.001..0.1", "lists"],
    );

    let band = "--strategy hyperband --max-jobs 9 --space lr=0.001..0.1:log";
    refused(tuning(band), &["hyperband", "-p epochs=N"]);
    let made = tuning(&format!("{band} -p epochs=9 --min-epochs 1")).unwrap();
    let config = &made["HyperParameterTuningJobConfig"];
    let expected = json!({"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}});
    assert_eq!(config["StrategyConfig"], expected);
    assert_eq!(config["TrainingJobEarlyStoppingType"], "Off");
    let fixed = &made["TrainingJobDefinition"]["StaticHyperParameters"];
    assert_eq!(fixed, &json!({"epochs": "9", "report-best": "false"}));
    refused(
        tuning(&format!("{band} -p epochs=9 --early-stopping auto")),
        &["--early-stopping auto", "hyperband"],
    );
    refused(
        tuning(&format!("{band} -p epochs=9 -p report-best=true")),
        &["report-best"],
    );
    refused(
        tuning(&format!("{band} -p epochs=9 --min-epochs 10")),
        &["--min-epochs 10", "1 to 9"],
    );
    refused(
        tuning("--strategy hyperband --max-jobs 9 --space epochs=1..9"),
        &["epochs", "hyperband"],
    );

    refused(
        tuning("--space batch-size=8,32"),
        &["--max-jobs", "missing"],
    );
    refused(
        tuning("--space batch-size=8,32 --max-jobs 751"),
        &["751", "1 to 750"],
    );
    refused(
        tuning("--space batch-size=8,32 --max-jobs 2 --parallel 3"),
        &["--parallel 3", "2 training jobs"],
    );
    refused(
        tuning("--space batch-size=8,32 --max-jobs 2 --max-epochs 3"),
        &["--max-epochs", "hyperband"],
    );
}

#[test]
fn a_tuning_job_checks_its_parts_together() {
    let space = "--space batch-size=8,32 --max-jobs 2";
    refused(
        tuning(&format!("{space} --name {}", "n".repeat(33))),
        &["33 characters", "32"],
    );
    refused(
        tuning(&format!("{space} -p batch_size=8")),
        &["batch-size", "-p gives it a value"],
    );
    refused(
        tuning(&format!("{space} --objective accuracy")),
        &["--objective accuracy", "validation:accuracy"],
    );
    refused(
        tuning("--space weights=none,auto --max-jobs 2 -p freeze=true"),
        &["--freeze", "--weights none"],
    );
    refused(
        tuning("--space top-k=3,5 --max-jobs 2"),
        &["top-k", "-p top-k=K"],
    );
    refused(tuning(&format!("{space} --patience 2")), &["--patience 2"]);
    let parents = (0..6)
        .map(|n| format!(" --warm-start p{n}"))
        .collect::<String>();
    refused(
        tuning(&format!("{space}{parents}")),
        &["--warm-start 6", "5 parents"],
    );
    refused(
        tuning("--strategy grid --space batch-size=8,32 --warm-start p"),
        &["grid", "bayesian and random"],
    );
    let made = tuning(&format!(
        "{space} --objective validation:loss --target 0.1 --patience 3 --until-converged --warm-start first"
    ))
    .unwrap();
    let config = &made["HyperParameterTuningJobConfig"];
    assert_eq!(
        config["HyperParameterTuningJobObjective"]["Type"],
        "Minimize"
    );
    assert_eq!(
        config["TuningJobCompletionCriteria"],
        json!({
            "TargetObjectiveMetricValue": 0.1,
            "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3},
            "ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}
        })
    );
    let parent = json!([{"HyperParameterTuningJobName": "first"}]);
    assert_eq!(
        made["WarmStartConfig"]["ParentHyperParameterTuningJobs"],
        parent
    );
}

#[test]
fn a_training_job_with_everything() {
    let made = training(
        "--name dogs -p lr=0.01 -p top-k=3 --spot --max-wait 3h --debugger --profiler=1000 --network-isolation \
         --subnet subnet-1 --security-group sg-1 --kms-key alias/k --env RUST_LOG=debug --tag team=a --retries 2",
    )
    .unwrap();
    assert_eq!(
        made["HyperParameters"],
        json!({"learning-rate": "0.01", "top-k": "3"})
    );
    let metrics = &made["AlgorithmSpecification"]["MetricDefinitions"];
    assert_eq!(metrics, &crate::sinks::metric_definitions(Some(3)));
    let stopping = json!({"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 10800});
    assert_eq!(made["StoppingCondition"], stopping);
    assert_eq!(
        made["CheckpointConfig"]["S3Uri"],
        "s3://bkt/out/dogs/checkpoints"
    );
    let hook = &made["DebugHookConfig"];
    assert_eq!(hook["S3OutputPath"], "s3://bkt/out");
    assert_eq!(
        hook["CollectionConfigurations"][0],
        json!({"CollectionName": "losses", "CollectionParameters": {"save_interval": "100"}})
    );
    assert_eq!(
        made["ProfilerConfig"]["ProfilingIntervalInMilliseconds"],
        1000
    );
    assert_eq!(made["EnableNetworkIsolation"], true);
    assert_eq!(
        made["VpcConfig"],
        json!({"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]})
    );
    assert_eq!(made["Tags"], json!([{"Key": "team", "Value": "a"}]));
    let plain = training("").unwrap();
    for key in [
        "CheckpointConfig",
        "DebugHookConfig",
        "ProfilerConfig",
        "VpcConfig",
        "Tags",
    ] {
        assert!(plain.get(key).is_none(), "{key}");
    }
}

#[test]
fn what_a_training_job_refuses() {
    refused(
        training("-p bach-size=8"),
        &["bach-size", "did you mean 'batch-size'"],
    );
    refused(
        training("-p batch-size=many"),
        &["--batch-size", "many", "whole number"],
    );
    refused(
        training("-p weights=none -p freeze=true"),
        &["--freeze true", "--weights none"],
    );
    refused(
        training(&format!("-p classes={}", "a,".repeat(1300))),
        &["classes", "2600", "2500"],
    );
    refused(
        training("--spot --max-wait 1h"),
        &["--max-wait 3600 seconds", "7200", "raise it"],
    );
    refused(training("--max-wait 1h"), &["--spot"]);
    refused(
        training("--spot --keep-alive 1h"),
        &["--keep-alive", "--spot"],
    );
    refused(training("--profiler=250"), &["--profiler 250", "500"]);
    refused(training("--subnet subnet-1"), &["--security-group"]);
    refused(training("--channel train=s3://bkt/x"), &["train", "twice"]);
    refused(training("--instance-count 0"), &["--instance-count 0"]);
    refused(
        training("--instance-type g4dn.xlarge"),
        &["try ml.g4dn.xlarge"],
    );
    refused(training("--tag aws:x=1"), &["aws:x", "Amazon's own"]);
    refused(request("training-job --image i"), &["--role"]);
    // A channel of weights makes a frozen backbone possible.
    assert!(training("--channel weights=s3://bkt/w -p freeze=true").is_ok());
}

#[test]
fn models_endpoints_and_transform_jobs() {
    let model = "model --name m --image 123456789012.dkr.ecr.us-east-1.amazonaws.com/ic:1 --role arn:aws:iam::123456789012:role/R";
    let made = request(&format!(
        "{model} --model-data s3://bkt/out/dogs/output/model.tar.gz"
    ))
    .unwrap();
    assert_eq!(made["PrimaryContainer"]["Mode"], "SingleModel");
    let made = request(&format!(
        "{model} --model-data s3://bkt/models --multi-model"
    ))
    .unwrap();
    assert_eq!(made["PrimaryContainer"]["ModelDataUrl"], "s3://bkt/models/");
    assert_eq!(made["PrimaryContainer"]["Mode"], "MultiModel");
    refused(
        request(&format!("{model} --model-data s3://bkt/models")),
        &["--multi-model"],
    );

    let made = request("endpoint-config --name c --model m --serverless --memory-mb 3072").unwrap();
    let variant = &made["ProductionVariants"][0];
    assert_eq!(
        variant["ServerlessConfig"],
        json!({"MemorySizeInMB": 3072, "MaxConcurrency": 5})
    );
    assert!(variant.get("InstanceType").is_none());
    refused(
        request("endpoint-config --model m --serverless --memory-mb 3000"),
        &["--memory-mb 3000", "try 3072"],
    );
    refused(
        request("endpoint-config --model m --serverless --capture s3://bkt/c"),
        &["--capture"],
    );
    let made =
        request("endpoint-config --model m --capture s3://bkt/c --capture-percent 20").unwrap();
    assert_eq!(made["ProductionVariants"][0]["InstanceType"], "ml.m5.large");
    assert_eq!(made["DataCaptureConfig"]["InitialSamplingPercentage"], 20);

    let made = request("endpoint --name e --config c --tag a=b").unwrap();
    assert_eq!(made["EndpointConfigName"], "c");
    let transform = "transform-job --model m --input s3://bkt/photos --output s3://bkt/answers";
    let made = request(transform).unwrap();
    assert_eq!(made["BatchStrategy"], "SingleRecord");
    refused(
        request(&format!(
            "{transform} --max-payload-mb 60 --max-concurrent 2"
        )),
        &["--max-concurrent 2", "100 at most"],
    );
}
