//! Runs that cannot succeed: each ends soon, says what to do, and leaves nothing that looks whole.

use std::fs;

use super::run::{Sandbox, golden_onnx};

#[test]
fn a_diverging_run_explains_itself() {
    let sandbox = Sandbox::with_pictures();
    let ended = sandbox
        .train("run", "--freeze false --optimizer sgd --learning-rate 1e20")
        .failed(
            1,
            &["diverged", "--learning-rate", "--grad-clip", "epoch 1"],
        );
    assert!(!sandbox.path("run/model").exists());
    assert!(
        !ended.stdout.to_lowercase().contains("nan"),
        "{}",
        ended.stdout
    );
    // Weights are promised only where there are some.
    let kept = sandbox.path("run/weights/best.safetensors").exists();
    let said = ["no weights were kept", "best weights so far"][usize::from(kept)];
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    sandbox
        .run(&["predict", "--model", "run", "data/test/2.bee/0.jpg"])
        .failed(1, &["run"]);
}

#[test]
fn no_weights_and_no_network_says_what_to_do() {
    let sandbox = Sandbox::with_pictures();
    sandbox.run(&["--local-data", "data"]).failed(
        1,
        &[
            "--weights FILE",
            "--weights none",
            "sagemaker-burn/resnet18-v1-7.onnx",
            "sha256",
        ],
    );
    assert_eq!(
        sandbox
            .list("")
            .iter()
            .filter(|name| *name == "runs")
            .count(),
        0
    );
    sandbox
        .run(&["zoo", "fetch", "resnet18-v1-7"])
        .failed(1, &["--weights FILE"]);
    sandbox
        .run(&["zoo", "verify", "resnet18-v1-7"])
        .failed(1, &["zoo fetch resnet18-v1-7"]);
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let sandbox = Sandbox::with_pictures();
    fs::write(sandbox.path("text.onnx"), "no protobuf at all").unwrap();
    let (v2, cut) = (
        golden_onnx("refused-v2.onnx"),
        golden_onnx("refused-truncated.onnx"),
    );
    let cases: [(&str, &[&str]); 7] = [
        ("--model resnet50", &["resnet18", "resnet50", "--model"]),
        ("--weights nowhere.onnx", &["nowhere.onnx", "none"]),
        ("--weights resnet18-v1-8", &["did you mean `resnet18-v1-7`"]),
        ("--weights data", &["data", "folder"]),
        ("--weights text.onnx", &["text.onnx"]),
        (&format!("--weights {v2}"), &["refused-v2.onnx"]),
        (&format!("--weights {cut}"), &["refused-truncated.onnx"]),
    ];
    for (options, said) in cases {
        let ended = sandbox.train("run", options).failed(1, said);
        assert_eq!(ended.stdout, "", "{options}");
        assert!(
            !sandbox.path("run").exists(),
            "{options} leaves a run folder"
        );
    }
}

#[test]
fn devices_and_precisions_that_are_not_there_are_refused() {
    let sandbox = Sandbox::with_pictures();
    let error = sandbox
        .train("run", "--device cuda")
        .failed(1, &["--device cuda", "--device cpu"]);
    assert!(error.stderr.lines().last().unwrap().starts_with("error: "));
    sandbox
        .train("run", "--precision float16")
        .failed(2, &["--precision", "float16", "bfloat16"]);
    sandbox
        .train("run", "--device tpu")
        .failed(2, &["--device", "tpu", "cuda:N"]);
    assert!(!sandbox.path("run").exists());
}

#[test]
fn folded_and_old_exports_train_like_any_other() {
    let sandbox = Sandbox::with_pictures();
    for (file, network) in [
        ("resnet18-folded.onnx", "resnet18"),
        ("mxnet-resnet18v1.onnx", "resnet18"),
        ("resnet34-folded.onnx", "resnet34"),
        ("resnet50-kept.onnx", "resnet50"),
    ] {
        let weights = golden_onnx(file);
        let options = format!("--weights {weights} --freeze false --epochs 1");
        sandbox.train(file, &options).succeeded();
        let manifest = sandbox.json(&format!("{file}/model/manifest.json"));
        assert_eq!(manifest["network"]["architecture"], network, "{file}");
        let predict = ["predict", "--model", file, "data/test/2.bee/0.jpg"];
        sandbox.run(&predict).succeeded();
    }
}

#[cfg(not(feature = "s3"))]
#[test]
fn addresses_in_s3_need_a_build_that_knows_them() {
    let sandbox = Sandbox::with_pictures();
    for (flag, value) in [
        ("--local-data", "s3://bucket/data"),
        ("--weights", "s3://bucket/x.onnx"),
        ("--output", "s3://bucket/out"),
    ] {
        let options = format!("{flag} {value}");
        sandbox
            .train("run", &options)
            .failed(1, &["without S3 support", "--features s3"]);
    }
    sandbox
        .train("run", "--local-data s3://")
        .failed(1, &["s3://bucket/folder"]);
}
