//! The page of a search.

use super::*;

fn trial(number: usize, value: Option<f64>, rate: f64) -> TuningTrial {
    TuningTrial {
        number,
        name: format!("study-{number:03}"),
        status: if value.is_some() {
            "Completed"
        } else {
            "Failed"
        }
        .into(),
        has_failed: value.is_none(),
        value,
        epochs: 3,
        seconds: 4.0,
        values: vec![format!("<{rate}>"), "8".into()],
        places: vec![rate, 0.5],
        reason: value.is_none().then(|| "diverged & <gone>".into()),
    }
}

fn tuning() -> Tuning {
    let axis = |name: &str, importance, ticks: &[f64]| Axis {
        name: name.into(),
        importance,
        ticks: ticks.iter().map(|t| (*t, t.to_string())).collect(),
    };
    Tuning {
        title: "study <1>".into(),
        created: "2026-01-02".into(),
        objective: "validation:accuracy".into(),
        maximize: true,
        axes: vec![
            axis("learning-rate", Some(0.75), &[0.0, 1.0]),
            axis("batch-size", None, &[0.25, 0.75]),
        ],
        trials: vec![
            trial(3, Some(0.9), 0.5),
            trial(1, Some(0.7), 0.1),
            trial(2, None, 0.9),
        ],
        best: Some(3),
        fixed: vec![("epochs".into(), "3".into())],
        search: vec![("strategy".into(), "Bayesian".into())],
        command: vec!["sagemaker-burn".into(), "tune".into()],
        next: "sagemaker-burn train --hyperparameters 'a b.json'".into(),
    }
}

#[test]
fn everything_is_there_and_nothing_becomes_markup() {
    let html = render(&tuning());
    for words in [
        "study &lt;1&gt;",
        "diverged &amp; &lt;gone&gt;",
        "&lt;0.5&gt;",
        "0.9000",
        "75.0 %",
        "3, 1 failed",
        "Bayesian",
        "&#39;a b.json&#39;",
        "adjusted eta",
        "polyline class=\"best\"",
    ] {
        assert!(html.contains(words), "{words}");
    }
    for reference in ["<script", "src=", "href=", "url(", "@import"] {
        assert!(!html.contains(reference), "{reference}");
    }
    // Two points and the line of the best; a failed trial has no point.
    assert_eq!(html.matches("<circle").count(), 2);
    assert_eq!(html.matches("class=\"other\"").count(), 1);
    for element in [
        "table", "tr", "td", "th", "section", "figure", "svg", "div", "dl", "text",
    ] {
        let opened = html.matches(&format!("<{element}>")).count()
            + html.matches(&format!("<{element} ")).count();
        assert_eq!(
            opened,
            html.matches(&format!("</{element}>")).count(),
            "{element}"
        );
    }
}

#[test]
fn a_search_in_which_everything_failed_is_a_page() {
    let mut all = tuning();
    all.trials = vec![trial(1, None, 0.5)];
    (all.best, all.axes[0].importance) = (None, None);
    let html = render(&all);
    assert!(
        html.contains("too few trials") && !html.contains("<svg"),
        "{html}"
    );
    assert!(render(&Tuning::default()).contains("<h1>"));
}

#[test]
fn commands_are_quoted_for_a_shell() {
    let words = ["tune", "--space", "lr=1;b=2"].map(String::from);
    assert_eq!(shell_line(&words), "tune --space 'lr=1;b=2'");
}
