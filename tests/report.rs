//! Reports of real runs, also in a real browser.

use std::process::Command;

use crate::main_job::run::{Sandbox, finish, python_with};

#[test]
fn a_report_has_every_section_and_its_pictures() {
    let sandbox = Sandbox::with_pictures();
    // Hardly trained, so that there are mistakes.
    let options = "--freeze false --learning-rate 0.00001 --epochs 1";
    sandbox.train("run", options).succeeded();
    let html = sandbox.text("run/report.html");
    for section in [
        "Epochs",
        "What the rules found",
        "Where the time went",
        "Mistakes",
        "Calibration",
        "Classes",
        "Data",
        "Training images",
        "Configuration",
        "Environment",
        "Make it again",
    ] {
        assert!(html.contains(&format!("<h2>{section}</h2>")), "{section}");
    }
    // A batch of training images, and mistakes with what they were taken for.
    assert!(
        html.matches("data:image/jpeg;base64,").count() > 8,
        "no mistakes are shown"
    );
    assert!(html.contains("taken for") && html.contains("% sure"));
    assert!(html.contains("augmentation `crop`"));
    assert!(
        !html.contains("<script") && !html.contains("src=\"http") && !html.contains("href="),
        "a page of its own"
    );
}

#[test]
fn predictions_get_a_page() {
    let sandbox = Sandbox::with_model();
    std::fs::write(sandbox.path("broken.jpg"), "no photo").unwrap();
    let arguments = [
        "predict",
        "--model",
        "run",
        "--report",
        "page.html",
        "data/test/2.bee/0.jpg",
        "broken.jpg",
    ];
    sandbox.run(&arguments).failed(1, &["broken.jpg"]);
    let html = sandbox.text("page.html");
    for part in [
        "Grad-CAM",
        "The whole distribution",
        "Photos of",
        "broken.jpg",
        "2.bee",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // The photo, the photo with its map, and two examples of two classes.
    assert_eq!(html.matches("data:image/jpeg;base64,").count(), 6);
    sandbox
        .run(&[
            "predict",
            "--model",
            "run",
            "--report",
            "no/page.html",
            "data/test/2.bee/0.jpg",
        ])
        .failed(1, &["--report", "no/page.html"]);
}

#[test]
fn nothing_overflows_in_a_browser() {
    let browser = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".into());
    if !Command::new(&browser)
        .arg("--version")
        .output()
        .is_ok_and(|found| found.status.success())
    {
        println!("skipped: there is no {browser}");
        return;
    }
    let Some(python) = python_with(&["websocket"]) else {
        return;
    };
    let sandbox = Sandbox::with_model();
    let photo = "data/test/2.bee/0.jpg";
    sandbox
        .run(&["predict", "--model", "run", "--report", "page.html", photo])
        .succeeded();
    let mut check = Command::new(python);
    check
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/scripts/check_report.py"
        ))
        .args(["run/report.html", "page.html", "screenshots"])
        .current_dir(sandbox.root());
    finish(check).succeeded();
}
