//! The examples are short, run, and print what `examples/output` says; the book shows both.
//! `SNAPSHOTS=overwrite` writes what they print now.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Lines an example may have: what fits a screen.
const LONGEST: usize = 60;

/// Names of the examples, in reading order.
fn names() -> Vec<String> {
    let entries = fs::read_dir(Path::new(ROOT).join("examples")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn examples_are_in_reading_order_and_fit_a_screen() {
    let names = names();
    assert!(names.len() >= 11);
    for (name, letter) in names.iter().zip('a'..) {
        let text = fs::read_to_string(Path::new(ROOT).join(format!("examples/{name}.rs"))).unwrap();
        assert!(name.starts_with(&format!("{letter}_")), "{name}");
        assert!(
            text.contains(&format!("`cargo run --example {name}`")),
            "{name}"
        );
        let lines = text.lines().count();
        assert!(lines < LONGEST, "{name}: {lines} lines");
    }
}

/// Builds the examples as this test was built, so that only they are compiled, and says where they
/// are.
fn build() -> PathBuf {
    let own = Path::new(env!("CARGO_BIN_EXE_smmu-sim"));
    let folder = own.parent().unwrap();
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "test",
        "release" => "bench",
        other => other,
    };
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--offline",
            "--examples",
            "--profile",
            profile,
        ])
        .arg("--target-dir")
        .arg(folder.parent().unwrap())
        .current_dir(ROOT)
        .status()
        .unwrap();
    assert!(status.success());
    folder.join("examples")
}

#[test]
fn every_example_runs_and_prints_what_the_book_shows() {
    let folder = build();
    for name in names() {
        let output = Command::new(folder.join(&name)).current_dir(ROOT).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let expected = Path::new(ROOT).join(format!("examples/output/{name}.txt"));
        let expected = snapbox::Data::read_from(&expected, None).raw();
        snapbox::Assert::new()
            .action_env("SNAPSHOTS")
            .eq(printed, expected);
    }
}

#[test]
fn pages_include_what_is_there() {
    let mut included = 0;
    let mut folders = vec![Path::new(ROOT).join("docs/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let page = entry.unwrap().path();
            if page.is_dir() {
                folders.push(page);
                continue;
            }
            if page.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = fs::read_to_string(&page).unwrap();
            for place in text.split("{{#include ").skip(1) {
                let place = place.split("}}").next().unwrap();
                let mut parts = place.split(':');
                let file = page.parent().unwrap().join(parts.next().unwrap());
                let lines = fs::read_to_string(&file).unwrap_or_else(|error| {
                    panic!("{}: {place}: {error}", page.display());
                });
                // Programs are shown from what they use on.
                if let Some(first) = parts.next() {
                    let first: usize = first.parse().unwrap();
                    let line = lines.lines().nth(first - 1).unwrap();
                    assert!(line.starts_with("use "), "{place}: {line:?}");
                }
                included += 1;
            }
        }
    }
    assert!(included > 10);
}
