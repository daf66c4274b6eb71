//! What the debugger writes: the tensors that there really were, and nothing that changes the training.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use sagemaker_burn::debugger::{ModeKey, StepRecord, Trial, Values};

use crate::main_job::{
    run::{Sandbox, finish},
    running::Running,
};

/// A configuration file in a sandbox, and the option that names it.
pub fn configured(sandbox: &Sandbox, json: &str) -> String {
    std::fs::write(sandbox.path("hook.json"), json).unwrap();
    "--debugger hook.json --freeze false".to_string()
}

const EVERYTHING: &str = r#"{"HookParameters":{"save_interval":"1","save_all":"True"}}"#;
const WEIGHTS: &str = r#"{"HookParameters":{"save_interval":"1"},
    "CollectionConfigurations":[{"CollectionName":"weights"},{"CollectionName":"biases"},{"CollectionName":"gradients"}]}"#;

fn steps(sandbox: &Sandbox, run: &str) -> Vec<StepRecord> {
    let trial = Trial::open(&sandbox.path(run).join("debug-output")).unwrap();
    trial.steps().map(Result::unwrap).collect()
}

fn floats(step: &StepRecord) -> BTreeMap<&str, Vec<f32>> {
    let each = step
        .entries
        .iter()
        .filter_map(|entry| match &entry.value.as_ref()?.values {
            Values::F32(values) => Some((entry.name.as_str(), values.clone())),
            _ => None,
        });
    each.collect()
}

#[test]
fn saved_weights_are_bit_equal_to_the_checkpoint() {
    let sandbox = Sandbox::with_pictures();
    let options = configured(&sandbox, WEIGHTS);
    sandbox
        .train("run", &format!("{options} --epochs 1"))
        .succeeded();
    let steps = steps(&sandbox, "run");
    // 48 images in batches of 8, then 18 of validation: those see the weights that the epoch ended with.
    let modes: Vec<ModeKey> = steps.iter().map(|step| step.mode).collect();
    assert_eq!(
        modes,
        [[ModeKey::Train; 6].as_slice(), &[ModeKey::Eval; 3]].concat()
    );
    let last = floats(steps.last().unwrap());
    let bytes = sandbox.read("run/weights/best.safetensors");
    let checkpoint = SafeTensors::deserialize(&bytes).unwrap();
    let mut compared = 0;
    for (name, tensor) in checkpoint.tensors() {
        let Some(saved) = last.get(format!("ResNet_{name}").as_str()) else {
            assert!(name.contains("running_"), "{name} is not among the saved");
            continue;
        };
        let saved: Vec<u8> = saved.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert!(saved == tensor.data(), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 62);
    // A gradient for each weight while training, none while validating.
    let gradients = |step: &StepRecord| {
        step.entries
            .iter()
            .filter(|e| e.name.starts_with("gradient/"))
            .count()
    };
    assert_eq!((gradients(&steps[0]), gradients(&steps[8])), (62, 0));
}

#[test]
fn a_saved_gradient_is_the_step_that_plain_descent_makes() {
    let sandbox = Sandbox::with_pictures();
    let options = configured(&sandbox, WEIGHTS);
    let plain = "--epochs 1 --optimizer sgd --momentum 0 --weight-decay 0 --lr-scheduler constant --warmup-epochs 0 --learning-rate 0.125";
    sandbox
        .train("run", &format!("{options} {plain}"))
        .succeeded();
    let steps = steps(&sandbox, "run");
    let (before, after) = (floats(&steps[0]), floats(&steps[1]));
    for name in [
        "ResNet_conv1.weight",
        "ResNet_fc.weight",
        "ResNet_layer4.1.bn2.bias",
    ] {
        let gradient = &before[format!("gradient/{name}").as_str()];
        let mut moved = false;
        for ((w, g), next) in before[name].iter().zip(gradient).zip(&after[name]) {
            assert!(
                (w - 0.125 * g - next).abs() <= 1e-6 * (1.0 + w.abs()),
                "{name}: {w} {g} {next}"
            );
            moved |= w != next;
        }
        assert!(moved, "{name} did not move");
    }
}

#[test]
fn looking_at_everything_changes_nothing() {
    let sandbox = Sandbox::with_pictures();
    let options = configured(&sandbox, EVERYTHING);
    sandbox
        .train("seen", &format!("{options} --rules all"))
        .succeeded();
    sandbox
        .train("unseen", "--freeze false --rules none")
        .succeeded();
    let weights = |run: &str| sandbox.read(&format!("{run}/model/model.safetensors"));
    assert!(weights("seen") == weights("unseen"));
    assert!(
        !sandbox.path("unseen/debug-output").exists()
            && !sandbox.path("unseen/rules.json").exists()
    );
    let steps = steps(&sandbox, "seen");
    for name in [
        "ResNet_input_0",
        "conv1_output_0",
        "layer2.0.downsample.1_output_0",
        "layer4.1.relu_output_1",
        "fc_output_0",
        "CrossEntropyLoss_output_0",
        "labels",
        "predictions",
        "scalar/learning_rate",
        "gradient/ResNet_fc.bias",
    ] {
        assert!(steps[0].entry(name).is_some(), "{name}");
    }
    let shape = |name: &str| {
        steps[0]
            .entry(name)
            .unwrap()
            .value
            .as_ref()
            .unwrap()
            .shape
            .clone()
    };
    assert_eq!(shape("ResNet_input_0"), [8, 3, 32, 32]);
    assert_eq!(shape("layer1.0.relu_output_0"), [8, 4, 8, 8]);
    assert_eq!(shape("CrossEntropyLoss_output_0"), [0; 0]);
}

#[test]
fn reductions_shapes_and_intervals_are_as_configured() {
    let sandbox = Sandbox::with_pictures();
    let options = configured(
        &sandbox,
        r#"{"HookParameters":{"train.save_interval":"4","eval.save_interval":2},
            "CollectionConfigurations":[
              {"CollectionName":"weights","CollectionParameters":{"reductions":"abs_mean,l2_norm","save_shape":"true"}},
              {"CollectionName":"mine","CollectionParameters":{"include_regex":"layer1.*relu_(?!input)","save_steps":"1","start_step":"3","end_step":"4"}}]}"#,
    );
    sandbox.train("run", &options).succeeded();
    let steps = steps(&sandbox, "run");
    let saved: Vec<(ModeKey, usize, usize)> = steps
        .iter()
        .map(|s| (s.mode, s.mode_step, s.global_step))
        .collect();
    use ModeKey::{Eval, Train};
    // Six training and three validation steps an epoch, counted through; step 1 and 3 because of `mine`.
    let expected = [
        (Train, 0, 0),
        (Train, 1, 1),
        (Train, 4, 4),
        (Eval, 0, 6),
        (Eval, 1, 7),
        (Eval, 2, 8),
        (Train, 8, 11),
        (Eval, 4, 16),
    ];
    let at = |index: usize, name: &str| steps[index].entry(name);
    assert_eq!(
        saved, expected,
        "start_step and end_step bound the interval"
    );
    let weight = at(0, "ResNet_conv1.weight").unwrap();
    assert!(weight.value.is_none());
    assert_eq!(weight.shape.as_deref(), Some([4, 3, 7, 7].as_slice()));
    assert_eq!(weight.reductions.len(), 2);
    assert!(weight.reductions.iter().all(|(_, value)| *value > 0.0));
    assert!(at(1, "layer1.1.relu_output_0").is_some() && at(1, "ResNet_conv1.weight").is_none());
}

#[test]
fn a_frozen_backbone_is_saved_and_has_gradients_for_its_head_alone() {
    let sandbox = Sandbox::with_pictures();
    configured(&sandbox, WEIGHTS);
    for (run, augmentation) in [("features", "none"), ("images", "crop")] {
        let options =
            format!("--debugger hook.json --freeze true --augmentation {augmentation} --epochs 1");
        sandbox.train(run, &options).succeeded();
        let steps = steps(&sandbox, run);
        let names = |prefix: &str| -> Vec<&str> {
            let names = steps[0].entries.iter().map(|entry| entry.name.as_str());
            names.filter(|name| name.starts_with(prefix)).collect()
        };
        assert_eq!(
            names("gradient/"),
            ["gradient/ResNet_fc.weight", "gradient/ResNet_fc.bias"]
        );
        assert_eq!(names("ResNet_").len(), 62);
    }
}

#[test]
fn a_killed_run_is_readable_and_goes_on_where_it_was() {
    let sandbox = Sandbox::with_pictures();
    let options = format!(
        "{} --epochs 60 --checkpoint-interval 3",
        configured(&sandbox, WEIGHTS)
    );
    let mut run = Running::start(sandbox.training("run", &options));
    assert!(run.wait_for("epoch=2"));
    run.signal("KILL");
    run.end();
    let before = steps(&sandbox, "run");
    assert!(
        before.len() >= 12
            && !sandbox
                .path("run/debug-output/training_job_end.ts")
                .exists()
    );
    let resumed = ["--resume", "run", "--epochs", "5"];
    finish(sandbox.command(&resumed)).succeeded();
    let after = steps(&sandbox, "run");
    let numbers: Vec<usize> = after.iter().map(|step| step.global_step).collect();
    let last = numbers.last().copied().unwrap();
    assert_eq!(numbers, (0..=last).collect::<Vec<_>>());
    assert!(
        sandbox
            .path("run/debug-output/training_job_end.ts")
            .exists()
    );
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(old.entries, new.entries, "step {}", old.global_step);
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_named_before_training() {
    let sandbox = Sandbox::with_pictures();
    for (json, parts) in [
        ("{", vec!["hook.json"]),
        (
            r#"{"HookParameters":{"save_interval":"never"}}"#,
            vec!["hook.json", "save_interval", "never"],
        ),
    ] {
        let options = configured(&sandbox, json);
        sandbox.train("run", &options).failed(1, &parts);
        assert!(
            !sandbox.path("run/weights").exists(),
            "a failed start leaves nothing"
        );
    }
    sandbox
        .train("run", "--debugger absent.json")
        .failed(1, &["absent.json"]);
    sandbox
        .train("run", "--rules Overfitting")
        .failed(2, &["Overfitting", "Overfit"]);
}
