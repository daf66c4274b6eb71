use super::*;

fn layer(source: Source, pairs: &[(&str, &str)]) -> Layer {
    Layer::from_pairs(
        source,
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())),
    )
    .unwrap()
}

fn source_of<'a>(resolved: &'a Resolved, name: &str) -> &'a str {
    &resolved
        .settings
        .iter()
        .find(|s| s.name == name)
        .unwrap()
        .source
}

#[test]
fn the_first_layer_that_speaks_wins() {
    let layers = [
        layer(Source::CommandLine, &[("epochs", "3")]),
        layer(
            Source::HyperparametersFile("h.json".into()),
            &[("epochs", "7"), ("batch-size", "8")],
        ),
        layer(Source::Environment, &[("batch-size", "16"), ("seed", "1")]),
    ];
    let resolved = resolve(&layers).unwrap();
    assert_eq!(
        (
            resolved.config.epochs,
            resolved.config.batch_size,
            resolved.config.seed
        ),
        (3, 8, 1)
    );
    assert_eq!(source_of(&resolved, "epochs"), "command line");
    assert_eq!(source_of(&resolved, "batch-size"), "h.json");
    assert_eq!(source_of(&resolved, "seed"), "environment");
    assert_eq!(source_of(&resolved, "momentum"), "default");
}

#[test]
fn defaults_follow_what_is_trained() {
    let frozen = resolve(&[]).unwrap().config;
    assert!(
        frozen.freeze && frozen.learning_rate == 1e-3 && frozen.augmentation == Augmentation::None
    );
    let full = resolve(&[layer(Source::CommandLine, &[("freeze", "false")])])
        .unwrap()
        .config;
    assert!(!full.freeze && full.learning_rate == 1e-4 && full.augmentation == Augmentation::Crop);
    let scratch = resolve(&[layer(Source::CommandLine, &[("weights", "none")])])
        .unwrap()
        .config;
    assert!(!scratch.freeze && scratch.learning_rate == 1e-3);
}

#[test]
fn contradictions_name_both_flags() {
    let error = resolve(&[layer(
        Source::CommandLine,
        &[("weights", "none"), ("freeze", "true")],
    )])
    .unwrap_err();
    assert!(error.to_string().contains("--freeze") && error.to_string().contains("--weights"));
    let error = resolve(&[layer(
        Source::CommandLine,
        &[("epochs", "1"), ("warmup-epochs", "2")],
    )])
    .unwrap_err();
    assert!(error.to_string().contains("--warmup-epochs 2"), "{error}");
}

#[test]
fn every_setting_can_be_typed_back() {
    // A resumed run reads its settings from args.json through the same parser.
    let all = layer(
        Source::CommandLine,
        &[
            ("model", "resnet50"),
            ("freeze", "false"),
            ("mixup", "0.2"),
            ("device", "cpu"),
        ],
    );
    let first = resolve(&[all]).unwrap();
    let pairs = first
        .settings
        .iter()
        .map(|s| (s.name.clone(), s.value.clone()));
    let again =
        resolve(&[Layer::from_pairs(Source::Resumed("run".into()), pairs).unwrap()]).unwrap();
    assert_eq!(first.config, again.config);
}
