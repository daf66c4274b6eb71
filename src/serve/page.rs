//! The page of a local server, on which a photo is dropped and its classes are shown.
//!
//! Input: the files in `page/`. Output: [`PAGE`], one HTML document that needs nothing but the server it came from:
//!
//! ```text
//! GET  /model        {"classes":["001.Affenpinscher",…],"examples":{"3":["/examples/0003-1.jpg",…],…},
//!                     "architecture":…,"version":…,"created":…,"metrics":{"validation:accuracy":0.73,…}}
//! GET  /examples/…   the photos that were named there
//! POST /invocations  bytes of a photo, with `Accept: application/json; verbose=1`
//!                    {"model":{"version":…,…},"predictions":[{"top":[{"index":3,"class":…,"probability":0.93},…],
//!                     "probabilities":[one per class]}]}, or {"error":"…"} with another status than 200
//! ```

/// The whole document. Its own security policy lets it load from this server only.
pub const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>\n",
    include_str!("page/style.css"),
    include_str!("page/card.css"),
    "</style>\n</head>\n",
    include_str!("page/body.html"),
    "<script>\n\"use strict\";\n",
    include_str!("page/words.js"),
    include_str!("page/server.js"),
    include_str!("page/chart.js"),
    include_str!("page/card.js"),
    include_str!("page/main.js"),
    "</script>\n</body>\n</html>\n",
);

#[cfg(test)]
mod tests {
    use super::PAGE;

    #[test]
    fn it_is_whole_and_loads_nothing_from_elsewhere() {
        assert!(PAGE.starts_with("<!doctype html>") && PAGE.ends_with("</html>\n"));
        let elsewhere = ["http://", "https://"];
        let lines = PAGE
            .lines()
            .filter(|line| elsewhere.iter().any(|e| line.contains(e)));
        let foreign: Vec<&str> = lines
            .filter(|line| !line.contains("http://www.w3.org/"))
            .collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        assert!(PAGE.contains("default-src 'none'"));
    }

    #[test]
    fn no_text_is_ever_read_as_html() {
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!PAGE.contains(way), "{way}");
        }
    }
}
