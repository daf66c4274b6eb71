//! Small pictures with a few words each.
//!
//! Input: [`Picture`]s. Output: HTML that holds the pictures themselves.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::html::Html;

/// A picture and what is to be said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// An encoded JPEG.
    pub jpeg: Vec<u8>,
    /// What it shows, for those who cannot see it.
    pub alt: String,
    /// Words below it, a line each.
    pub lines: Vec<String>,
}

/// A picture as an `img` element.
pub(super) fn image(picture: &Picture) -> Html {
    let alt = Html::text(&picture.alt).0;
    let data = STANDARD.encode(&picture.jpeg);
    Html(format!(
        "<img alt=\"{alt}\" title=\"{alt}\" src=\"data:image/jpeg;base64,{data}\">"
    ))
}

/// Small pictures side by side; nothing without pictures.
pub(super) fn gallery(pictures: &[Picture]) -> Html {
    side_by_side("div class=\"gallery\"", pictures)
}

/// Large ones.
pub(super) fn large_gallery(pictures: &[Picture]) -> Html {
    side_by_side("div class=\"gallery large\"", pictures)
}

fn side_by_side(tag: &str, pictures: &[Picture]) -> Html {
    if pictures.is_empty() {
        return Html::default();
    }
    let figures: Html = pictures
        .iter()
        .map(|picture| {
            let lines: Html = picture
                .lines
                .iter()
                .map(|line| Html::text(line).within("div"))
                .collect();
            image(picture)
                .and(lines.within("figcaption"))
                .within("figure")
        })
        .collect();
    figures.within(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_carry_their_bytes_and_escaped_words() {
        let picture = Picture {
            jpeg: b"\xff\xd8".to_vec(),
            alt: "a \"dog\"".into(),
            lines: vec!["<b>".into()],
        };
        let html = gallery(&[picture]).0;
        assert!(
            html.contains("src=\"data:image/jpeg;base64,/9g=\""),
            "{html}"
        );
        assert!(
            html.contains("alt=\"a &quot;dog&quot;\"") && html.contains("<div>&lt;b&gt;</div>")
        );
        assert_eq!(gallery(&[]).0, "");
    }
}
