//! The notebook, from its first cell to its last: version 2 of the SageMaker SDK with `Estimator`, `HyperparameterTuner`, `Predictor`.

use serde_json::Value;

use super::cloud::{Cloud, IMAGE, ROLE, source};
use super::scripts::is_best;
use crate::main_job::run::{Sandbox, finish, narrow_resnet18};

/// The SDK tells Amazon of its use if it is not told otherwise, and a test has no network.
const NO_TELEMETRY: &str = "SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
";

#[test]
fn from_photos_to_an_endpoint_and_back_in_python() {
    let Some(cloud) = Cloud::shared() else { return };
    let sandbox = Sandbox::with_pictures();
    let modules = ["nbclient", "ipykernel", "PIL", "sagemaker.estimator"];
    let command = cloud.python(&sandbox, &modules, "run_notebook.py");
    let Some(mut command) = command else { return };
    std::fs::write(sandbox.path("config.yaml"), NO_TELEMETRY).unwrap();
    command
        .arg(source("scripts/train_and_deploy.ipynb"))
        .arg("result.json")
        .env(
            "SAGEMAKER_USER_CONFIG_OVERRIDE",
            sandbox.path("config.yaml"),
        )
        .env("IMAGE_URI", IMAGE)
        .env("SAGEMAKER_ROLE_ARN", ROLE)
        .env("DATA_DIR", "data")
        .env("WEIGHTS", narrow_resnet18())
        // The SDK asks Amazon itself, whatever the address of the stand-in, for the account in the name of its own bucket.
        .env("S3_BUCKET", "notebook");
    finish(command).succeeded();
    let result = sandbox.json("result.json");
    let text = |key: &str| result[key].as_str().unwrap();
    is_best(&cloud, &sandbox, text("tuning_job"), text("best_job"));

    let config = cloud.job(text("training_job")).join("input/config");
    assert!(config.join("debughookconfig.json").is_file());
    let given: Value =
        serde_json::from_slice(&std::fs::read(config.join("hyperparameters.json")).unwrap())
            .unwrap();
    assert_eq!(given, result["best"]);
    // The expressions that are written out in the notebook are those of the binary.
    let line = "sagemaker describe-training-job --query AlgorithmSpecification.MetricDefinitions --training-job-name";
    let words: Vec<&str> = line.split(' ').chain([text("training_job")]).collect();
    let written: Vec<Value> = serde_json::from_str(&cloud.aws(&words).succeeded().stdout).unwrap();
    let printed = sandbox.run(&["metric-definitions"]).succeeded().stdout;
    let printed: Vec<Value> = serde_json::from_str(&printed).unwrap();
    assert!(
        written.len() >= 4
            && written
                .iter()
                .all(|definition| printed.contains(definition))
    );
    // The same photo as pixels, as a file, and with names.
    let numbers = |value: &Value| -> Vec<f64> {
        let list = value.as_array().unwrap().iter();
        list.map(|number| number.as_f64().unwrap()).collect()
    };
    let pixels = numbers(&result["probabilities"][0]);
    let file = numbers(&result["from_file"]);
    assert_eq!((pixels.len(), file.len()), (3, 3));
    // Pillow decodes a JPEG a little differently.
    let apart = pixels
        .iter()
        .zip(&file)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(apart < 0.02, "{pixels:?} {file:?}");
    let top = result["top"][0]["probability"].as_f64().unwrap();
    let most = file.iter().copied().fold(0.0, f64::max);
    assert!((top - most).abs() < 1e-5, "{top} {file:?}");
    let endpoint = [
        "sagemaker",
        "describe-endpoint",
        "--endpoint-name",
        text("endpoint"),
    ];
    assert_ne!(
        cloud.aws(&endpoint).code,
        Some(0),
        "the endpoint is still there"
    );
}
