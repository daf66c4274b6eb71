//! Ctrl-C and SIGTERM: exit codes, and what is kept.

use super::{run::Sandbox, running::Running};

const ENDLESS: &str = "--epochs 100000 --freeze false";

#[test]
fn sigterm_leaves_a_model_and_success() {
    let sandbox = Sandbox::with_pictures();
    let mut running = Running::start(sandbox.training("run", ENDLESS));
    assert!(running.wait_for("epoch=3"));
    running.signal("TERM");
    let ended = running.end().succeeded();
    assert!(
        ended.stderr.contains("stopped by SIGTERM"),
        "{}",
        ended.stderr
    );

    // SageMaker takes the last value printed as the score.
    let printed = |line: &str| {
        let cell = line
            .split(' ')
            .find_map(|cell| cell.strip_prefix("validation:accuracy="));
        cell.unwrap().parse::<f64>().unwrap()
    };
    let last = printed(ended.stdout.lines().last().unwrap());
    let best = sandbox
        .column("run", "valid_accuracy")
        .into_iter()
        .fold(0.0, f64::max);
    assert!((last - best).abs() < 1e-4, "{}", ended.stdout);
    sandbox
        .run(&["predict", "--model", "run", "data/test/2.bee/0.jpg"])
        .succeeded();
    assert!(
        sandbox
            .text("run/report.html")
            .contains("resnet18 on 3 classes")
    );
}

#[test]
fn sigterm_in_the_first_epoch_leaves_a_model_too() {
    let sandbox = Sandbox::with_pictures();
    let mut running =
        Running::start(sandbox.training("run", &format!("{ENDLESS} --image-size 96")));
    assert!(running.wait_for("results:"));
    running.signal("TERM");
    running.end().succeeded();
    sandbox
        .run(&["predict", "--model", "run", "data/test/2.bee/0.jpg"])
        .succeeded();
}

#[test]
fn ctrl_c_keeps_a_checkpoint_and_makes_no_model() {
    let sandbox = Sandbox::with_pictures();
    let mut running = Running::start(sandbox.training("run", ENDLESS));
    assert!(running.wait_for("epoch=1"));
    running.signal("INT");
    running
        .end()
        .failed(130, &["sagemaker-burn train --resume run"]);
    assert!(sandbox.path("run/weights/last.safetensors").is_file());
    assert!(!sandbox.path("run/model").exists());
}

#[test]
fn ctrl_c_before_anything_was_trained_does_not_promise_to_go_on() {
    let sandbox = Sandbox::new();
    super::pictures::draw(&sandbox.path("data"), &[("train", 60), ("valid", 4)]);
    // A frozen run computes the features of all pictures first.
    let options = "--freeze true --image-size 224";
    let mut running = Running::start(sandbox.training("run", options));
    assert!(running.wait_for("results:"));
    running.signal("INT");
    let ended = running.end().failed(130, &["interrupted"]);
    let can_go_on = sandbox.path("run/weights/last.safetensors").exists();
    assert_eq!(
        ended.stderr.contains("--resume"),
        can_go_on,
        "{}",
        ended.stderr
    );
}
