//! What a finished run leaves: metric lines, the run folder, the tables.

use std::fs;

use sagemaker_burn::sinks::metric_definitions;

use super::{
    pictures::CLASSES,
    run::{Ended, Sandbox},
};

/// The values that the regular expression `name=([0-9.]+)` captures in `text`.
fn captures(name: &str, text: &str) -> Vec<f64> {
    text.match_indices(&format!("{name}="))
        .map(|(at, key)| {
            let rest = &text[at + key.len()..];
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
            rest[..end.unwrap_or(rest.len())].parse().unwrap()
        })
        .collect()
}

/// Each definition of SageMaker's metrics finds one value an epoch, or one in all for the test split.
fn each_metric_is_found(ended: &Ended, epochs: usize, top_k: usize) {
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let log = lines.iter().filter(|line| !line.starts_with("best "));
    let log: String = log.map(|line| format!("{line}\n")).collect();
    for definition in metric_definitions(Some(top_k)).as_array().unwrap() {
        let name = definition["Name"].as_str().unwrap();
        assert_eq!(definition["Regex"], format!("{name}=([0-9.]+)"));
        let expected = if name.starts_with("test:") { 1 } else { epochs };
        assert_eq!(captures(name, &log).len(), expected, "{name} in {log}");
    }
}

#[test]
fn stdout_has_one_metric_line_an_epoch_and_nothing_else() {
    let sandbox = Sandbox::with_pictures();
    let ended = sandbox
        .train("run", "--epochs 4 --freeze false --learning-rate 0.003")
        .succeeded();
    let mut expected: Vec<String> = (1..=4).map(|epoch| format!("epoch={epoch} ")).collect();
    expected.push("test:loss=".into());
    let starts = expected.iter().map(String::as_str);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    // The last line repeats the best epoch where that was not the last one.
    let rest = &lines[expected.len()..];
    assert!(rest.len() <= 1, "{}", ended.stdout);
    assert!(rest.iter().all(|line| line.starts_with("best epoch=")));
    each_metric_is_found(&ended, 4, 5);
    assert!(!ended.stderr.contains("train:loss="), "{}", ended.stderr);

    let printed = captures("validation:accuracy", &ended.epochs().join("\n"));
    let kept = sandbox.column("run", "valid_accuracy");
    assert_eq!(printed.len(), kept.len());
    for (printed, kept) in printed.iter().zip(kept) {
        assert!((printed - kept).abs() < 1e-4, "{printed} {kept}");
    }
}

#[test]
fn the_best_epoch_is_printed_again_unless_it_was_the_last() {
    let sandbox = Sandbox::with_pictures();
    // Steps this small change no weight, so the first epoch stays the best.
    let still = "--epochs 3 --learning-rate 1e-30";
    let last_line = |ended: &Ended| ended.stdout.lines().last().unwrap().to_owned();
    let ended = sandbox.train("still", still).succeeded();
    let accuracy = sandbox.column("still", "valid_accuracy")[0];
    assert_eq!(
        last_line(&ended),
        format!("best epoch=1 validation:accuracy={accuracy:.4}")
    );
    let options = format!("{still} --report-best false");
    let ended = sandbox.train("quiet", &options).succeeded();
    assert!(last_line(&ended).starts_with("test:loss="), "{ended:?}");
}

#[test]
fn the_run_folder_holds_what_is_promised() {
    let sandbox = Sandbox::with_pictures();
    sandbox.train("run", "--epochs 3").succeeded();
    let files = sandbox.list("run");
    let (events, others): (Vec<&String>, Vec<&String>) = files
        .iter()
        .partition(|name| name.starts_with("events.out.tfevents."));
    assert_eq!(events.len(), 1, "{files:?}");
    assert!(!sandbox.read(&format!("run/{}", events[0])).is_empty());
    assert_eq!(
        others,
        [
            "args.json",
            "confusion.csv",
            "model",
            "profiler",
            "report.html",
            "results.csv",
            "rules.json",
            "weights"
        ]
    );
    assert_eq!(
        sandbox.list("run/weights"),
        ["best.safetensors", "last.safetensors"]
    );
    assert_eq!(
        sandbox.list("run/model"),
        [
            "examples",
            "manifest.json",
            "model.onnx",
            "model.safetensors"
        ]
    );
    assert_eq!(
        sandbox.list(""),
        ["data", "run"],
        "something lies beside the run"
    );
    assert_eq!(sandbox.column("run", "epoch"), [1.0, 2.0, 3.0]);
}

#[test]
fn args_say_where_each_value_came_from() {
    let sandbox = Sandbox::with_pictures();
    sandbox.train("run", "--epochs 1 --seed 7").succeeded();
    let args = sandbox.json("run/args.json");
    let data = fs::canonicalize(sandbox.path("data")).unwrap();
    assert_eq!(args["data"], data.to_str().unwrap());
    assert!(
        args["command"]
            .as_array()
            .unwrap()
            .contains(&"--seed".into())
    );
    let setting = |name: &str| {
        let settings = args["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["name"] == name);
        found.unwrap_or_else(|| panic!("{name} in {args}")).clone()
    };
    assert_eq!(setting("seed")["value"], "7");
    assert_eq!(setting("seed")["source"], "command line");
    assert_eq!(setting("optimizer")["source"], "default");
    // What the weights turned out to hold.
    assert_eq!(setting("model")["value"], "resnet18");
}

#[test]
fn the_manifest_holds_classes_in_natural_order_and_the_run_s_figures() {
    let sandbox = Sandbox::with_pictures();
    sandbox
        .train("run", "--epochs 3 --freeze false --learning-rate 0.003")
        .succeeded();
    let manifest = sandbox.json("run/model/manifest.json");
    let names = CLASSES.map(|(name, _)| name);
    assert_eq!(manifest["classes"], serde_json::json!(names));
    for (index, name) in names.iter().enumerate() {
        assert_eq!(manifest["class_to_idx"][name], index);
    }
    let metrics = &manifest["metrics"];
    let best = metrics["epoch"].as_f64().unwrap() as usize;
    assert_eq!(
        metrics["validation:accuracy"],
        sandbox.column("run", "valid_accuracy")[best - 1]
    );
    let best_accuracy = sandbox
        .column("run", "valid_accuracy")
        .into_iter()
        .fold(0.0, f64::max);
    assert_eq!(metrics["validation:accuracy"], best_accuracy);
    let header = sandbox
        .text("run/confusion.csv")
        .lines()
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(header, "true\\predicted,2.bee,10.ant,wild cat");
    let report = sandbox.text("run/report.html");
    assert!(names.iter().all(|name| report.contains(name)));
}

#[test]
fn run_folders_count_up_and_are_never_overwritten() {
    let sandbox = Sandbox::with_pictures();
    let weights = super::run::narrow_resnet18();
    let arguments = [
        "--local-data",
        "data",
        "--weights",
        &weights,
        "--image-size",
        "32",
        "--epochs",
        "1",
    ];
    sandbox.run(&arguments).succeeded();
    sandbox.run(&arguments).succeeded();
    assert_eq!(sandbox.list("runs"), ["train-1", "train-2"]);
    let before = sandbox.read("runs/train-1/args.json");
    sandbox
        .train("runs/train-1", "")
        .failed(1, &["runs/train-1", "--resume"]);
    assert_eq!(sandbox.read("runs/train-1/args.json"), before);
}

#[test]
fn the_demo_draws_trains_and_says_how_to_go_on() {
    let sandbox = Sandbox::new();
    let options = [
        "--demo",
        "--epochs",
        "1",
        "--max-train-samples",
        "16",
        "--image-size",
        "32",
    ];
    let ended = sandbox.run(&options).succeeded();
    assert_eq!(ended.epochs().len(), 1);
    for command in ["predict --model", "eval", "export --model"] {
        let line = format!("sagemaker-burn {command} runs/demo-1/model");
        assert!(ended.stderr.contains(&line), "{line} in {}", ended.stderr);
    }
    assert_eq!(sandbox.list(""), ["runs"]);
    assert_eq!(sandbox.list("runs"), ["demo-1"]);
    // The commands it names work.
    let next = ended
        .stderr
        .lines()
        .find(|line| line.contains(" predict "))
        .unwrap();
    let next: Vec<&str> = next.split_whitespace().skip(1).collect();
    let prediction = sandbox.run(&next).succeeded();
    assert!(prediction.stdout.contains('%'), "{}", prediction.stdout);
}
