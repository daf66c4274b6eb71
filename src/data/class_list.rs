//! A list of class names that is given, not found: where one host, or one shard, does not see every class.
//!
//! Input: a file with a name a line, a JSON list or `class_to_idx` object, or names with commas between. Output: the names in
//! the order of the network's outputs.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use super::error::DataError;

/// Reads what `--classes` or the hyperparameter `classes` says.
///
/// # Errors
/// A file that cannot be read, fewer than two names, one name twice, indices with gaps.
pub fn class_list(text: &str) -> Result<Vec<String>, DataError> {
    let text = text.trim();
    let failed = |message: String| DataError::ClassList {
        given: text.chars().take(80).collect(),
        message,
    };
    let path = Path::new(text);
    // A list of names is no path that exists, save by an odd chance; and a text too long for a path is none either.
    let content = match path.is_file() {
        true => std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?,
        false => text.to_string(),
    };
    let names = match serde_json::from_str(&content) {
        Ok(Value::Array(list)) => list.iter().map(plain).collect(),
        Ok(Value::Object(indices)) => by_index(indices).map_err(failed)?,
        _ if path.is_file() => content
            .lines()
            .map(|line| line.trim().to_string())
            .collect(),
        _ => content
            .split(',')
            .map(|name| name.trim().to_string())
            .collect::<Vec<_>>(),
    };
    let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    if names.len() < 2 {
        return Err(failed(format!(
            "it holds {} class names, a classifier needs two; expected an existing file with a name a line, a JSON list, or a,b,c",
            names.len()
        )));
    }
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(failed(format!("it holds {name:?} twice"))),
        None => Ok(names),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Names of `{"name": index}` or `{"index": "name"}`, both of which are in use.
fn by_index(map: serde_json::Map<String, Value>) -> Result<Vec<String>, String> {
    let mut entries = Vec::new();
    for (key, value) in map {
        match (&value, key.parse::<usize>()) {
            (Value::Number(index), _) => {
                let index = index
                    .as_u64()
                    .ok_or_else(|| format!("{key:?} has the index {value}"))?;
                entries.push((index as usize, key));
            }
            (Value::String(name), Ok(index)) => entries.push((index, name.clone())),
            _ => {
                return Err(format!(
                    "{key:?}: {value} is no pair of a name and an index"
                ));
            }
        }
    }
    entries.sort();
    match entries
        .iter()
        .enumerate()
        .find(|(place, (index, _))| place != index)
    {
        Some((place, _)) => Err(format!("no class has the index {place}")),
        None => Ok(entries.into_iter().map(|(_, name)| name).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_the_same_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("classes.txt");
        let forms = [
            ("ant\nbee\r\n\nwild cat\n", true),
            (r#"["ant", "bee", "wild cat"]"#, true),
            (r#"{"bee": 1, "ant": 0, "wild cat": 2}"#, true),
            (r#"{"1": "bee", "0": "ant", "2": "wild cat"}"#, true),
            (r#"["ant", "bee", "wild cat"]"#, false),
            ("ant, bee,wild cat", false),
        ];
        for (text, in_file) in forms {
            std::fs::write(&file, text).unwrap();
            let given = if in_file {
                file.to_str().unwrap()
            } else {
                text
            };
            assert_eq!(
                class_list(given).unwrap(),
                ["ant", "bee", "wild cat"],
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_list_says_why() {
        for (text, said) in [
            ("no/such/file.txt", "existing file"),
            ("a,a", "twice"),
            (r#"{"a": 0, "b": 2}"#, "index 1"),
            (r#"{"a": -1, "b": 0}"#, "-1"),
            (r#"{"a": true}"#, "no pair"),
        ] {
            let error = class_list(text).unwrap_err().to_string();
            assert!(
                error.contains(said) && error.contains("--classes"),
                "{text}: {error}"
            );
        }
    }
}
