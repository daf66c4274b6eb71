//! Answers.
//!
//! Input: a row of probabilities for each picture. Output: the body of an answer and its content type. Decimals are the
//! shortest that read back as the same float32; JSON, which has no word for them, gets `null` for what is not finite.

use serde::{Serialize, Serializer};

use super::{Answer, Shape};

/// The classes that the columns of an answer stand for.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    pub classes: &'a [String],
    /// How many of the most probable a verbose answer lists.
    pub top_k: usize,
}

/// What a verbose answer says about the model.
#[derive(Clone, Copy, Debug)]
pub struct ModelInfo<'a> {
    /// Of the program that trained it.
    pub version: &'a str,
    pub architecture: &'a str,
    /// When, in UTC, RFC 3339.
    pub created: &'a str,
}

/// Writes an answer: its body and content type. `probabilities` are rows of as many values as there are classes.
pub fn encode(
    answer: Answer,
    shape: Shape,
    probabilities: &[f32],
    labels: &Labels<'_>,
    model: &ModelInfo<'_>,
) -> (Vec<u8>, &'static str) {
    let classes = labels.classes.len().max(1);
    let rows = Rows {
        values: probabilities,
        classes,
    };
    match answer {
        Answer::Json => (json_lists(shape, rows), "application/json"),
        Answer::Verbose => {
            let verbose = Verbose {
                model: Model {
                    version: model.version,
                    architecture: model.architecture,
                    created: model.created,
                    classes: labels.classes.len(),
                },
                predictions: rows.iter().map(|row| Verdict::new(row, labels)).collect(),
            };
            (json(&verbose), "application/json")
        }
        Answer::Npy => (npy(rows), "application/x-npy"),
        Answer::Csv => (csv(rows), "text/csv"),
        Answer::JsonLines => {
            let mut lines = Vec::new();
            for prediction in rows.iter() {
                lines.extend(json(&Line { prediction }));
                lines.push(b'\n');
            }
            (lines, "application/jsonlines")
        }
    }
}

#[derive(Clone, Copy)]
struct Rows<'a> {
    values: &'a [f32],
    classes: usize,
}

impl<'a> Rows<'a> {
    fn iter(&self) -> std::slice::ChunksExact<'a, f32> {
        self.values.chunks_exact(self.classes)
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[derive(Serialize)]
struct Predictions<'a> {
    predictions: Rows<'a>,
}

#[derive(Serialize)]
struct Line<'a> {
    prediction: &'a [f32],
}

#[derive(Serialize)]
struct Verbose<'a> {
    model: Model<'a>,
    predictions: Vec<Verdict<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    version: &'a str,
    architecture: &'a str,
    created: &'a str,
    classes: usize,
}

#[derive(Serialize)]
struct Verdict<'a> {
    top: Vec<Place<'a>>,
    probabilities: &'a [f32],
}

#[derive(Serialize)]
struct Place<'a> {
    index: usize,
    class: &'a str,
    probability: f32,
}

impl<'a> Verdict<'a> {
    fn new(probabilities: &'a [f32], labels: &Labels<'a>) -> Self {
        // The sort is stable, so equals keep the order of their index. Adding 0 makes equals of 0 and -0.
        let mut places: Vec<usize> = (0..probabilities.len()).collect();
        places.sort_by(|&a, &b| (probabilities[b] + 0.0).total_cmp(&(probabilities[a] + 0.0)));
        let place = |index: usize| Place {
            index,
            class: labels.classes.get(index).map_or("", String::as_str),
            probability: probabilities[index],
        };
        Verdict {
            top: places.into_iter().take(labels.top_k).map(place).collect(),
            probabilities,
        }
    }
}

fn json_lists(shape: Shape, rows: Rows<'_>) -> Vec<u8> {
    match shape {
        Shape::One if rows.values.len() == rows.classes => json(rows.values),
        Shape::One | Shape::Many => json(&rows),
        Shape::Instances => json(&Predictions { predictions: rows }),
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    // Writing lists, texts and numbers to memory has no way to fail.
    serde_json::to_vec(value).unwrap_or_default()
}

fn csv(rows: Rows<'_>) -> Vec<u8> {
    let mut lines = Vec::new();
    for row in rows.iter() {
        for (column, value) in row.iter().enumerate() {
            if column > 0 {
                lines.push(b',');
            }
            match value.is_finite() {
                true => lines.extend(json(value)),
                false => lines.extend(value.to_string().to_lowercase().into_bytes()),
            }
        }
        lines.push(b'\n');
    }
    lines
}

/// Byte for byte what `numpy.save` writes.
fn npy(rows: Rows<'_>) -> Vec<u8> {
    /// Header and magic together are a multiple of this.
    const ALIGNED: usize = 64;
    let count = rows.values.len() / rows.classes;
    // NumPy leaves room for the first dimension to grow to 21 digits.
    let room = 21usize.saturating_sub(count.to_string().len());
    let dictionary = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {}), }}{}",
        rows.classes,
        " ".repeat(room)
    );
    let length = (10 + dictionary.len() + 1).next_multiple_of(ALIGNED) - 10;
    let mut bytes = Vec::with_capacity(10 + length + 4 * rows.values.len());
    bytes.extend(b"\x93NUMPY\x01\x00");
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{dictionary:<width$}\n", width = length - 1).bytes());
    for value in rows.iter().flatten() {
        bytes.extend(value.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests;
