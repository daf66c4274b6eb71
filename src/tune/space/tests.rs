//! Spaces as people and SageMaker write them.

use proptest::prelude::*;

use super::*;

fn error(typed: &str) -> String {
    Space::parse(typed).unwrap_err().to_string()
}

fn from_json(json: &str) -> Result<Space, SpaceError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json).unwrap();
    Space::parse(&format!("@{}", file.path().display()))
}

#[test]
fn lists_and_ranges_of_both_kinds() {
    let space = Space::parse(
        "batch_size=8, 32; lr=1e-4..1e-1; epochs=2..10; momentum=0.9..0.99:reverse-log; image-size=32..64:linear;",
    )
    .unwrap();
    let domains: Vec<(&str, &Domain)> = space
        .dimensions
        .iter()
        .map(|d| (d.name.as_str(), &d.domain))
        .collect();
    let list = Domain::Categorical(vec!["8".into(), "32".into()]);
    assert_eq!(domains[0], ("batch-size", &list));
    let (min, max, scaling) = (1e-4, 1e-1, Scaling::Logarithmic);
    let rates = Domain::Continuous { min, max, scaling };
    assert_eq!(domains[1], ("learning-rate", &rates));
    let (min, max, scaling) = (2, 10, Scaling::Linear);
    assert_eq!(
        domains[2],
        ("epochs", &Domain::Integer { min, max, scaling })
    );
    let (min, max, scaling) = (0.9, 0.99, Scaling::ReverseLogarithmic);
    let momentum = Domain::Continuous { min, max, scaling };
    assert_eq!(domains[3], ("momentum", &momentum));
    assert_eq!(space.to_string().parse_again(), space);
}

trait Again {
    fn parse_again(&self) -> Space;
}

impl Again for String {
    fn parse_again(&self) -> Space {
        Space::parse(self).unwrap()
    }
}

#[test]
fn mistakes_are_named() {
    for (typed, parts) in [
        (
            "bach-size=8,32",
            vec!["bach-size", "did you mean 'batch-size'?"],
        ),
        ("batch-size", vec!["NAME=VALUES"]),
        (
            "batch-size=8,many",
            vec!["--batch-size", "many", "whole number"],
        ),
        ("batch-size=8,,32", vec!["a value is missing"]),
        ("batch-size=8,8", vec!["twice"]),
        (
            "batch-size=8;mini-batch-size=16",
            vec!["batch-size", "twice"],
        ),
        ("batch-size=8.5..16", vec!["whole number", "8.5"]),
        ("batch-size=0..16", vec!["--batch-size", "at least 1"]),
        ("learning-rate=0..1:log", vec!["--learning-rate", "above 0"]),
        ("weight-decay=0..1:log", vec!["above 0"]),
        ("weight-decay=0..1:reverse-log", vec!["below 1"]),
        ("learning-rate=1..0.1", vec!["lower end"]),
        ("learning-rate=1e-3..1e-3", vec!["ends differ"]),
        ("learning-rate=1e-4..x", vec!["no number"]),
        (
            "learning-rate=1e-4..1e-1:cubic",
            vec!["cubic", "reverse-log"],
        ),
        ("optimizer=1..2", vec!["optimizer"]),
        (" ; ", vec!["nothing to search"]),
        ("@/no/such/file.json", vec!["/no/such/file.json"]),
    ] {
        let error = error(typed);
        for part in parts {
            assert!(error.contains(part), "{typed}: {part} in {error}");
        }
    }
}

#[test]
fn the_form_of_sagemaker() {
    let ranges = r#"{
        "ContinuousParameterRanges": [{"Name": "learning-rate", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}],
        "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "2", "MaxValue": "10", "ScalingType": "Auto"}],
        "CategoricalParameterRanges": [{"Name": "batch_size", "Values": ["\"8\"", "32"]}]
    }"#;
    let space = from_json(ranges).unwrap();
    let typed = Space::parse("learning-rate=1e-4..0.1:log;epochs=2..10;batch-size=8,32").unwrap();
    assert_eq!(space, typed);
    let request = format!(
        r#"{{"HyperParameterTuningJobName": "x", "HyperParameterTuningJobConfig": {{"ParameterRanges": {ranges}}}}}"#
    );
    assert_eq!(from_json(&request).unwrap(), space);
}

#[test]
fn mistakes_in_a_file_are_named() {
    let range = |kind: &str, body: &str| format!(r#"{{"{kind}ParameterRanges": [{{{body}}}]}}"#);
    for (json, part) in [
        ("[", "not JSON".to_string()),
        (r#"{"Ranges": []}"#, "ParameterRanges".into()),
        ("{}", "nothing to search".into()),
        (
            &range(
                "Continuous",
                r#""Name": "batch-size", "MinValue": "8", "MaxValue": "32""#,
            ),
            "whole number".into(),
        ),
        (
            &range(
                "Integer",
                r#""Name": "batch-size", "MinValue": "8.5", "MaxValue": "32""#,
            ),
            "whole numbers".into(),
        ),
        (
            &range(
                "Continuous",
                r#""Name": "lr", "MinValue": "x", "MaxValue": "32""#,
            ),
            "no number".into(),
        ),
        (
            &range(
                "Continuous",
                r#""Name": "lr", "MinValue": "0.1", "MaxValue": "0.2", "ScalingType": "Cubic""#,
            ),
            "ReverseLogarithmic".into(),
        ),
        (
            &range("Categorical", r#""Name": "batch-sizes", "Values": ["8"]"#),
            "did you mean 'batch-size'?".into(),
        ),
    ] {
        let error = from_json(json).unwrap_err().to_string();
        assert!(error.contains(&part), "{json}: {part} in {error}");
    }
}

#[test]
fn combinations_are_counted_and_listed_once() {
    let space = Space::parse("batch-size=8,32;learning-rate=0.001,0.003,0.01").unwrap();
    assert_eq!(space.combinations(), Some(6));
    let all: std::collections::BTreeSet<Values> = (0..6).map(|i| space.combination(i)).collect();
    assert_eq!(all.len(), 6);
    assert_eq!(space.combination(1)["learning-rate"], "0.003");
    assert_eq!(space.combination(3)["batch-size"], "32");
    assert_eq!(space.probes().len(), 6);
    let open = Space::parse("learning-rate=0.1..0.2").unwrap();
    assert_eq!(open.combinations(), None);
    assert_eq!(open.probes().len(), 2);
    assert_eq!(
        Space::parse("seed=1..4000000000").unwrap().combinations(),
        None
    );
}

#[test]
fn places_between_0_and_1() {
    let space =
        Space::parse("optimizer=sgd,adam,adamw;epochs=1..4;learning-rate=1e-4..1e-2").unwrap();
    let at = |dimension: usize, unit: f64| space.dimensions[dimension].at(unit);
    assert_eq!(
        [at(0, 0.0), at(0, 0.5), at(0, 1.0)],
        ["sgd", "adam", "adamw"]
    );
    // Four numbers, a quarter each.
    assert_eq!(
        [at(1, 0.0), at(1, 0.24), at(1, 0.26), at(1, 1.0)],
        ["1", "1", "2", "4"]
    );
    assert_eq!(
        [at(2, 0.0), at(2, 0.5), at(2, 1.0)],
        ["0.0001", "0.001", "0.01"]
    );
    assert_eq!(space.dimensions[0].unit("adam"), Some(0.5));
    assert_eq!(space.dimensions[0].unit("lion"), None);
    assert_eq!(space.dimensions[1].unit("1"), Some(0.125));
}

proptest! {
    #[test]
    fn no_text_panics(typed in "[a-z0-9=,;.:@ \\-]{0,60}") {
        let _ = Space::parse(&typed);
    }

    #[test]
    fn ranges_come_back_as_they_are_shown(low in 1e-6..1.0f64, factor in 1.001..1e5f64, kind in 0usize..3) {
        let scaling = ["", ":linear", ":log"][kind];
        let space = Space::parse(&format!("learning-rate={low}..{}{scaling}", low * factor)).unwrap();
        prop_assert_eq!(Space::parse(&space.to_string()).unwrap(), space);
    }

    #[test]
    fn every_place_gives_a_value_within_the_ends(unit in 0.0..=1.0f64, low in 1u32..1000, width in 1u32..1000) {
        let space = Space::parse(&format!("batch-size={low}..{};weight-decay=0..0.5:reverse-log", low + width)).unwrap();
        let values = space.at(&[unit, unit]);
        let batch: u32 = values["batch-size"].parse().unwrap();
        prop_assert!((low..=low + width).contains(&batch));
        let decay: f64 = values["weight-decay"].parse().unwrap();
        prop_assert!((0.0..=0.5).contains(&decay));
        // A value and its place belong together.
        let again = space.at(&[space.dimensions[0].unit(&values["batch-size"]).unwrap(), 0.0]);
        prop_assert_eq!(&again["batch-size"], &values["batch-size"]);
    }
}
