//! The shell of every page: one style sheet, light and dark by the reader's preference, one script
//! that adds to what can be read without it, nothing from elsewhere.

use std::fmt::{self, Write};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A browser that obeys it fetches nothing, whatever a report might hold.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// A page under way: what is written to it is its body, as HTML.
///
/// ```
/// use smmu_sim::report::page::{Page, escape};
/// use std::fmt::Write;
///
/// let mut page = Page::new("walk", "Stream 8, read of 0xb000", "One translation.");
/// write!(page, "<p>{}</p>", escape("a < b"))?;
/// let html = page.finish();
/// assert!(html.contains("<p>a &lt; b</p>") && html.ends_with("</html>\n"));
/// # Ok::<(), std::fmt::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    html: String,
}

impl Page {
    /// A page of the command or room `maker`; `title` and `lead`, a sentence or two on how to read it,
    /// are text. No lead is `""`.
    pub fn new(maker: &str, title: &str, lead: &str) -> Self {
        let (maker, title) = (escape(maker), escape(title));
        let mut page = Self {
            html: String::new(),
        };
        let head = [
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
            "<meta http-equiv=\"Content-Security-Policy\" content=\"",
            POLICY,
            "\">\n<title>",
            &title,
            " \u{b7} smmu-sim</title>\n<style>\n",
            STYLE,
            "</style>\n</head>\n<body>\n<header>\n<p class=\"kicker\">smmu-sim ",
            &maker,
            "</p>\n<h1>",
            &title,
            "</h1>\n",
        ];
        for part in head {
            page.html.push_str(part);
        }
        if !lead.is_empty() {
            page.html.push_str("<p>");
            page.html.push_str(&escape(lead));
            page.html.push_str("</p>\n");
        }
        page.html.push_str("</header>\n<main>\n");
        page
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        let foot = [
            "</main>\n<footer>smmu-sim ",
            env!("CARGO_PKG_VERSION"),
            "</footer>\n<script>\n",
            SCRIPT,
            "</script>\n</body>\n</html>\n",
        ];
        for part in foot {
            self.html.push_str(part);
        }
        self.html
    }
}

impl Write for Page {
    fn write_str(&mut self, html: &str) -> fmt::Result {
        self.html.push_str(html);
        Ok(())
    }
}

/// Text as HTML and SVG want it, in content and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::{Page, SCRIPT, STYLE, escape};

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape("<a href='x' title=\"y\">&"),
            "&lt;a href=&#39;x&#39; title=&quot;y&quot;&gt;&amp;"
        );
        let html = Page::new("<m>", "<t>", "<l>").finish();
        assert!(!html.contains("<m>") && !html.contains("<t>") && !html.contains("<l>"));
    }

    #[test]
    fn neither_style_nor_script_ends_early_or_asks_for_anything() {
        for part in [STYLE, SCRIPT] {
            for word in [
                "</",
                "url(",
                "@import",
                "http:",
                "https:",
                "fetch(",
                "innerHTML",
            ] {
                assert!(!part.contains(word), "{word}");
            }
        }
    }
}
