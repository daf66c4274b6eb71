use serde_json::{Value, json};

use super::*;

const MODEL: ModelInfo<'static> = ModelInfo {
    version: "1.2.3",
    architecture: "resnet18",
    created: "2026-01-02T03:04:05Z",
};

fn text(
    answer: Answer,
    shape: Shape,
    probabilities: &[f32],
    top_k: usize,
) -> (String, &'static str) {
    let classes = ["ant", "bee", "cat"].map(String::from);
    let labels = Labels {
        classes: &classes,
        top_k,
    };
    let (body, content_type) = encode(answer, shape, probabilities, &labels, &MODEL);
    (String::from_utf8(body).unwrap(), content_type)
}

const TWO: [f32; 6] = [0.1, 0.7, 0.2, 1.0, 0.0, 1e-20];

#[test]
fn every_form_is_as_documented() {
    let one = &TWO[..3];
    for (answer, shape, values, expected) in [
        (Answer::Json, Shape::One, one, "[0.1,0.7,0.2]"),
        (Answer::Json, Shape::Many, one, "[[0.1,0.7,0.2]]"),
        (
            Answer::Json,
            Shape::Many,
            &TWO,
            "[[0.1,0.7,0.2],[1.0,0.0,1e-20]]",
        ),
        (
            Answer::Json,
            Shape::One,
            &TWO,
            "[[0.1,0.7,0.2],[1.0,0.0,1e-20]]",
        ),
        (
            Answer::Json,
            Shape::Instances,
            one,
            "{\"predictions\":[[0.1,0.7,0.2]]}",
        ),
        (
            Answer::Csv,
            Shape::Many,
            &TWO,
            "0.1,0.7,0.2\n1.0,0.0,1e-20\n",
        ),
        (
            Answer::JsonLines,
            Shape::Many,
            &TWO,
            "{\"prediction\":[0.1,0.7,0.2]}\n{\"prediction\":[1.0,0.0,1e-20]}\n",
        ),
    ] {
        assert_eq!(text(answer, shape, values, 1).0, expected);
    }
    let types = [
        Answer::Json,
        Answer::Verbose,
        Answer::Csv,
        Answer::JsonLines,
    ]
    .map(|answer| text(answer, Shape::One, one, 1).1);
    let expected = [
        "application/json",
        "application/json",
        "text/csv",
        "application/jsonlines",
    ];
    assert_eq!(types, expected);
}

#[test]
fn a_verbose_answer_names_classes_and_orders_ties_by_index() {
    let (body, _) = text(Answer::Verbose, Shape::One, &[0.25, 0.5, 0.25], 2);
    let expected = json!({
        "model": {"version": "1.2.3", "architecture": "resnet18", "created": "2026-01-02T03:04:05Z", "classes": 3},
        "predictions": [{
            "top": [
                {"index": 1, "class": "bee", "probability": 0.5},
                {"index": 0, "class": "ant", "probability": 0.25},
            ],
            "probabilities": [0.25, 0.5, 0.25],
        }],
    });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
    let (body, _) = text(Answer::Verbose, Shape::Many, &[0.0, -0.0, f32::NAN], 9);
    let answer: Value = serde_json::from_str(&body).unwrap();
    let top = &answer["predictions"][0]["top"];
    assert_eq!([&top[1]["index"], &top[2]["index"]], [&json!(0), &json!(1)]);
    assert_eq!(answer["predictions"][0]["probabilities"][2], Value::Null);
}

#[test]
fn what_is_not_finite_is_null_in_json_and_a_word_in_csv() {
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    assert_eq!(
        text(Answer::Json, Shape::One, &values, 1).0,
        "[null,null,null]"
    );
    assert_eq!(
        text(Answer::Csv, Shape::One, &values, 1).0,
        "nan,inf,-inf\n"
    );
}

proptest::proptest! {
    #[test]
    fn decimals_read_back_as_the_same_number(values in proptest::collection::vec(proptest::num::f32::NORMAL, 3)) {
        let (lists, _) = text(Answer::Json, Shape::One, &values, 1);
        proptest::prop_assert_eq!(&serde_json::from_str::<Vec<f32>>(&lists).unwrap(), &values);
        let (line, _) = text(Answer::Csv, Shape::One, &values, 1);
        let read: Vec<f32> = line.trim().split(',').map(|v| v.parse().unwrap()).collect();
        proptest::prop_assert_eq!(&read, &values);
    }
}
