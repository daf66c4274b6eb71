//! Every option does something, and what it says. Runs are deterministic, so a run with an option and one without it
//! differ only by what the option does.

use super::run::Sandbox;

/// Weights and figures of a training run.
struct Outcome {
    weights: Vec<u8>,
    train_loss: Vec<f64>,
    valid_loss: Vec<f64>,
    learning_rate: Vec<f64>,
}

fn outcome(sandbox: &Sandbox, run: &str, options: &str) -> Outcome {
    sandbox.train(run, options).succeeded();
    Outcome {
        weights: sandbox.read(&format!("{run}/model/model.safetensors")),
        train_loss: sandbox.column(run, "train_loss"),
        valid_loss: sandbox.column(run, "valid_loss"),
        learning_rate: sandbox.column(run, "learning_rate"),
    }
}

#[test]
fn each_of_these_changes_the_weights_of_a_frozen_run() {
    let sandbox = Sandbox::with_pictures();
    let usual = "--optimizer sgd --learning-rate 0.1";
    let mut seen = vec![("usual", outcome(&sandbox, "usual", usual).weights)];
    for option in [
        "--momentum 0.5",
        "--weight-decay 0.1",
        "--label-smoothing 0.2",
        "--grad-clip 0.01",
        "--grad-accumulation 2",
        "--ema-decay 0.8",
        "--lr-scheduler constant",
        "--lr-scheduler step",
        "--warmup-epochs 1",
        "--batch-size 16",
        "--image-size 48",
        "--max-train-samples 30",
        "--mixup 0.3",
        "--augmentation crop",
        "--augmentation crop-color",
        "--augmentation trivial",
        "--seed 1",
    ] {
        let weights = outcome(
            &sandbox,
            option[2..].replace(' ', "-").as_str(),
            &format!("{usual} {option}"),
        )
        .weights;
        for (other, known) in &seen {
            assert!(weights != *known, "{option} gives the weights of {other}");
        }
        seen.push((option, weights));
    }
    let kinds = ["sgd", "adam", "adamw", "rmsprop"].map(|kind| {
        let options = format!("--learning-rate 0.01 --weight-decay 0.1 --optimizer {kind}");
        outcome(&sandbox, kind, &options).weights
    });
    for (i, one) in kinds.iter().enumerate() {
        assert!(
            kinds[..i].iter().all(|other| other != one),
            "two optimizers do the same"
        );
    }
}

#[test]
fn balanced_class_weights_count_only_where_classes_differ() {
    let sandbox = Sandbox::with_pictures();
    let loss = |run: &str, options: &str| outcome(&sandbox, run, options).train_loss;
    assert_eq!(
        loss("even", "--class-weights none"),
        loss("even-balanced", "--class-weights balanced")
    );
    for number in 3..16 {
        let extension = if number % 2 == 0 { "jpg" } else { "png" };
        let path = format!("data/train/10.ant/{number}.{extension}");
        std::fs::remove_file(sandbox.path(&path)).unwrap();
    }
    assert_ne!(
        loss("uneven", "--class-weights none"),
        loss("uneven-balanced", "--class-weights balanced")
    );
}

#[test]
fn a_moving_average_is_evaluated_and_exported_but_does_not_train() {
    let sandbox = Sandbox::with_pictures();
    let options = "--freeze false --learning-rate 0.003";
    let plain = outcome(&sandbox, "plain", options);
    let averaged = outcome(&sandbox, "ema", &format!("{options} --ema-decay 0.9"));
    assert_eq!(plain.train_loss, averaged.train_loss);
    assert!(
        plain
            .valid_loss
            .iter()
            .zip(&averaged.valid_loss)
            .all(|(a, b)| a != b)
    );
    assert!(plain.weights != averaged.weights);
}

#[test]
fn the_learning_rate_follows_its_schedule() {
    let sandbox = Sandbox::with_pictures();
    let rates = |run: &str, options: &str| {
        let options = format!("--epochs 4 --learning-rate 0.01 {options}");
        outcome(&sandbox, run, &options).learning_rate
    };
    let near = |found: &[f64], expected: [f64; 4]| {
        let close = |(a, b): (&f64, f64)| (a - b).abs() <= b * 1e-9;
        assert!(
            found.iter().zip(expected).all(close),
            "{found:?}, expected {expected:?}"
        );
    };
    near(&rates("constant", "--lr-scheduler constant"), [0.01; 4]);
    near(
        &rates(
            "step",
            "--lr-scheduler step --lr-scheduler-step 2 --lr-scheduler-factor 0.5",
        ),
        [0.01, 0.01, 0.005, 0.005],
    );
    // 48 images make 6 steps an epoch; the last of them is the one that is told.
    let cosine = |step: f64| 0.005 * (1.0 + (std::f64::consts::PI * step / 24.0).cos());
    near(
        &rates("cosine", "--lr-scheduler cosine"),
        [5.0, 11.0, 17.0, 23.0].map(cosine),
    );
    near(
        &rates("warm", "--lr-scheduler constant --warmup-epochs 2"),
        [0.01 * 6.0 / 13.0, 0.01 * 12.0 / 13.0, 0.01, 0.01],
    );
}

#[test]
fn patience_ends_a_run_that_no_longer_improves() {
    let sandbox = Sandbox::with_pictures();
    // Steps this small change no weight.
    let still = "--epochs 20 --learning-rate 1e-30 --early-stopping-patience 2";
    let ended = sandbox.train("patient", still).succeeded();
    assert_eq!(ended.epochs().len(), 3, "{}", ended.stdout);
    assert!(
        ended.stderr.contains("stopped early after 3 epochs"),
        "{}",
        ended.stderr
    );
    let longer = format!("{still} --early-stopping-min-epochs 5");
    assert_eq!(
        sandbox.train("longer", &longer).succeeded().epochs().len(),
        5
    );
    sandbox
        .run(&["predict", "--model", "patient", "data/test/2.bee/0.jpg"])
        .succeeded();
}

#[test]
fn max_train_samples_takes_a_share_of_each_class() {
    let sandbox = Sandbox::with_pictures();
    let ended = sandbox
        .train("run", "--max-train-samples 12 --epochs 1")
        .succeeded();
    let said = "12 images to train on, 18 to validate, 12 to test";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    // 12 images in batches of 8.
    assert_eq!(sandbox.column("run", "global_step"), [2.0]);
}

#[test]
fn top_k_is_reported_under_the_name_that_was_asked_for() {
    let sandbox = Sandbox::with_pictures();
    for (k, expected) in [("2", Some("top2")), ("5", Some("top5")), ("1", None)] {
        let ended = sandbox
            .train(k, &format!("--top-k {k} --epochs 1"))
            .succeeded();
        match expected {
            Some(name) => {
                for split in ["validation", "test"] {
                    let metric = format!("{split}:{name}=");
                    assert_eq!(ended.stdout.matches(&metric).count(), 1, "{}", ended.stdout);
                }
            }
            None => assert!(!ended.stdout.contains(":top"), "{}", ended.stdout),
        }
    }
}

#[test]
fn features_are_computed_once_only_where_they_stay_the_same() {
    let sandbox = Sandbox::with_pictures();
    let options = "--freeze true --learning-rate 0.01 --epochs 3";
    let loss =
        |run: &str, more: &str| outcome(&sandbox, run, &format!("{options} {more}")).train_loss;
    let features = loss("features", "--augmentation none");
    assert_ne!(features, loss("crop", "--augmentation crop"));
    // Gradient clipping that never applies keeps the computed features and changes nothing.
    assert_eq!(
        features,
        loss("clip", "--augmentation none --grad-clip 1e30")
    );
}

#[test]
fn a_frozen_run_changes_nothing_but_the_head() {
    let sandbox = Sandbox::with_pictures();
    sandbox.train("features", "--freeze true").succeeded();
    sandbox
        .train(
            "images",
            "--freeze true --augmentation crop --weight-decay 0.5",
        )
        .succeeded();
    sandbox.train("full", "--freeze false").succeeded();
    let tensors = |run: &str| {
        let path = sandbox.path(&format!("{run}/model/model.safetensors"));
        sagemaker_burn::model::read_safetensors(&path).unwrap().0
    };
    let imported = sagemaker_burn::model::onnx::load(
        std::path::Path::new(&super::run::narrow_resnet18()),
        &burn::tensor::Device::flex(),
    )
    .unwrap();
    let pretrained = sagemaker_burn::model::state_dict(&imported.model);
    let changed = |run: &str| {
        let trained = tensors(run);
        assert_eq!(trained.len(), pretrained.len());
        let differs = |(name, before): &&(String, burn::tensor::TensorData)| {
            let after = &trained.iter().find(|(other, _)| other == name).unwrap().1;
            after.as_bytes() != before.as_bytes()
        };
        let names = pretrained
            .iter()
            .filter(differs)
            .map(|(name, _)| name.clone());
        names.collect::<Vec<_>>()
    };
    for run in ["features", "images"] {
        let mut names = changed(run);
        names.sort();
        assert_eq!(names, ["fc.bias", "fc.weight"], "{run}");
    }
    assert!(changed("full").iter().any(|name| name == "conv1.weight"));
}

#[test]
fn random_weights_learn_colours() {
    let sandbox = Sandbox::with_pictures();
    let ended = sandbox
        .train(
            "run",
            "--weights none --model resnet18 --epochs 2 --augmentation none",
        )
        .succeeded();
    assert!(ended.stderr.contains("random weights"), "{}", ended.stderr);
    let accuracy = sandbox.json("run/model/manifest.json")["metrics"]["test:accuracy"].clone();
    assert!(
        accuracy.as_f64().unwrap() > 0.6,
        "{accuracy} where chance is 0.33"
    );
}
