//! Pieces of HTML. Text goes in raw and comes out escaped; what is HTML already has the type [`Html`].

use std::fmt::Write;

use super::quantity::percent;

/// HTML that may be put into the page as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Html(pub(super) String);

/// A column of a table.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// Left-aligned words.
    Text(&'static str),
    /// Right-aligned figures.
    Number(&'static str),
}

impl Html {
    /// Text, escaped.
    pub(super) fn text(text: &str) -> Self {
        let mut html = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#39;"),
                // HTML has no place for control characters; a line break in a file name must be seen.
                control if control.is_control() => {
                    // Writing to a string cannot fail.
                    let _ = write!(html, "{}", control.escape_default());
                }
                other => html.push(other),
            }
        }
        Self(html)
    }

    /// `self` inside an element. `tag` may carry constant attributes: `p class="note"`.
    pub(super) fn within(self, tag: &str) -> Self {
        let name = tag.split(' ').next().unwrap_or(tag);
        Self(format!("<{tag}>{}</{name}>", self.0))
    }

    /// `self` with `other` after it.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.push_str(&other.0);
        self
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(parts: I) -> Self {
        parts.into_iter().fold(Self::default(), Self::and)
    }
}

/// A titled section; nothing if there is nothing in it.
pub(super) fn section(title: &str, body: Html) -> Html {
    if body.0.is_empty() {
        return body;
    }
    Html::text(title).within("h2").and(body).within("section")
}

/// Bars with a name and a percentage each; `fraction` of 1 fills the width.
pub(super) fn bars<'a>(rows: impl IntoIterator<Item = (&'a String, f64)>) -> Html {
    let rows: Html = rows
        .into_iter()
        .map(|(name, fraction)| {
            let name = Html::text(name).within("dt");
            let bar = Html(format!("<i style=\"width:{:.1}%\"></i>", fraction * 100.0));
            let value = Html::text(&percent(fraction)).within("span");
            name.and(bar.within("div").and(value).within("dd"))
        })
        .collect();
    rows.within("dl class=\"bars\"")
}

/// A table that scrolls by itself where the screen is narrow; nothing if there are no rows.
pub(super) fn table<const N: usize>(
    columns: [Column; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Html {
    let cell = |tag: &str, column: Column, text: &str| match column {
        Column::Text(_) => Html::text(text).within(tag),
        Column::Number(_) => Html::text(text).within(&format!("{tag} class=\"number\"")),
    };
    let head: Html = columns
        .iter()
        .map(|column| match column {
            Column::Text(title) | Column::Number(title) => cell("th", *column, title),
        })
        .collect();
    let body: Html = rows
        .into_iter()
        .map(|row| {
            let cells: Html = columns
                .iter()
                .zip(&row)
                .map(|(column, text)| cell("td", *column, text))
                .collect();
            cells.within("tr")
        })
        .collect();
    if body.0.is_empty() {
        return body;
    }
    let head = head.within("tr").within("thead");
    head.and(body.within("tbody"))
        .within("table")
        .within("div class=\"scroll\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            Html::text("<b>\"&'\n🐶").0,
            "&lt;b&gt;&quot;&amp;&#39;\\n🐶"
        );
    }

    #[test]
    fn elements_close_by_name() {
        assert_eq!(
            Html::text("x").within("p class=\"note\"").0,
            "<p class=\"note\">x</p>"
        );
    }

    #[test]
    fn a_table_escapes_its_cells() {
        let html = table(
            [Column::Text("class"), Column::Number("n")],
            [["<i>".into(), "3".into()]],
        )
        .0;
        assert!(
            html.contains("<td>&lt;i&gt;</td><td class=\"number\">3</td>"),
            "{html}"
        );
    }

    #[test]
    fn what_is_empty_leaves_no_trace() {
        assert_eq!(section("Skipped", table([Column::Text("file")], [])).0, "");
    }
}
