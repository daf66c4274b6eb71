//! Amazon's own reader opens what the debugger writes. Needs Python with smdebug 1.0.34, which pins old libraries and so lives in an
//! environment of its own: `SAGEMAKER_BURN_SMDEBUG_PYTHON` names its interpreter.

use std::process::Command;

use serde_json::Value;

use super::files::configured;
use crate::main_job::run::{Sandbox, finish};

/// What the reader sees: modes and steps, collections, and for the last validation step the sum of each weight.
const PROGRAM: &str = r#"
import json, sys
out, sys.stdout = sys.stdout, sys.stderr
from smdebug import modes
from smdebug.trials import create_trial
trial = create_trial(sys.argv[1])
seen = {
    "train": trial.steps(mode=modes.TRAIN),
    "eval": trial.steps(mode=modes.EVAL),
    "complete": trial.loaded_all_steps,
    "collections": {name: len(trial.tensor_names(collection=name)) for name in trial.collections()},
    "loss": [float(trial.tensor("CrossEntropyLoss_output_0").value(step, mode=modes.TRAIN)) for step in trial.steps(mode=modes.TRAIN)],
    "shape": list(trial.tensor("ResNet_fc.weight").value(0, mode=modes.TRAIN).shape),
    "reduced": float(trial.tensor("layer1.0.relu_output_0").reduction_value(0, "mean", mode=modes.TRAIN, abs=True)),
}
json.dump(seen, out)
"#;

#[test]
fn amazons_reader_opens_a_real_run() {
    let Ok(python) = std::env::var("SAGEMAKER_BURN_SMDEBUG_PYTHON") else {
        println!("skipped: SAGEMAKER_BURN_SMDEBUG_PYTHON names no Python with smdebug");
        return;
    };
    let sandbox = Sandbox::with_pictures();
    let hook = r#"{"HookParameters":{"save_interval":"3"},"CollectionConfigurations":[
            {"CollectionName":"weights"},{"CollectionName":"gradients"},
            {"CollectionName":"relu_output","CollectionParameters":{"reductions":"abs_mean"}}]}"#;
    sandbox
        .train("run", &configured(&sandbox, hook))
        .succeeded();
    let mut reader = Command::new(python);
    reader
        .args(["-c", PROGRAM])
        .arg(sandbox.path("run/debug-output"));
    let seen: Value = serde_json::from_str(&finish(reader).succeeded().stdout).unwrap();
    assert_eq!(seen["train"], serde_json::json!([0, 3, 6, 9]));
    assert_eq!(seen["eval"], serde_json::json!([0, 3]));
    assert_eq!(seen["complete"], true);
    assert_eq!(seen["collections"]["weights"], 41);
    assert_eq!(seen["collections"]["gradients"], 62);
    assert_eq!(seen["shape"], serde_json::json!([3, 32]));
    assert!(seen["reduced"].as_f64().unwrap() > 0.0);
    assert!(
        seen["loss"]
            .as_array()
            .unwrap()
            .iter()
            .all(|loss| loss.as_f64().unwrap() > 0.0)
    );
}
