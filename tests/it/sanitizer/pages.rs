//! The page of each kind: its scenario is run and its report compared. `SANITIZER_PAGES=overwrite`
//! writes what is reported now.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use smmu::cache::CacheConfig;
use smmu::config::SmmuConfig;
use smmu::sanitize::{Finding, Hints, Kind};

use super::machine::{BLOCK, Machine, Space, Stages};

const SCENARIO: &str = "```scenario\n";
const REPORT: &str = "```report\n";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/src/reference/sanitizer")
}

/// Runs a scenario, one step a line, and gives the findings as people read them.
fn run(scenario: &str) -> String {
    let config = SmmuConfig {
        bbml: 1,
        ..SmmuConfig::full()
    };
    let hints = if scenario.starts_with("hints\n") {
        Hints::On
    } else {
        Hints::Off
    };
    let mut machine = Machine::new(config, &CacheConfig::INFINITE, hints);
    let mut spaces: BTreeMap<String, Space> = BTreeMap::new();
    for line in scenario.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| {
            let word: &str = words[index];
            let digits = word
                .strip_prefix("0x")
                .map(|hex| u64::from_str_radix(hex, 16));
            digits.unwrap_or_else(|| word.parse()).unwrap()
        };
        let stream = || number(1) as u32;
        let space = || spaces[words[1]];
        match *words.first().unwrap_or(&"") {
            "" | "hints" => {}
            "space" => {
                let stages = match words[2] {
                    "stage-1" => Stages::One,
                    "stage-2" => Stages::Two,
                    _ => Stages::Both,
                };
                let made = machine.space(stages, number(4), number(4));
                spaces.insert(words[1].to_owned(), made);
            }
            "attach" => machine.attach(stream(), &spaces[words[2]]),
            "map" => {
                let leaf = space().leaf(number(3));
                machine.set(&space(), number(2), leaf);
            }
            "map-block" => {
                let (space, input) = (space(), number(2));
                let slot = machine.slot(&space, space.outer(), input & !(BLOCK - 1), 21);
                machine.write(slot, space.leaf(number(3)) & !2);
            }
            "unmap" => machine.set(&space(), number(2), 0),
            "invalidate" if words.len() == 2 => machine.tlbi_space(&space()),
            "invalidate" => machine.tlbi_page(&space(), number(2)),
            "invalidate-configuration" => machine.cfgi_ste(stream()),
            "sync" => machine.sync(),
            "clear-ste" => machine.write(machine.ste_at(stream()), 0),
            "rewrite-ste" => {
                let ste = machine.ste(stream(), &spaces[words[2]]);
                machine.store(machine.ste_at(stream()), ste);
            }
            "read" => {
                machine.read(stream(), number(2));
            }
            "write" => {
                machine.write_access(stream(), number(2));
            }
            "quiet" => {
                machine.sanitizer.take_findings();
            }
            step => panic!("{step} is no step"),
        }
    }
    let findings = machine.sanitizer.take_findings();
    let reports: Vec<String> = findings.iter().map(Finding::to_string).collect();
    reports.join("\n") + "\n"
}

/// What stands between `start` and the end of the block.
fn block<'a>(page: &'a str, start: &str) -> &'a str {
    let from = page.find(start).unwrap_or_else(|| panic!("no {start}")) + start.len();
    let length = page[from..].find("```").unwrap();
    &page[from..from + length]
}

#[test]
fn every_kind_has_a_page_whose_scenario_gives_its_report() {
    for name in Kind::NAMES {
        let path = folder().join(format!("{name}.md"));
        let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.starts_with(&format!("# {name}\n")), "{name}");
        let report = run(block(&page, SCENARIO));
        assert!(report.contains(name), "{name}: {report}");
        let told = block(&page, REPORT);
        if report != told && std::env::var_os("SANITIZER_PAGES").is_some_and(|v| v == "overwrite") {
            let old = format!("{REPORT}{told}```");
            let new = format!("{REPORT}{report}```");
            fs::write(&path, page.replace(&old, &new)).unwrap();
            continue;
        }
        assert_eq!(report, told, "{name}");
    }
}

#[test]
fn every_page_is_of_a_kind() {
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(Kind::NAMES.contains(&name.as_str()), "{name}");
    }
}
