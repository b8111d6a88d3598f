//! The pages: one of each kind, and of each kind the awkward ones.

use std::process::Command;

use smmu_sim::explain::{Explained, html};
use smmu_sim::scenario::default_scenario;

/// Every page by name.
pub(super) fn all() -> Vec<(&'static str, String)> {
    vec![
        ("walk-nested", walk_nested()),
        ("walk-snapshot", walk_snapshot()),
        ("unwind", unwind()),
        ("simulate", simulate()),
    ]
}

/// A file that `smmu-sim` writes when run with its path in place of `FILE`.
fn written(arguments: &[&str], name: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display().to_string();
    let file = directory.path().join(name);
    let arguments = arguments.iter().map(|argument| match *argument {
        "FILE" => file.display().to_string(),
        "DIR" => place.clone(),
        other => other.to_owned(),
    });
    let output = Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.code().is_some_and(|code| code < 2),
        "{output:?}"
    );
    std::fs::read_to_string(file).unwrap()
}

/// 24 accesses, and a fault on the way.
fn walk_nested() -> String {
    let mut scenario = default_scenario().unwrap();
    let explained: Vec<Explained> = scenario
        .steps
        .iter()
        .map(|(_, transaction)| scenario.machine.explain(0, transaction).unwrap())
        .collect();
    html::page("A nested walk", &explained)
}

/// A stage-1 walk, an access beyond the stream table, and a stream that faults at its CD.
fn walk_snapshot() -> String {
    let snapshot = "tests/data/snapshots/own4k_nested.badcd.json";
    let transactions = std::env::temp_dir().join("smmu-sim-browser-transactions");
    std::fs::write(&transactions, "8 r fffc0000\nfffff r 0\n8 w 1234\n").unwrap();
    let from = transactions.display().to_string();
    written(
        &[
            "walk",
            "--snapshot",
            snapshot,
            "--transactions",
            &from,
            "--html",
            "FILE",
        ],
        "walk.html",
    )
}

fn unwind() -> String {
    written(
        &[
            "unwind",
            "--semantics",
            "v13",
            "--topology",
            "0,1,0",
            "--prior",
            "attach 0, attach 1, attach 2",
            "--bound",
            "1",
            "--html",
            "FILE",
        ],
        "unwind.html",
    )
}

fn simulate() -> String {
    written(
        &[
            "simulate",
            "ring",
            "--set",
            "workload.transactions=2000",
            "--out",
            "DIR",
        ],
        "report.html",
    )
}
