//! Scores as people and spreadsheets read them.
//!
//! Input: [`Scores`] and class names. Output: text for the terminal and `confusion.csv`.

use std::fmt::Write as _;
use std::path::Path;

use super::{Confusion, Scores};

/// Precision, recall, F1 and support, a line per class, aligned.
pub fn class_table(scores: &Scores, classes: &[String]) -> String {
    let width = classes
        .iter()
        .map(|c| c.chars().count())
        .max()
        .unwrap_or(0)
        .max(5);
    let mut text = format!("{:width$}  precision  recall      f1  support\n", "class");
    for (class, s) in classes.iter().zip(scores.per_class()) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{class:width$}  {:>9.3}  {:>6.3}  {:>6.3}  {:>7}",
            s.precision, s.recall, s.f1, s.support
        );
    }
    text
}

/// Writes the confusion matrix: a row per true class, a column per predicted class, names in the first row and column.
///
/// # Errors
/// The file cannot be written.
pub fn write_confusion(
    path: &Path,
    confusion: &Confusion,
    classes: &[String],
) -> std::io::Result<()> {
    let mut text = String::from("true\\predicted");
    for class in classes {
        text.push(',');
        text.push_str(&csv_field(class));
    }
    text.push('\n');
    for (class, row) in classes.iter().zip(confusion.rows()) {
        text.push_str(&csv_field(class));
        for count in row {
            let _ = write!(text, ",{count}");
        }
        text.push('\n');
    }
    crate::files::write_atomically(path, text.as_bytes())
}

/// Quotes a name where RFC 4180 asks for it.
fn csv_field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confusion_csv_quotes_awkward_names() {
        let mut scores = Scores::new(2, 1);
        scores.add(&[0.0, 1.0], 0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("confusion.csv");
        write_confusion(
            &path,
            &scores.confusion,
            &["a,b".into(), "say \"hi\"".into()],
        )
        .unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            text,
            "true\\predicted,\"a,b\",\"say \"\"hi\"\"\"\n\"a,b\",0,1\n\"say \"\"hi\"\"\",0,0\n"
        );
    }

    #[test]
    fn the_table_has_a_line_per_class() {
        let table = class_table(&Scores::new(2, 1), &["ant".into(), "bee".into()]);
        assert_eq!(table.lines().count(), 3);
        assert!(table.contains("bee"));
    }
}
