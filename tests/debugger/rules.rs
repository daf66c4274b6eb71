//! Each rule on a training that was made to go wrong in its way, and on one that was not.

use std::fs;

use image::{Rgb, RgbImage};
use sagemaker_burn::debugger::{Entry, HostTensor, ModeKey, StepRecord, TrialWriter};

use super::trace::{live, stored};
use crate::main_job::{pictures, run::Sandbox, running::Running};

/// Trains every layer well: the pictures differ by their colour.
const WELL: &str = "--freeze false --learning-rate 0.003 --epochs 4";
/// Steps far too large.
const WILD: &str = "--freeze false --learning-rate 100 --epochs 3 --warmup-epochs 0";

/// A sandbox whose training labels have nothing to do with the pictures.
fn with_shuffled_labels() -> Sandbox {
    let sandbox = Sandbox::with_pictures();
    let train = sandbox.path("data/train");
    for (number, (class, _)) in pictures::CLASSES.iter().enumerate() {
        let (next, _) = pictures::CLASSES[(number + 1) % 3];
        for picture in 0..8 {
            // Every other picture of a class moves to the next one.
            let name = |extension: &str| format!("{}.{extension}", 2 * picture);
            let from = train.join(class).join(name("jpg"));
            fs::rename(
                from,
                train.join(next).join(format!("moved-{}", name("jpg"))),
            )
            .unwrap();
        }
    }
    sandbox
}

fn with_black_pictures() -> Sandbox {
    let sandbox = Sandbox::with_pictures();
    for (class, _) in pictures::CLASSES {
        for entry in fs::read_dir(sandbox.path("data/train").join(class)).unwrap() {
            let black = RgbImage::from_pixel(40, 36, Rgb([0, 0, 0]));
            black.save(entry.unwrap().path()).unwrap();
        }
    }
    sandbox
}

#[test]
fn vanishing_gradient() {
    let sandbox = Sandbox::with_pictures();
    live(&sandbox, "well", "VanishingGradient", WELL).silent();
    // Weights that have exploded make a softmax that is certain of everything and learns nothing.
    live(&sandbox, "wild", "VanishingGradient", WILD).fired(&["gradient/ResNet_", "1e-7"]);
}

#[test]
fn exploding_tensor() {
    let sandbox = Sandbox::with_pictures();
    live(&sandbox, "well", "ExplodingTensor", WELL).silent();
    let options =
        "--freeze false --learning-rate 1e30 --optimizer sgd --epochs 3 --warmup-epochs 0";
    live(&sandbox, "wild", "ExplodingTensor", options).fired(&["NaN"]);
}

#[test]
fn loss_not_decreasing() {
    let sandbox = Sandbox::with_pictures();
    let rule = "LossNotDecreasing:num_steps=5";
    live(
        &sandbox,
        "well",
        rule,
        "--freeze false --learning-rate 0.001 --epochs 2",
    )
    .silent();
    let stuck = with_shuffled_labels();
    live(
        &stuck,
        "stuck",
        rule,
        "--freeze false --learning-rate 0.000000001 --epochs 12",
    )
    .fired(&["CrossEntropyLoss_output_0"]);
}

#[test]
fn overfit() {
    let sandbox = Sandbox::with_pictures();
    live(
        &sandbox,
        "well",
        "Overfit:ratio_threshold=2",
        "--freeze true --learning-rate 0.0001 --epochs 4",
    )
    .silent();
    let shuffled = with_shuffled_labels();
    live(
        &shuffled,
        "learned-by-heart",
        "Overfit",
        "--freeze false --augmentation none --lr-scheduler constant --learning-rate 0.003 --epochs 30",
    )
    .fired(&["above the training loss"]);
}

#[test]
fn overtraining() {
    let sandbox = Sandbox::with_pictures();
    let rule = "Overtraining:patience_train=2,patience_validation=3";
    live(&sandbox, "well", rule, WELL).silent();
    live(
        &sandbox,
        "long",
        rule,
        "--freeze false --learning-rate 0.003 --epochs 16",
    )
    .fired(&["not improved"]);
}

#[test]
fn poor_weight_initialization() {
    let sandbox = Sandbox::with_pictures();
    live(&sandbox, "well", "PoorWeightInitialization", WELL).silent();
    let poor = "--weights none --freeze false --learning-rate 3 --epochs 3 --warmup-epochs 0";
    live(&sandbox, "poor", "PoorWeightInitialization", poor).fired(&["has not fallen"]);
}

#[test]
fn dead_relu() {
    let sandbox = Sandbox::with_pictures();
    live(&sandbox, "well", "DeadRelu", WELL).silent();
    live(&sandbox, "wild", "DeadRelu", WILD).fired(&["relu_output", "channels"]);
}

#[test]
fn all_zero() {
    let sandbox = Sandbox::with_pictures();
    live(&sandbox, "well", "AllZero", WELL).silent();
    zeroed(&sandbox);
    live(
        &sandbox,
        "zero",
        "AllZero",
        "--weights zeroed --freeze false --epochs 1",
    )
    .fired(&["100 %"]);
}

/// A model of nothing but zeros, as an earlier model of the same pictures.
fn zeroed(sandbox: &Sandbox) {
    use burn::tensor::{Device, TensorData};
    use sagemaker_burn::artifact::{self, Artifact};
    use sagemaker_burn::model::{ResNet, state_dict};
    let device = Device::flex();
    let trained = Artifact::load(&sandbox.path("well/model"), &device).unwrap();
    let zeros = state_dict(&trained.model).into_iter().map(|(name, data)| {
        let shape = data.shape();
        (name, TensorData::zeros::<f32, _>(shape))
    });
    let zero = ResNet::from_state_dict(trained.model.config(), zeros, &device).unwrap();
    artifact::save(&sandbox.path("zeroed"), &zero, trained.manifest).unwrap();
}

#[test]
fn unchanged_tensor() {
    let sandbox = Sandbox::with_pictures();
    let rule = "UnchangedTensor:tensor_regex=ResNet_fc.weight";
    live(&sandbox, "well", rule, WELL).silent();
    live(
        &sandbox,
        "still",
        rule,
        "--freeze false --learning-rate 1e-30 --epochs 2",
    )
    .fired(&["not changed", "fc.weight"]);
}

#[test]
fn tensor_variance() {
    let sandbox = Sandbox::with_pictures();
    live(&sandbox, "well", "TensorVariance", WELL).silent();
    live(&sandbox, "wild", "TensorVariance", WILD).fired(&["variance", "above 10"]);
}

#[test]
fn weight_update_ratio() {
    let sandbox = Sandbox::with_pictures();
    // A cosine ends at steps of nothing.
    let well = format!("{WELL} --lr-scheduler constant");
    live(&sandbox, "well", "WeightUpdateRatio", &well).silent();
    live(&sandbox, "wild", "WeightUpdateRatio", WILD).fired(&["above 10"]);
    live(
        &sandbox,
        "still",
        "WeightUpdateRatio",
        "--freeze false --learning-rate 1e-30",
    )
    .fired(&["below 1e-8"]);
}

#[test]
fn class_imbalance() {
    let sandbox = Sandbox::with_pictures();
    let rule = "ClassImbalance:samples=100,threshold_misprediction=0.9";
    live(&sandbox, "well", rule, WELL).silent();
    for (class, _) in &pictures::CLASSES[..2] {
        for number in 1..16 {
            let place = sandbox.path("data/train").join(class);
            let extension = if number % 2 == 0 { "jpg" } else { "png" };
            fs::remove_file(place.join(format!("{number}.{extension}"))).unwrap();
        }
    }
    live(&sandbox, "uneven", rule, "--freeze false --epochs 8").fired(&["times as many"]);
    let shuffled = with_shuffled_labels();
    let rule = "ClassImbalance:samples=10,threshold_misprediction=0.4";
    live(
        &shuffled,
        "mistaken",
        rule,
        "--freeze false --learning-rate 0.00000001 --epochs 6",
    )
    .fired(&["mistaken"]);
}

#[test]
fn confusion() {
    let sandbox = Sandbox::with_model();
    let well = "--weights run/model --freeze false --learning-rate 0.00000001 --epochs 1";
    live(&sandbox, "well", "Confusion", well).silent();
    let shuffled = with_shuffled_labels();
    let poor = "--freeze false --learning-rate 0.00000001";
    live(&shuffled, "shuffled", "Confusion", poor).fired(&["images taken for class"]);
}

#[test]
fn check_input_images() {
    let sandbox = Sandbox::with_pictures();
    live(
        &sandbox,
        "well",
        "CheckInputImages:threshold_samples=90",
        "--freeze false",
    )
    .silent();
    let black = with_black_pictures();
    live(
        &black,
        "black",
        "CheckInputImages:threshold_samples=90",
        "--freeze false",
    )
    .fired(&["-2.1", "96 images"]);
}

#[test]
fn similar_across_runs() {
    let sandbox = Sandbox::with_pictures();
    sandbox
        .train(
            "one",
            "--freeze false --debugger true --debugger-save-interval 2",
        )
        .succeeded();
    let rule = "SimilarAcrossRuns:other_trials=one/debug-output";
    live(&sandbox, "same", rule, "--freeze false").fired(&["equals that of one"]);
    live(&sandbox, "other", rule, "--freeze false --seed 7").silent();
    sandbox
        .train("lost", "--rules SimilarAcrossRuns:other_trials=nowhere")
        .failed(1, &["other_trials", "nowhere"]);
}

#[test]
fn stalled_training() {
    let sandbox = Sandbox::with_pictures();
    let mut run = Running::start(sandbox.training(
        "run",
        "--freeze false --debugger true --debugger-save-interval 1 --epochs 6",
    ));
    assert!(run.wait_for("epoch=2"));
    run.signal("STOP");
    std::thread::sleep(std::time::Duration::from_secs(4));
    run.signal("CONT");
    run.end().succeeded();
    stored(&sandbox, "run", "StalledTraining:threshold=3").fired(&["passed between the steps"]);
    stored(&sandbox, "run", "StalledTraining").silent();
}

#[test]
fn saturated_activation() {
    // A ResNet has no tanh: a small network that has one is trained here, well and far too fast.
    for (run, learning_rate, fires) in [("well", 0.05, false), ("wild", 1e4, true)] {
        let sandbox = Sandbox::new();
        tanh_network(&sandbox, run, learning_rate);
        let found = stored(&sandbox, run, "SaturatedActivation");
        match fires {
            true => drop(found.fired(&["tanh_input_0", "outside"])),
            false => drop(found.silent()),
        }
    }
}

/// Trains two layers with a tanh between them on points in the plane, and saves what goes into the tanh.
fn tanh_network(sandbox: &Sandbox, run: &str, learning_rate: f64) {
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::{GradientsParams, SgdConfig};
    use burn::tensor::{Device, Distribution, Tensor, activation::tanh};
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut first: Linear = LinearConfig::new(2, 8).init(&device);
    let second: Linear = LinearConfig::new(8, 1).init(&device);
    let mut optimizer = SgdConfig::new().init();
    let mut writer = TrialWriter::create(&sandbox.path(run), Vec::new()).unwrap();
    for step in 0..20 {
        let points: Tensor<2> = Tensor::random([128, 2], Distribution::Normal(0.0, 1.0), &device);
        let targets = points.clone().prod_dim(1);
        let before = first.forward(points);
        let loss = (second.forward(tanh(before.clone())) - targets)
            .square()
            .mean();
        let record = StepRecord {
            mode: ModeKey::Train,
            mode_step: step,
            global_step: step,
            wall_time: step as f64,
            entries: vec![Entry::whole(
                "tanh_input_0",
                HostTensor::of_data(before.inner().into_data()),
            )],
        };
        writer.write(&record).unwrap();
        let gradients = loss.backward();
        let of_first = GradientsParams::from_grads(gradients, &first);
        first = optimizer.step(learning_rate, first, of_first);
    }
    writer.end().unwrap();
}

#[test]
fn a_rule_may_end_the_training_and_the_best_model_stays() {
    let sandbox = Sandbox::with_pictures();
    let options = "--freeze false --learning-rate 0.003 --epochs 400 --rules Overtraining:patience_train=2,patience_validation=3 \
                   --rules-action stop --debugger-save-interval 1";
    let ended = sandbox.train("run", options).succeeded();
    assert!(
        ended.stderr.contains("rule Overtraining ends the training"),
        "{ended:#?}"
    );
    assert!(
        ended.epochs().len() < 399 && ended.stderr.contains("stopped by a rule after"),
        "{ended:#?}"
    );
    assert!(!ended.stderr.contains("SIGTERM"), "{ended:#?}");
    // There is time for the test split, other than after a signal.
    assert!(ended.stderr.contains("  test: "), "{ended:#?}");
    assert!(sandbox.path("run/model/model.safetensors").exists());
    assert!(sandbox.text("run/report.html").contains("Overtraining"));
}

#[test]
fn stored_runs_are_judged_as_live_ones() {
    let sandbox = Sandbox::with_pictures();
    let options =
        format!("{WILD} --debugger true --debugger-save-interval 1 --rules VanishingGradient");
    sandbox.train("run", &options);
    let outcomes = sandbox.json("run/rules.json");
    let live = super::trace::only(&outcomes);
    let stored = stored(&sandbox, "run", "VanishingGradient");
    assert_eq!((live.step, live.finding), (stored.step, stored.finding));
    // People get lines instead.
    let ended = sandbox.run(&["rules", "run"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stdout.contains("VanishingGradient") && ended.stdout.contains("what to do"),
        "{ended:#?}"
    );
    assert!(ended.stdout.contains("nothing to look at"), "{ended:#?}");
    sandbox
        .run(&["rules", "data"])
        .failed(1, &["index/", "data"]);
}
