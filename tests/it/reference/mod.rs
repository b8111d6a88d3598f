//! The reference pages of the book: tables between markers are made from the code and compared with
//! it. `SNAPSHOTS=overwrite cargo test --test it reference` writes them anew.

mod capabilities;
mod command_line;
mod commands;
mod effects;
mod events;
mod figures;
mod illegal;
mod registers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use smmu::spec::Layout;

fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src")
}

/// Compares a generated part of a page with what stands between its markers.
#[track_caller]
fn is_made(page: &str, part: &str, text: &str) {
    let path = book().join(page);
    let old = fs::read_to_string(&path).unwrap();
    let begin = format!("<!-- {part}: made by tests/it/reference -->\n");
    let end = format!("<!-- end of {part} -->\n");
    let (before, rest) = old
        .split_once(&begin)
        .unwrap_or_else(|| panic!("{page}: no line {begin}"));
    let (_, after) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("{page}: no line {end}"));
    let new = format!("{before}{begin}\n{}\n\n{end}{after}", text.trim_end());
    snapbox::assert_data_eq!(new, snapbox::Data::read_from(&path, None).raw());
}

/// What a command writes to standard output.
fn smmu_sim(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("COLUMNS")
        .output()
        .unwrap();
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// Fields of a layout with their positions, in order.
fn positions(layout: &Layout) -> String {
    let fields: Vec<String> = layout
        .fields
        .iter()
        .map(|field| match (field.msb, field.lsb) {
            (msb, lsb) if msb == lsb => format!("{} [{lsb}]", field.name),
            (msb, lsb) => format!("{} [{msb}:{lsb}]", field.name),
        })
        .collect();
    fields.join(", ")
}

/// Words in backticks that are a path of this repository.
fn named_paths(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|word| {
        ["tests/", "sim/", "docs/", "examples/", "benches/"]
            .iter()
            .any(|folder| word.starts_with(folder))
            && !word.contains(['*', ' '])
    })
}

#[test]
fn files_that_pages_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![book()];
    let mut missing = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).unwrap();
                let named = text.lines().flat_map(named_paths);
                missing.extend(
                    named
                        .filter(|name| !root.join(name).exists())
                        .map(|name| format!("{}: {name}", path.display())),
                );
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
