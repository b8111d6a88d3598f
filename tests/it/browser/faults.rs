//! Pages with one thing wrong each: the probe sees it. A complaint that can never be made would be
//! no test of the reports.

use super::chromium::{Chromium, Scheme};

/// A page that is as it should be, but for what is put into it.
fn page(body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>t</title>\
         <style>:root{{color-scheme:light dark}}body{{font:16px sans-serif;color:CanvasText;background:Canvas}}\
         .hidden{{display:none}}</style></head>\n<body><h1>h</h1>{body}</body></html>"
    )
}

/// What is wrong, and how its complaint begins.
const FAULTS: &[(&str, &str)] = &[
    ("<p style=\"width:1500px\">wide</p>", "overflow as opened"),
    (
        "<details><summary>s</summary><p style=\"width:1500px\">w</p></details>",
        "overflow unfolded",
    ),
    (
        "<div style=\"overflow:hidden;width:50px\"><p style=\"width:90px\">cut</p></div>",
        "clipped",
    ),
    ("<p style=\"font-size:9px\">tiny</p>", "small: 9.0"),
    (
        "<svg width=\"50\" viewBox=\"0 0 100 100\"><title>t</title><text y=\"20\" font-size=\"20\">t</text></svg>",
        "small: 10.0",
    ),
    (
        "<p style=\"color:#888;background:#999\">faint</p>",
        "contrast: 1.2",
    ),
    (
        "<svg width=\"99\" height=\"99\"><title>t</title><rect width=\"99\" height=\"99\" fill=\"#333\"/><text y=\"20\" fill=\"#222\">t</text></svg>",
        "contrast: 1.2",
    ),
    ("<p><a href=\"page.html\">away</a></p>", "outside: A href"),
    ("<p><a href=\"#nowhere\">away</a></p>", "dead link"),
    (
        "<p><img src=\"file:///nowhere.png\" alt=\"\"></p>",
        "outside: IMG src",
    ),
    ("<p id=\"a\">a</p><p id=\"a\">a</p>", "id twice"),
    ("<h1>h</h1>", "headings"),
    (
        "<table><tr><td>1</td></tr></table>",
        "table without headers",
    ),
    ("<svg></svg>", "drawing without a name"),
    (
        "<p data-shows=\"x\">p</p><p id=\"x\">x</p>",
        "not reached by keyboard",
    ),
    ("<p data-shows=\"x\" tabindex=\"0\">p</p>", "shows nothing"),
    (
        "<pre style=\"overflow:auto;width:50px\">a long line that scrolls</pre>",
        "scrolls, not by keyboard",
    ),
];

/// The same for pages whose scripts run.
const SCRIPTED: &[(&str, &str)] = &[
    ("<script>nothing.here()</script>", "error: "),
    ("<script>console.warn('w')</script>", "console: w"),
    (
        "<meta http-equiv=\"Content-Security-Policy\" content=\"img-src 'none'\"><script>new Image().src = 'http://a.invalid/'</script>",
        "outside: ",
    ),
    (
        "<section><p data-panel>none</p><p data-shows=\"x\" tabindex=\"0\">p</p><p data-shows=\"x\" tabindex=\"0\">p</p><p id=\"x\">x</p></section>",
        "focusin shows not x",
    ),
    (
        "<section><p data-panel>none</p><p data-tells=\"words\">p</p></section>",
        "mouseover tells nothing",
    ),
    (
        "<div data-steps><p data-step=\"1\">1</p><p data-step=\"2\">2</p></div>",
        "steps: no buttons",
    ),
    (
        "<div data-steps class=\"stepper\"><p data-step=\"1\">1</p><p data-step=\"2\">2</p><button disabled>b</button><button>f</button><output>1 of 2</output></div>",
        "steps: the last is not reached",
    ),
];

#[test]
fn the_probe_sees_every_fault_it_looks_for() {
    let Some(chromium) = Chromium::find() else {
        return;
    };
    let all = || FAULTS.iter().chain(SCRIPTED);
    let mut pages: Vec<(&str, String)> = all().map(|(body, _)| (*body, page(body))).collect();
    pages.push(("fine", page("<p>fine</p>")));
    let seen = chromium.look(&pages, Scheme::Light);
    let complaints = |name: &str, scripts: bool| -> Vec<&String> {
        let seen = seen
            .iter()
            .filter(|seen| seen.page == name && seen.scripts == scripts);
        seen.flat_map(|seen| &seen.complaints).collect()
    };
    assert_eq!(complaints("fine", true), Vec::<&String>::new());
    for (body, begins) in all() {
        let found = complaints(body, true);
        assert!(
            found.iter().any(|words| words.starts_with(begins)),
            "{body}: {begins}: {found:?}"
        );
    }
    for (body, begins) in FAULTS {
        let found = complaints(body, false);
        assert!(
            found.iter().any(|words| words.starts_with(begins)),
            "{body}: {begins}: {found:?}"
        );
    }
}

#[test]
fn the_probe_sees_a_page_that_does_not_follow_the_scheme() {
    let Some(chromium) = Chromium::find() else {
        return;
    };
    // Dark ink whatever the reader prefers: fine on light, not on the dark canvas.
    let fixed = page("<p style=\"color:#222\">ink</p>");
    for (scheme, clean) in [(Scheme::Light, true), (Scheme::Dark, false)] {
        let seen = chromium.look(&[("fixed", fixed.clone())], scheme);
        let complaints: Vec<_> = seen.iter().flat_map(|seen| &seen.complaints).collect();
        assert_eq!(complaints.is_empty(), clean, "{scheme:?}: {complaints:?}");
        assert!(
            complaints.iter().all(|words| words.starts_with("contrast")),
            "{complaints:?}"
        );
    }
}
