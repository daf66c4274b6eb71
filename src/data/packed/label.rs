//! What a label says.
//!
//! Input: the text of a manifest's attribute or the number of an im2rec record. Output: a [`Label`].

use serde_json::Value;

/// The class of an image, before there is a list of classes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    Index(usize),
    Name(String),
}

/// Why a text is not a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLabel {
    Empty,
    /// A JSON list or object.
    Compound,
}

/// The label in a record of text: a JSON string, or anything else as it stands.
pub(super) fn from_text(text: &str) -> Result<Label, NoLabel> {
    let text = text.trim();
    let name = match serde_json::from_str(text) {
        Ok(Value::String(name)) => name.trim().to_string(),
        Ok(Value::Array(_) | Value::Object(_)) => return Err(NoLabel::Compound),
        _ => text.to_string(),
    };
    match name.is_empty() {
        true => Err(NoLabel::Empty),
        false => Ok(Label::Name(name)),
    }
}

/// The class index in an im2rec record, where the number is one.
pub(super) fn from_number(number: f32) -> Option<Label> {
    // Beyond 2^24 not every whole number is an f32, so neighbouring classes would be mixed up.
    let is_index = number.fract() == 0.0 && (0.0..16_777_216.0).contains(&number);
    is_index.then_some(Label::Index(number as usize))
}

/// A whole number as `3` or `3.000`. Not `03`: that is how codes and names are written.
pub(super) fn whole_number(text: &str) -> Option<usize> {
    let (number, zeros) = text.split_once('.').unwrap_or((text, "0"));
    let is_plain = number.bytes().all(|b| b.is_ascii_digit())
        && (number == "0" || !number.starts_with('0'))
        && !zeros.is_empty()
        && zeros.bytes().all(|b| b == b'0');
    is_plain.then(|| number.parse().ok()).flatten()
}

/// Makes all labels of one source speak the same language: indices if every one is a whole number, else names.
pub(super) fn unify<'a>(labels: impl Iterator<Item = &'a mut Label>) {
    let mut labels: Vec<&mut Label> = labels.collect();
    let index = |label: &Label| match label {
        Label::Index(index) => Some(*index),
        Label::Name(name) => whole_number(name),
    };
    let indices: Option<Vec<usize>> = labels.iter().map(|label| index(label)).collect();
    match indices {
        Some(indices) => {
            for (label, index) in labels.iter_mut().zip(indices) {
                **label = Label::Index(index);
            }
        }
        None => {
            for label in &mut labels {
                if let Label::Index(index) = label {
                    **label = Label::Name(index.to_string());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Label {
        Label::Name(text.into())
    }

    #[test]
    fn texts_as_a_manifest_has_them() {
        assert_eq!(from_text(" dog\n"), Ok(name("dog")));
        assert_eq!(from_text("\"dog \\u00e4\""), Ok(name("dog ä")));
        assert_eq!(from_text("\"3\""), Ok(name("3")));
        assert_eq!(from_text("3"), Ok(name("3")));
        assert_eq!(from_text("\"half"), Ok(name("\"half")));
        for empty in ["", " \n", "\"\"", "\" \""] {
            assert_eq!(from_text(empty), Err(NoLabel::Empty), "{empty:?}");
        }
        assert_eq!(from_text("[1, 0]"), Err(NoLabel::Compound));
        assert_eq!(from_text("{\"a\":1}"), Err(NoLabel::Compound));
    }

    #[test]
    fn numbers_of_im2rec() {
        assert_eq!(from_number(3.0), Some(Label::Index(3)));
        assert_eq!(from_number(-0.0), Some(Label::Index(0)));
        for bad in [2.5, -1.0, f32::NAN, f32::INFINITY, 1e30] {
            assert_eq!(from_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn whole_numbers() {
        assert_eq!(whole_number("3"), Some(3));
        assert_eq!(whole_number("30.000000"), Some(30));
        assert_eq!(whole_number("0"), Some(0));
        for text in [
            "",
            ".0",
            "3.",
            "03",
            "-1",
            "2.5",
            "1e3",
            "99999999999999999999",
        ] {
            assert_eq!(whole_number(text), None, "{text:?}");
        }
    }

    #[test]
    fn one_word_makes_all_labels_names() {
        let mut numbers = [name("2"), name("10.0"), Label::Index(3)];
        unify(numbers.iter_mut());
        assert_eq!(
            numbers,
            [Label::Index(2), Label::Index(10), Label::Index(3)]
        );
        let mut mixed = [name("2"), name("dog"), Label::Index(3)];
        unify(mixed.iter_mut());
        assert_eq!(mixed, [name("2"), name("dog"), name("3")]);
    }
}
