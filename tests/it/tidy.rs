//! The tree itself: who may depend on whom, orphan files, citations, links, words. Each failure
//! lists every place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines a file may have; more is two files.
const LONGEST: usize = 500;

/// Files that are longer, and why.
const LONG: &[(&str, &str)] = &[
    ("sim/smmu/src/mem/ram.rs", "a third of it are its tests"),
    ("sim/smmu/src/spec/event.rs", "one row a field"),
    ("tests/it/illegal.rs", "one case a rule"),
    ("tests/it/layout.rs", "tables of exceptions"),
    (
        "tests/it/support/oracle/mod.rs",
        "its choices are listed first",
    ),
    ("tests/it/support/oracle/walk.rs", "one walk, spelled out"),
    (
        "tests/it/support/strategies.rs",
        "one generator a structure",
    ),
];

/// Which workspace crates a crate may use (ARCHITECTURE.md, "Parts").
const LAYERS: &[(&str, &[&str])] = &[
    ("smmu", &[]),
    ("iommu_core", &[]),
    ("arm_smmu_v3", &["smmu", "iommu_core"]),
    ("vfio_type1", &["iommu_core"]),
];

/// What the model crates must not touch: the host's clock, files and terminal, and whatever has
/// no fixed order.
const FOREIGN: &[&str] = &[
    "std::time",
    "std::fs",
    "std::io",
    "std::env",
    "std::net",
    "HashMap",
    "HashSet",
    "println!",
    "print!",
    "rand::",
];

/// Words that promise what code should show, or hide what it does.
const BANNED: &[&str] = &["simply", "basically", "obviously", "todo", "fixme", "xxx"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `folder` whose names end in `.extension`, by path relative to the root, sorted.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(root()).unwrap().to_str().unwrap();
            if relative.starts_with("target") || relative.starts_with(".git/") {
                continue;
            }
            if path.is_dir() {
                folders.push(path.clone());
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(relative.to_owned());
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<String> {
    ["sim", "tests", "benches", "examples"]
        .into_iter()
        .flat_map(|folder| files(folder, "rs"))
        .collect()
}

/// Lines of code: what stands before `//`.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
}

#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn crates_depend_only_on_what_lies_left_of_them() {
    let mut complaints = Vec::new();
    for (name, allowed) in LAYERS {
        let manifest = read(&root().join("sim").join(name).join("Cargo.toml"));
        for needed in ["publish = false", "[lints]\nworkspace = true"] {
            if !manifest.contains(needed) {
                complaints.push(format!("sim/{name}/Cargo.toml: no {needed:?}"));
            }
        }
        for (other, _) in LAYERS {
            if other == name || allowed.contains(other) {
                continue;
            }
            if manifest.contains(&format!("\n{other}")) {
                complaints.push(format!("sim/{name}/Cargo.toml depends on {other}"));
            }
            for file in files(&format!("sim/{name}"), "rs") {
                for (number, line) in code(&read(&root().join(&file))) {
                    if line.contains(&format!("{other}::")) {
                        complaints.push(format!("{file}:{number} uses {other}"));
                    }
                }
            }
        }
    }
    assert!(read(&root().join("Cargo.toml")).contains("unsafe_code = \"forbid\""));
    none(&complaints);
}

#[test]
fn model_crates_know_no_host() {
    let mut complaints = Vec::new();
    for (name, _) in LAYERS {
        for file in files(&format!("sim/{name}"), "rs") {
            for (number, line) in code(&read(&root().join(&file))) {
                for word in FOREIGN.iter().filter(|word| line.contains(**word)) {
                    complaints.push(format!("{file}:{number}: {word}"));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn rooms_of_the_model_keep_apart() {
    // (files, what they may not use, why)
    let rules: &[(&str, &[&str], &str)] = &[
        (
            "sim/smmu/src/spec",
            &[
                "crate::walk",
                "crate::fetch",
                "crate::mem",
                "crate::perm",
                "crate::attr",
                "crate::config",
                "crate::fault",
                "crate::smmu",
            ],
            "layouts hold no behaviour",
        ),
        (
            "sim/smmu/src/attr",
            &["PhysMem", "Observer", "Walker"],
            "attributes are pure functions",
        ),
        (
            "sim/smmu/src/perm.rs",
            &["PhysMem", "Observer", "Walker"],
            "permissions are pure functions",
        ),
        (
            "sim/smmu/src/walk",
            &["Ram", "AbortInjector"],
            "walks see memory as PhysMem",
        ),
        (
            "sim/smmu/src/fetch",
            &["Ram", "AbortInjector"],
            "fetches see memory as PhysMem",
        ),
        (
            "tests/it/support/oracle",
            &["smmu::", "super::super", "crate::"],
            "the oracle shares nothing with the model",
        ),
    ];
    let all = sources();
    let mut complaints = Vec::new();
    for (room, forbidden, why) in rules {
        let mut seen = 0;
        for file in all.iter().filter(|file| file.starts_with(room)) {
            seen += 1;
            for (number, line) in code(&read(&root().join(file))) {
                for word in forbidden.iter().filter(|word| mentions(line, word)) {
                    complaints.push(format!("{file}:{number}: {word} ({why})"));
                }
            }
        }
        assert!(seen > 0, "{room} has gone");
    }
    none(&complaints);
}

/// Whether `word` occurs in `line` and not as part of a longer name.
fn mentions(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && (word.ends_with(':') || !after.is_some_and(part))
    })
}

#[test]
fn every_source_file_is_part_of_a_target() {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut pending: Vec<String> = ["sim/lib.rs", "sim/main.rs", "tests/it/main.rs"]
        .map(str::to_owned)
        .to_vec();
    pending.extend(
        LAYERS
            .iter()
            .map(|(name, _)| format!("sim/{name}/src/lib.rs")),
    );
    pending.extend(files("examples", "rs"));
    pending.extend(
        files("benches", "rs")
            .into_iter()
            .filter(|file| file.matches('/').count() == 1),
    );
    while let Some(file) = pending.pop() {
        if !reached.insert(file.clone()) {
            continue;
        }
        let path = PathBuf::from(&file);
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap();
        let is_root = ["lib", "main", "mod"].contains(&stem) || file.starts_with("benches/");
        let home = if is_root {
            folder.to_owned()
        } else {
            folder.join(stem)
        };
        for (_, line) in code(&read(&root().join(&file))) {
            let Some(name) = line
                .trim()
                .strip_suffix(';')
                .and_then(|line| line.split("mod ").nth(1))
            else {
                continue;
            };
            for candidate in [
                home.join(format!("{name}.rs")),
                home.join(name).join("mod.rs"),
            ] {
                if root().join(&candidate).is_file() {
                    pending.push(candidate.to_str().unwrap().to_owned());
                }
            }
        }
    }
    let orphans: Vec<String> = sources()
        .into_iter()
        .filter(|file| !reached.contains(file))
        .collect();
    none(&orphans);
}

#[test]
fn files_say_what_they_are_and_are_short() {
    let long: BTreeMap<&str, &str> = LONG.iter().copied().collect();
    let mut complaints = Vec::new();
    for file in sources() {
        let text = read(&root().join(&file));
        if !text.starts_with("//!") {
            complaints.push(format!("{file}:1: begins without //!"));
        }
        let lines = text.lines().count();
        match long.get(file.as_str()) {
            None if lines > LONGEST => complaints.push(format!("{file}: {lines} lines")),
            Some(_) if lines <= LONGEST => complaints.push(format!("{file}: no longer long")),
            _ => {}
        }
    }
    none(&complaints);
}

#[test]
fn words_are_chosen() {
    let mut complaints = Vec::new();
    let texts = sources()
        .into_iter()
        .filter(|file| file != "tests/it/tidy.rs")
        .chain(files("docs", "md"))
        .chain(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned));
    for file in texts {
        for (number, line) in (1..).zip(read(&root().join(&file)).lines()) {
            let lower = line.to_lowercase();
            for word in BANNED.iter().filter(|word| mentions(&lower, word)) {
                complaints.push(format!("{file}:{number}: {word}"));
            }
            if line.ends_with(' ') {
                complaints.push(format!("{file}:{number}: trailing blank"));
            }
            for name in [
                "struct Simple",
                "struct Basic",
                "enum Simple",
                "enum Basic",
                "_v2(",
            ] {
                if line.contains(name) {
                    complaints.push(format!("{file}:{number}: {name}"));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn citations_name_a_section() {
    let mut complaints = Vec::new();
    for file in sources().iter().filter(|file| *file != "tests/it/tidy.rs") {
        for (number, line) in (1..).zip(read(&root().join(file)).lines()) {
            for (document, first) in [("IHI 0070 §", '0'..='9'), ("DDI 0487 §", 'A'..='Z')] {
                for (at, _) in line.match_indices(document) {
                    let next = line[at + document.len()..].chars().next();
                    // A string that ends there is a prefix to look for.
                    if !next.is_some_and(|c| c == '"' || first.contains(&c)) {
                        complaints.push(format!("{file}:{number}: {document} without a section"));
                    }
                }
            }
        }
    }
    none(&complaints);
}

/// Names of all tests and functions in the sources.
fn function_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in sources() {
        for (_, line) in code(&read(&root().join(&file))) {
            if let Some(rest) = line.split("fn ").nth(1) {
                let end = rest.find(['(', '<']).unwrap_or(rest.len());
                names.insert(rest[..end].to_owned());
            }
        }
    }
    names
}

/// Words in backticks that look like the name of a test: several words joined by underscores.
fn named_tests(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|name| {
        name.matches('_').count() >= 3 && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn tests_that_pages_name_exist() {
    let names = function_names();
    let mut complaints = Vec::new();
    for file in files("docs", "md") {
        for (number, line) in (1..).zip(read(&root().join(&file)).lines()) {
            for name in named_tests(line).filter(|name| !names.contains(*name)) {
                complaints.push(format!("{file}:{number}: there is no {name}"));
            }
        }
    }
    none(&complaints);
}

#[test]
fn deviations_are_numbered_cited_and_tested() {
    let page = "docs/src/reference/deviations.md";
    let mut listed = BTreeSet::new();
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(read(&root().join(page)).lines()) {
        let Some(id) = line
            .strip_prefix("| D")
            .and_then(|rest| rest.split(' ').next())
        else {
            continue;
        };
        if !listed.insert(id.to_owned()) {
            complaints.push(format!("{page}:{number}: D{id} twice"));
        }
        if named_tests(line).next().is_none() {
            complaints.push(format!("{page}:{number}: D{id} names no test"));
        }
    }
    for file in sources().iter().filter(|file| *file != "tests/it/tidy.rs") {
        for (number, line) in (1..).zip(read(&root().join(file)).lines()) {
            for rest in line.split("deviations.md D").skip(1) {
                let id: String = rest.chars().take_while(char::is_ascii_digit).collect();
                if !listed.contains(&id) {
                    complaints.push(format!("{file}:{number}: D{id} is not listed"));
                }
            }
        }
    }
    assert!(listed.len() > 30);
    none(&complaints);
}

#[test]
fn links_lead_somewhere_and_every_page_is_in_the_summary() {
    let mut complaints = Vec::new();
    let pages = files("docs/src", "md");
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned);
    for file in pages.iter().chain(&top) {
        let path = root().join(file);
        for (number, line) in (1..).zip(read(&path).lines()) {
            for target in line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
            {
                let target = target.split('#').next().unwrap_or_default();
                if target.is_empty() || target.contains("://") {
                    continue;
                }
                if !path.parent().unwrap().join(target).exists() {
                    complaints.push(format!("{file}:{number}: {target} does not exist"));
                }
            }
        }
    }
    let summary = read(&root().join("docs/src/SUMMARY.md"));
    for page in &pages {
        let name = page.strip_prefix("docs/src/").unwrap();
        if name != "SUMMARY.md" && !summary.contains(&format!("({name})")) {
            complaints.push(format!("{page} is not in SUMMARY.md"));
        }
    }
    none(&complaints);
}

#[test]
fn test_data_are_used() {
    let texts: String = sources()
        .iter()
        .chain(&files("docs", "md"))
        .map(|file| read(&root().join(file)))
        .collect();
    let unused: Vec<String> = ["tsv", "gz", "json", "bin"]
        .into_iter()
        .flat_map(|extension| files("tests", extension))
        .filter(|file| {
            let name = Path::new(file).file_name().unwrap().to_str().unwrap();
            !texts.contains(name.split(".json").next().unwrap())
        })
        .collect();
    none(&unused);
}
