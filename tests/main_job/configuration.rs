//! What is said where, and who wins; what is refused, and how.

use std::fs;

use clap::CommandFactory;
use sagemaker_burn::cli::Cli;

use super::run::{Ended, Sandbox, finish};

/// `name value source` of each line of `--dry-run`.
fn settings(ended: &Ended) -> Vec<(String, String, String)> {
    let setting = |line: &str| {
        let (name, rest) = line.split_once(' ').unwrap();
        let (value, source) = rest.trim_start().split_once("  ").unwrap();
        (name.to_owned(), value.to_owned(), source.trim().to_owned())
    };
    ended.stdout.lines().map(setting).collect()
}

fn value_and_source(ended: &Ended, name: &str) -> (String, String) {
    let found = settings(ended)
        .into_iter()
        .find(|setting| setting.0 == name);
    let (_, value, source) = found.unwrap_or_else(|| panic!("{name} in {}", ended.stdout));
    (value, source)
}

/// What `--dry-run` says with this file of hyperparameters.
fn dry_run_with(sandbox: &Sandbox, hyperparameters: &serde_json::Value) -> Ended {
    fs::write(sandbox.path("h.json"), hyperparameters.to_string()).unwrap();
    sandbox.run(&["--dry-run", "--hyperparameters", "h.json"])
}

#[test]
fn the_command_line_wins_then_the_file_then_the_environment() {
    let sandbox = Sandbox::new();
    let file = r#"{"epochs": "4", "batch-size": 9, "mini_batch_size": "10"}"#;
    fs::write(sandbox.path("h.json"), file).unwrap();
    let mut command =
        sandbox.command(&["--dry-run", "--hyperparameters", "h.json", "--epochs", "3"]);
    command
        .env("SM_HP_EPOCHS", "5")
        .env("SM_HP_BATCH_SIZE", "6")
        .env("SM_HP_SEED", "7");
    let ended = finish(command).succeeded();
    let expected = [
        ("epochs", "3", "command line"),
        ("batch-size", "10", "h.json"),
        ("seed", "7", "environment"),
        ("momentum", "0.9", "default"),
    ];
    for (name, value, source) in expected {
        assert_eq!(
            value_and_source(&ended, name),
            (value.into(), source.into())
        );
    }
    assert!(
        sandbox.list("").iter().all(|name| name == "h.json"),
        "a dry run writes nothing"
    );
}

#[test]
fn defaults_follow_what_else_was_said() {
    let sandbox = Sandbox::new();
    let rate = |arguments: &[&str]| {
        let mut all = vec!["--dry-run"];
        all.extend(arguments);
        let ended = sandbox.run(&all).succeeded();
        ["learning-rate", "epochs", "augmentation"].map(|name| value_and_source(&ended, name).0)
    };
    assert_eq!(rate(&[]), ["0.001", "20", "none"]);
    assert_eq!(rate(&["--freeze", "false"]), ["0.0001", "10", "crop"]);
    assert_eq!(
        rate(&["--train-only-top-layer", "False"]),
        ["0.0001", "10", "crop"]
    );
    assert_eq!(rate(&["--optimizer", "sgd", "--lr", "0.5"])[0], "0.5");
    let ended = sandbox.run(&["--dry-run", "--demo"]).succeeded();
    assert_eq!(
        value_and_source(&ended, "weights"),
        ("none".into(), "demo".into())
    );
    let ended = sandbox
        .run(&["--dry-run", "--demo", "--image-size", "96"])
        .succeeded();
    assert_eq!(
        value_and_source(&ended, "image-size"),
        ("96".into(), "command line".into())
    );
}

/// A value of each flag that is not its default.
const VALUES: [(&str, &str); 40] = [
    ("classes", "ant,bee"),
    ("checkpoint-interval", "10m"),
    ("weights", "resnet34-v1-7"),
    ("model", "resnet34"),
    ("freeze", "false"),
    ("epochs", "7"),
    ("batch-size", "9"),
    ("optimizer", "rmsprop"),
    ("learning-rate", "0.25"),
    ("momentum", "0.5"),
    ("weight-decay", "0.125"),
    ("lr-scheduler", "step"),
    ("warmup-epochs", "1.5"),
    ("lr-scheduler-step", "3"),
    ("lr-scheduler-factor", "0.75"),
    ("label-smoothing", "0.1"),
    ("class-weights", "balanced"),
    ("augmentation", "trivial"),
    ("mixup", "0.3"),
    ("ema-decay", "0.99"),
    ("grad-clip", "2"),
    ("grad-accumulation", "4"),
    ("early-stopping-patience", "6"),
    ("early-stopping-min-epochs", "2"),
    ("image-size", "128"),
    ("top-k", "3"),
    ("max-train-samples", "500"),
    ("examples", "4"),
    ("seed", "11"),
    ("workers", "5"),
    ("precision", "bfloat16"),
    ("report-best", "false"),
    ("device", "cpu"),
    ("cache-mb", "17"),
    ("strict", "true"),
    ("debugger", "true"),
    ("debugger-save-interval", "7"),
    ("rules", "Overfit:patience=2"),
    ("rules-action", "stop"),
    ("profiler", "false"),
];

#[test]
fn every_flag_is_a_hyperparameter_under_both_spellings() {
    let sandbox = Sandbox::new();
    let mut listed: Vec<String> = settings(&sandbox.run(&["--dry-run"]).succeeded())
        .into_iter()
        .map(|setting| setting.0)
        .collect();
    let mut known = VALUES.map(|(name, _)| name);
    listed.sort();
    known.sort_unstable();
    assert_eq!(
        listed, known,
        "a flag is missing from this test or from --dry-run"
    );

    for (from, to) in [("_", "-"), ("-", "_")] {
        let pairs = VALUES.map(|(name, value)| (name.replace(from, to), value.into()));
        let file = serde_json::Value::Object(pairs.into_iter().collect());
        let ended = dry_run_with(&sandbox, &file).succeeded();
        assert!(!ended.stderr.contains("warning"), "{}", ended.stderr);
        for (name, value) in VALUES {
            assert_eq!(
                value_and_source(&ended, name),
                (value.into(), "h.json".into())
            );
        }
    }
}

#[test]
fn dry_run_lists_exactly_the_flags_of_the_help_text() {
    let listed = settings(&Sandbox::new().run(&["--dry-run"]).succeeded());
    let command = Cli::command();
    let flags = command.get_arguments().filter(|argument| {
        argument
            .get_help_heading()
            .is_some_and(|heading| heading == "Hyperparameters")
    });
    let mut flags: Vec<&str> = flags.filter_map(|flag| flag.get_long()).collect();
    let mut names: Vec<&str> = listed.iter().map(|setting| setting.0.as_str()).collect();
    flags.sort_unstable();
    names.sort_unstable();
    assert_eq!(flags, names);
}

#[test]
fn aliases_mean_the_same() {
    let sandbox = Sandbox::new();
    for (alias, value, name) in [
        ("lr", "0.25", "learning-rate"),
        ("mini-batch-size", "9", "batch-size"),
        ("train-only-top-layer", "false", "freeze"),
    ] {
        let flag = format!("--{alias}");
        let ended = sandbox.run(&["--dry-run", &flag, value]).succeeded();
        assert_eq!(
            value_and_source(&ended, name),
            (value.into(), "command line".into())
        );
        let ended = dry_run_with(&sandbox, &serde_json::json!({ alias: value })).succeeded();
        assert_eq!(
            value_and_source(&ended, name),
            (value.into(), "h.json".into())
        );
    }
}

#[test]
fn unknown_hyperparameters_are_ignored_with_a_hint() {
    let sandbox = Sandbox::new();
    let ended = dry_run_with(&sandbox, &serde_json::json!({"bach_size": "3"})).succeeded();
    let warning = "warning: h.json: unknown hyperparameter 'bach_size'";
    assert!(ended.stderr.contains(warning), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("did you mean 'batch-size'?"),
        "{}",
        ended.stderr
    );
    assert_eq!(value_and_source(&ended, "batch-size").1, "default");

    let mut command = sandbox.command(&["--dry-run"]);
    command.env("SM_HP_EPOCS", "3");
    let ended = finish(command).succeeded();
    assert!(
        ended.stderr.contains("did you mean 'epochs'?"),
        "{}",
        ended.stderr
    );
    // SageMaker's own keys are none of ours and no mistake of the user's.
    let own = serde_json::json!({"sagemaker_job_name": "\"j\""});
    assert_eq!(dry_run_with(&sandbox, &own).succeeded().stderr, "");
}

#[test]
fn bad_values_name_the_flag_the_value_and_the_choices() {
    let sandbox = Sandbox::new();
    let cases: [(&str, &str, &[&str]); 13] = [
        ("optimizer", "adamww", &["sgd", "rmsprop"]),
        ("model", "resnet19", &["resnet18", "resnet50"]),
        ("augmentation", "flip", &["crop-color", "trivial"]),
        ("lr-scheduler", "linear", &["constant", "cosine"]),
        ("class-weights", "inverse", &["balanced"]),
        ("epochs", "0", &["at least 1"]),
        ("batch-size", "many", &["whole number"]),
        ("learning-rate", "nan", &["above 0"]),
        ("momentum", "1", &["below 1"]),
        ("image-size", "31", &["32 to 1024"]),
        ("freeze", "perhaps", &["true or false"]),
        ("seed", "-1", &[]),
        ("workers", "0", &["at least 1"]),
    ];
    for (name, value, choices) in cases {
        let flag = format!("--{name}");
        let mut said = vec![flag.as_str(), value];
        said.extend(choices);
        let typed = format!("{flag}={value}");
        sandbox.run(&[&typed, "--dry-run"]).failed(2, &said);
        said.push("h.json");
        dry_run_with(&sandbox, &serde_json::json!({ name: value })).failed(1, &said);
    }
}

#[test]
fn contradictions_are_refused() {
    let sandbox = Sandbox::with_pictures();
    let cases: [(&[&str], &[&str]); 3] = [
        (
            &["--weights", "none", "--freeze", "true"],
            &["--freeze true", "--weights none"],
        ),
        (
            &["--warmup-epochs", "3", "--epochs", "2"],
            &["--warmup-epochs 3", "--epochs 2"],
        ),
        (
            &["--weights", "none", "--max-train-samples", "2"],
            &["max-train-samples 2"],
        ),
    ];
    for (options, said) in cases {
        let mut arguments = vec!["--local-data", "data"];
        arguments.extend(options);
        sandbox.run(&arguments).failed(1, said);
    }
    sandbox
        .run(&["--demo", "--local-data", "data"])
        .failed(2, &["--demo", "--local-data"]);
    assert_eq!(sandbox.list(""), ["data"]);
}

#[test]
fn usage_errors_exit_with_2_and_a_suggestion() {
    let sandbox = Sandbox::new();
    sandbox
        .run(&["--bach-size", "3"])
        .failed(2, &["--bach-size", "--batch-size"]);
    sandbox.run(&["evaluate"]).failed(2, &["evaluate"]);
    sandbox.run(&["predict"]).failed(2, &["IMAGE"]);
    sandbox.run(&[]).failed(1, &["--local-data", "--demo"]);
    for content in ["[1]", "{", "{\"epochs\": {\"a\": 1}}"] {
        fs::write(sandbox.path("bad.json"), content).unwrap();
        sandbox
            .run(&["--dry-run", "--hyperparameters", "bad.json"])
            .failed(1, &["bad.json"]);
    }
    sandbox
        .run(&["--dry-run", "--hyperparameters", "nowhere.json"])
        .failed(1, &["nowhere.json"]);
}

#[test]
fn small_commands_answer() {
    let sandbox = Sandbox::new();
    let version = sandbox.run(&["--version"]).succeeded().stdout;
    assert_eq!(
        version.trim(),
        concat!("sagemaker-burn ", env!("CARGO_PKG_VERSION"))
    );
    let doctor: serde_json::Value =
        serde_json::from_str(&sandbox.run(&["doctor", "--json"]).succeeded().stdout).unwrap();
    assert_eq!(doctor["device"], "cpu");
    assert!(doctor["cores"].as_u64().unwrap() > 0);
    let kernels = doctor["cpu_kernels"].as_str().unwrap();
    assert!(
        kernels.ends_with("winograd and direct convolutions"),
        "{kernels}"
    );
    let zoo: serde_json::Value =
        serde_json::from_str(&sandbox.run(&["zoo", "list", "--json"]).succeeded().stdout).unwrap();
    assert!(
        zoo.as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["name"] == "resnet18-v1-7")
    );
    let script = sandbox.run(&["completions", "bash"]).succeeded().stdout;
    assert!(script.contains("--local-data"));
}
