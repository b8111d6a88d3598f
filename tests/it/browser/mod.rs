//! Every report, opened in Chromium where one is installed: at a phone's and a desktop's width, light
//! and dark, with scripts and without. `SMMU_SIM_CHROMIUM=required` makes it a failure that none is.
//!
//! `SMMU_SIM_PAGES=DIR cargo test --test it browser::` leaves the pages in a directory, to look at.

mod chromium;
mod faults;
mod pages;

use chromium::{Chromium, Scheme, WIDTHS};

#[test]
fn every_report_is_readable_on_phone_and_desktop_light_and_dark() {
    let pages = pages::all();
    if let Some(directory) = std::env::var_os("SMMU_SIM_PAGES") {
        for (name, html) in &pages {
            let path = std::path::Path::new(&directory).join(format!("{name}.html"));
            std::fs::write(path, html).unwrap();
        }
    }
    let Some(chromium) = Chromium::find() else {
        return;
    };
    let mut complaints = Vec::new();
    for scheme in [Scheme::Light, Scheme::Dark] {
        let seen = chromium.look(&pages, scheme);
        assert_eq!(seen.len(), pages.len() * WIDTHS.len() * 2);
        for seen in seen {
            let scripts = if seen.scripts { "" } else { " without scripts" };
            let way = format!("{} at {}{scripts}, {scheme:?}", seen.page, seen.width);
            complaints.extend(
                seen.complaints
                    .iter()
                    .map(|words| format!("{way}: {words}")),
            );
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
