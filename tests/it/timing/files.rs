//! What `simulate --out` leaves: complete, self-contained, and readable by programs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use smmu_sim::simulate::output::FILES;

fn simulate(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
        .args(["simulate", "random", "--out", directory.to_str().unwrap()])
        .args(["--set", "workload.transactions=3000"])
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_run_leaves_settings_figures_and_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [
        "--check",
        "--set",
        "machine.streams=2",
        "--set",
        "tcu.walk_slots=3",
    ];
    let shown = simulate(directory.path(), &arguments);
    let names: Vec<String> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), FILES.len(), "{names:?}");
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(read("summary.txt"), shown);
    let result = json(&directory.path().join("result.json"));
    assert_eq!(result["schema_version"], 1);
    assert_eq!(result["complete"], true);
    assert_eq!(result["settings"]["tcu"]["walk_slots"], 3);
    assert_eq!(result["totals"]["transactions_count"], 3000);
    assert_eq!(result["functional"]["transactions_count"], 3000);
    assert_eq!(result["streams"].as_array().unwrap().len(), 2);
    // The resolved settings are a configuration that gives the same result.
    let again = tempfile::tempdir().unwrap();
    let settings = directory.path().join("settings.toml");
    simulate(
        again.path(),
        &["--config", settings.to_str().unwrap(), "--check"],
    );
    assert_eq!(json(&again.path().join("result.json")), result);
    let page = read("report.html");
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(!page.contains("https:") && !page.contains("src="));
    let rows: Vec<String> = read("streams.csv").lines().map(str::to_owned).collect();
    assert_eq!(rows.len(), 3);
    let columns = rows[0].split(',').count();
    assert!(rows.iter().all(|row| row.split(',').count() == columns));
}

/// One source, two pictures: what the trace holds of the first transactions is what the page draws.
#[test]
fn a_timeline_draws_the_slices_of_the_trace() {
    let directory = tempfile::tempdir().unwrap();
    simulate(
        directory.path(),
        &["--trace-first", "100", "--set", "machine.streams=3"],
    );
    let trace = json(&directory.path().join("trace.json"));
    let page = std::fs::read_to_string(directory.path().join("timeline.html")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap().iter();
    let drawn = events.filter(|event| {
        let begins = event["ph"] == "b" || event["ph"] == "X";
        begins
            && event["args"]["transaction"]
                .as_u64()
                .is_some_and(|index| index < 64)
    });
    let titles: Vec<String> = drawn
        .map(|event| {
            let number = |key: &str| event[key].as_u64().unwrap();
            let index = event["args"]["transaction"].as_u64().unwrap();
            let name = event["name"].as_str().unwrap();
            let what = if number("pid") == 6 {
                "command"
            } else {
                "transaction"
            };
            format!("{name}|{}|{what} {index},", number("ts"))
        })
        .collect();
    assert!(titles.len() > 64, "{}", titles.len());
    assert_eq!(page.matches("<title>").count() - 1, titles.len());
    for title in &titles {
        let [name, begin, whose] = title.split('|').collect::<Vec<_>>()[..] else {
            unreachable!()
        };
        let is_there = page
            .lines()
            .flat_map(|line| line.split("<title>"))
            .any(|bar| {
                bar.starts_with(&format!("{name}: "))
                    && bar.contains(&format!(", from {begin} to "))
                    && bar.contains(whose)
            });
        assert!(is_there, "{title}");
    }
    assert_eq!(page.matches("class=\"whole\"").count(), 64);
}

/// Chrome's trace event format: every asynchronous slice that begins ends, inside its parent.
#[test]
fn a_perfetto_trace_nests_each_step_in_its_transaction() {
    let directory = tempfile::tempdir().unwrap();
    simulate(directory.path(), &["--trace-first", "50"]);
    let trace = json(&directory.path().join("trace.json"));
    let events = trace["traceEvents"].as_array().unwrap();
    let mut open: BTreeMap<(u64, String), u64> = BTreeMap::new();
    let mut whole: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut steps: Vec<(u64, u64, u64)> = Vec::new();
    for event in events {
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        let number = |key: &str| event[key].as_u64().unwrap();
        match text("ph").as_str() {
            "b" => {
                assert!(
                    open.insert((number("id"), text("name")), number("ts"))
                        .is_none()
                );
            }
            "e" => {
                let (id, name) = (number("id"), text("name"));
                let begin = open.remove(&(id, name.clone())).unwrap();
                let end = number("ts");
                assert!(begin <= end);
                let is_whole = name.contains("hit") && !name.contains("slot")
                    || name.ends_with("walk")
                    || ["merged", "configuration_miss", "fault", "bypass"].contains(&name.as_str());
                if is_whole {
                    whole.insert(id, (begin, end));
                } else {
                    steps.push((id, begin, end));
                }
            }
            "X" => assert!(number("dur") > 0),
            _ => {}
        }
    }
    assert!(open.is_empty());
    assert_eq!(whole.len(), 50);
    let mut spent: BTreeMap<u64, u64> = BTreeMap::new();
    for (id, begin, end) in steps {
        let (from, to) = whole[&id];
        assert!(from <= begin && end <= to, "step of {id}");
        *spent.entry(id).or_default() += end - begin;
    }
    // The steps account for every cycle of the transaction.
    for (id, (begin, end)) in whole {
        assert_eq!(
            spent.get(&id).copied().unwrap_or(0),
            end - begin,
            "transaction {id}"
        );
    }
}
