//! The same seed gives the same weights, whatever the threads; another seed gives others.

use super::run::Sandbox;

const TRAINING: &str = "--freeze false --augmentation crop-color --mixup 0.2 --learning-rate 0.001";

#[test]
fn workers_and_cache_change_no_weight() {
    let sandbox = Sandbox::with_pictures();
    let variants = [
        ("one", "--workers 1"),
        ("three", "--workers 3"),
        ("uncached", "--workers 2 --cache-mb 0"),
    ];
    for (run, options) in variants {
        sandbox
            .train(run, &format!("{TRAINING} {options}"))
            .succeeded();
    }
    let weights = |run: &str| sandbox.read(&format!("{run}/model/model.safetensors"));
    for run in ["three", "uncached"] {
        assert!(weights("one") == weights(run), "{run} gives other weights");
    }
}

#[test]
fn another_seed_gives_other_weights() {
    let sandbox = Sandbox::with_pictures();
    for seed in ["1", "2"] {
        for mode in ["frozen", "full"] {
            let freeze = mode == "frozen";
            let options = format!("--seed {seed} --freeze {freeze} --augmentation none");
            sandbox
                .train(&format!("{mode}-{seed}"), &options)
                .succeeded();
        }
    }
    let weights = |run: &str| sandbox.read(&format!("{run}/model/model.safetensors"));
    for mode in ["frozen", "full"] {
        let [one, two] = ["1", "2"].map(|seed| weights(&format!("{mode}-{seed}")));
        assert!(one != two, "{mode}: the seed has no effect");
    }
}

#[test]
fn the_seed_decides_the_stratified_split() {
    let sandbox = Sandbox::new();
    super::pictures::draw(&sandbox.path(""), &[("data", 12)]);
    let identity = |run: &str, seed: &str| {
        sandbox
            .train(run, &format!("--epochs 1 --seed {seed}"))
            .succeeded();
        let (_, metadata) = sagemaker_burn::model::read_safetensors(
            &sandbox.path(&format!("{run}/weights/last.safetensors")),
        )
        .unwrap();
        metadata["data"].clone()
    };
    let first = identity("a", "1");
    assert_eq!(first, identity("b", "1"));
    assert_ne!(first, identity("c", "2"));
}
