//! The page as a whole.

use super::*;

fn epoch(number: usize) -> EpochMetrics {
    EpochMetrics {
        epoch: number,
        epochs: 3,
        global_step: number * 10,
        learning_rate: 0.001,
        train_loss: 2.0 / number as f64,
        train_accuracy: 0.5 + 0.1 * number as f64,
        valid_loss: 2.1 / number as f64,
        valid_accuracy: 0.45 + 0.1 * number as f64,
        valid_top_k: Some((5, 0.9)),
        train_images_per_second: 52.0,
        valid_images_per_second: 150.0,
        seconds: 60.0,
        peak_memory_bytes: Some(1 << 30),
    }
}

fn score(class: &str, f1: f64) -> ClassScore {
    ClassScore {
        class: class.into(),
        precision: 0.5,
        recall: 0.5,
        f1,
        support: 10,
    }
}

fn report() -> Report {
    Report {
        title: "Dogs <script>alert(1)</script>".into(),
        created: "2026-01-02 03:04 UTC".into(),
        configuration: vec![Setting {
            name: "epochs".into(),
            value: "3".into(),
            source: "command line".into(),
        }],
        splits: vec![SplitRow {
            split: "train".into(),
            images: 20,
            fewest_per_class: 8,
            most_per_class: 12,
        }],
        epochs: vec![epoch(1), epoch(2), epoch(3)],
        best_epoch: Some(2),
        test: Some(TestMetrics {
            loss: 0.8,
            accuracy: 0.7654,
            top_k: Some((5, 0.95)),
            images: 20,
            seconds: 2.0,
        }),
        confusion: Some(Confusion {
            split: "test".into(),
            classes: vec!["<b>".into(), "\"quoted\" & 🐶".into(), "plain".into()],
            counts: vec![vec![5, 2, 0], vec![3, 6, 0], vec![0, 2, 9]],
        }),
        per_class: vec![
            score("good", 0.9),
            score("bad", 0.1),
            score("never seen", f64::NAN),
        ],
        skipped: vec![SkippedFile {
            path: "a\nb.jpg".into(),
            reason: "truncated".into(),
        }],
        environment: vec![("burn".into(), "0.22.1".into())],
        command: vec![
            "sagemaker-burn".into(),
            "--local-data".into(),
            "my dogs".into(),
        ],
        ..Default::default()
    }
}

#[test]
fn names_from_outside_never_become_markup() {
    let html = page::render(&report());
    assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    assert!(
        html.contains("&lt;b&gt;")
            && html.contains("&quot;quoted&quot; &amp; 🐶")
            && html.contains(r"a\nb.jpg")
    );
}

#[test]
fn the_page_needs_no_other_file() {
    let html = page::render(&report());
    for reference in ["src=", "href=", "url(", "@import", "<link"] {
        assert!(!html.contains(reference), "{reference}");
    }
}

#[test]
fn every_part_of_the_report_is_on_the_page() {
    let html = page::render(&report());
    for words in [
        "76.5 %",
        "epoch 2",
        "command line",
        "smallest class",
        "truncated",
        "0.22.1",
        "1.00 GiB",
        "3 min 0 s",
    ] {
        assert!(html.contains(words), "{words}");
    }
    assert!(html.contains("--local-data &#39;my dogs&#39;"));
}

#[test]
fn elements_are_closed() {
    let html = page::render(&report());
    for element in [
        "table",
        "tr",
        "td",
        "th",
        "section",
        "figure",
        "svg",
        "div",
        "dl",
        "h2",
        "figcaption",
        "main",
    ] {
        let opened = html.matches(&format!("<{element}>")).count()
            + html.matches(&format!("<{element} ")).count();
        assert_eq!(
            opened,
            html.matches(&format!("</{element}>")).count(),
            "{element}"
        );
        assert!(opened > 0, "{element}");
    }
}

#[test]
fn an_empty_report_is_a_page_without_sections() {
    let html = page::render(&Report {
        title: "Nothing".into(),
        ..Report::default()
    });
    assert!(
        html.contains("<h1>Nothing</h1>") && !html.contains("<section>"),
        "{html}"
    );
}

#[test]
fn the_most_frequent_mistake_comes_first() {
    let report = report();
    let pairs = report.confusion.as_ref().unwrap().most_confused(2);
    let found: Vec<(&str, &str, u64)> = pairs
        .iter()
        .map(|pair| (pair.truth, pair.predicted, pair.count))
        .collect();
    assert_eq!(
        found,
        [("\"quoted\" & 🐶", "<b>", 3), ("<b>", "\"quoted\" & 🐶", 2)]
    );
}

#[test]
fn the_worst_class_comes_first() {
    let html = page::render(&report());
    let place = |class: &str| html.find(&format!("<td>{class}</td>")).unwrap();
    assert!(place("never seen") < place("bad") && place("bad") < place("good"));
}

#[test]
fn a_page_replaces_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    write(&path, &Report::default()).unwrap();
    write(&path, &report()).unwrap();
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .ends_with("</html>\n")
    );
    assert!(write(&folder.path().join("no/report.html"), &report()).is_err());
}
