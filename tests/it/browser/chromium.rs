//! A headless Chromium that opens pages and tells what is wrong with them (`probe.js`).

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

/// Names it has in distributions.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A phone's and a desktop's width.
pub(super) const WIDTHS: [u32; 2] = [390, 1280];

/// What readers prefer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Light,
    Dark,
}

/// What is wrong with a page, opened one way.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Seen {
    pub(super) page: String,
    pub(super) width: u32,
    /// Whether scripts ran.
    pub(super) scripts: bool,
    pub(super) complaints: Vec<String>,
}

/// The browser, if one is installed.
pub(super) struct Chromium(&'static str);

impl Chromium {
    /// Looks for one. `SMMU_SIM_CHROMIUM=required` makes it a failure that there is none.
    pub(super) fn find() -> Option<Self> {
        let answers = |name: &&&str| {
            let asked = Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            asked.is_ok_and(|status| status.success())
        };
        let found = NAMES.iter().find(answers);
        let required = std::env::var_os("SMMU_SIM_CHROMIUM").is_some_and(|v| v == "required");
        assert!(found.is_some() || !required, "no Chromium is installed");
        found.copied().map(Self)
    }

    /// Opens each page at each width, with and without scripts.
    pub(super) fn look(&self, pages: &[(&str, String)], scheme: Scheme) -> Vec<Seen> {
        let directory = tempfile::tempdir().unwrap();
        let given = serde_json::json!({
            "pages": pages,
            "widths": WIDTHS,
            "dark": scheme == Scheme::Dark,
        });
        // Within an element a "<" could end it.
        let given = given.to_string().replace('<', "\\u003c");
        let harness = format!(
            "<!doctype html><html><body><script id=\"given\" type=\"application/json\">{given}</script>\
             <script>{}</script></body></html>",
            include_str!("probe.js")
        );
        let file: PathBuf = directory.path().join("harness.html");
        fs::write(&file, harness).unwrap();
        let preferred = match scheme {
            Scheme::Dark => 0,
            Scheme::Light => 1,
        };
        let output = Command::new(self.0)
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-quic", "--disable-sync", "--no-first-run"])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND",
            ])
            .arg(format!(
                "--user-data-dir={}",
                directory.path().join("profile").display()
            ))
            .arg(format!("--blink-settings=preferredColorScheme={preferred}"))
            .args([
                "--window-size=1400,1000",
                "--virtual-time-budget=600000",
                "--dump-dom",
            ])
            .arg(format!("file://{}", file.display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let dom = String::from_utf8(output.stdout).unwrap();
        let found = dom
            .split_once("<pre id=\"found\">")
            .and_then(|(_, rest)| rest.split_once("</pre>"));
        let Some((found, _)) = found else {
            panic!(
                "the probe did not end: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        let found = found
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&nbsp;", "\u{a0}")
            .replace("&amp;", "&");
        serde_json::from_str(&found).unwrap()
    }
}
