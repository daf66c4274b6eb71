//! The form of an answer, as a client asks for it.
//!
//! Input: the `Accept` header of a request. Output: an [`Answer`]. Of the forms that the header admits, the one with the
//! greatest weight wins, then the one named most exactly, then the one named first.

use std::cmp::Reverse;

use super::error::shorten;

/// Forms of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Lists of probabilities.
    Json,
    /// JSON with class names, the most probable classes and the model.
    Verbose,
    /// An array of NumPy, float32, `[n, classes]`.
    Npy,
    /// A line of probabilities for each picture.
    Csv,
    /// A line `{"prediction": [..]}` for each picture.
    JsonLines,
}

/// The client accepts nothing that is offered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`Accept: {asked}` admits nothing that is offered: {OFFERED}")]
pub struct AcceptError {
    asked: String,
}

impl AcceptError {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        406
    }
}

const OFFERED: &str = "application/json, application/json; verbose=1, application/x-npy, text/csv, \
     application/jsonlines";
const ALL: [Answer; 5] = [
    Answer::Json,
    Answer::Verbose,
    Answer::Npy,
    Answer::Csv,
    Answer::JsonLines,
];

/// Chooses a form; `default` where the header is missing or does not care.
///
/// # Errors
/// Nothing that is offered is accepted.
pub fn negotiate(accept: Option<&str>, default: Answer) -> Result<Answer, AcceptError> {
    let accept = accept.unwrap_or_default();
    let ranges: Vec<Range> = accept
        .split(',')
        .filter(|range| !range.trim().is_empty())
        .map(Range::parse)
        .collect();
    if ranges.is_empty() {
        return Ok(default);
    }
    let others = ALL.into_iter().filter(|answer| *answer != default);
    std::iter::once(default)
        .chain(others)
        .enumerate()
        .filter_map(|(order, answer)| {
            // What is named most exactly says the weight of a form, so that one can be excluded from `*/*`.
            let (position, range) = ranges
                .iter()
                .enumerate()
                .filter(|(_, range)| range.admits(answer, default))
                .max_by_key(|(position, range)| (range.exactness(), Reverse(*position)))?;
            let rank = (
                range.weight,
                range.exactness(),
                Reverse(position),
                Reverse(order),
            );
            (range.weight > 0).then_some((rank, answer))
        })
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, answer)| answer)
        .ok_or_else(|| AcceptError {
            asked: shorten(accept),
        })
}

/// One alternative of the header.
struct Range {
    /// In lower case, without parameters.
    name: String,
    verbose: Option<bool>,
    /// In thousandths.
    weight: u16,
}

impl Range {
    fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
        let mut range = Range {
            name: parts.next().unwrap_or_default(),
            verbose: None,
            weight: 1000,
        };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((&part, ""));
            let value = value.trim().trim_matches('"');
            match name.trim() {
                "q" => {
                    let weight = value.parse().unwrap_or(1.0f32);
                    range.weight = (weight.clamp(0.0, 1.0) * 1000.0) as u16;
                }
                "verbose" => range.verbose = Some(matches!(value, "1" | "true")),
                _ => {}
            }
        }
        range
    }

    fn admits(&self, answer: Answer, default: Answer) -> bool {
        let name = self.name.as_str();
        let is_named = match answer {
            Answer::Json | Answer::Verbose => name == "application/json",
            Answer::Npy => name == "application/x-npy",
            Answer::Csv => name == "text/csv",
            Answer::JsonLines => {
                matches!(name, "application/jsonlines" | "application/x-jsonlines")
            }
        };
        let is_meant = match (name, answer) {
            ("*/*", _) => true,
            ("text/*", answer) => answer == Answer::Csv,
            ("application/*", answer) => answer != Answer::Csv,
            _ => is_named,
        };
        // Without a word about it, only `*/*` and the like leave verbosity to the server.
        let verbose = self
            .verbose
            .unwrap_or(!is_named && default == Answer::Verbose);
        match answer {
            Answer::Verbose => is_meant && verbose,
            Answer::Json => is_meant && !verbose,
            _ => is_meant,
        }
    }

    fn exactness(&self) -> u8 {
        match self.name.as_str() {
            "*/*" => 0,
            name if name.ends_with("/*") => 1,
            _ if self.verbose.is_none() => 2,
            _ => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_asked_for_is_chosen() {
        use Answer::*;
        for (accept, default, expected) in [
            ("", Csv, Csv),
            ("*/*", Npy, Npy),
            ("*/*", Verbose, Verbose),
            ("application/*", Csv, Json),
            ("application/*", JsonLines, JsonLines),
            ("application/*", Verbose, Verbose),
            ("text/*", Json, Csv),
            ("application/json", Npy, Json),
            ("application/json", Verbose, Json),
            ("APPLICATION/JSON; charset=utf-8", Npy, Json),
            ("application/json; verbose=1", Json, Verbose),
            ("application/json;verbose=true;q=0.5", Json, Verbose),
            ("application/json; verbose=0", Verbose, Json),
            ("application/x-npy", Json, Npy),
            ("application/x-jsonlines", Json, JsonLines),
            ("application/jsonlines", Json, JsonLines),
            ("text/html, application/xhtml+xml, */*;q=0.8", Json, Json),
            ("application/json;q=0.1, text/csv;q=0.2", Json, Csv),
            ("text/csv, application/x-npy", Json, Csv),
            ("*/*, text/csv", Json, Csv),
            ("application/json;q=0, */*", Json, Npy),
            ("image/png, text/csv", Json, Csv),
            (
                "application/json;q=0.1, application/json;verbose=1",
                Json,
                Verbose,
            ),
        ] {
            let chosen = negotiate(Some(accept), default);
            assert_eq!(chosen, Ok(expected), "{accept}");
        }
        assert_eq!(negotiate(None, Npy), Ok(Npy));
    }

    #[test]
    fn what_is_not_offered_is_406() {
        for accept in [
            "text/html",
            "application/json;q=0",
            "json",
            "image/*, video/*",
        ] {
            let error = negotiate(Some(accept), Answer::Json).unwrap_err();
            assert!(error.to_string().contains("application/x-npy"), "{error}");
            assert_eq!(error.status(), 406);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(accept in "[a-z*/;=q.0-9, \"]{0,60}|\\PC{0,40}") {
            let _ = negotiate(Some(&accept), Answer::Json);
        }
    }
}
