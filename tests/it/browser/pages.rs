//! The pages: one of each kind, and of each kind the awkward ones.

use std::process::Command;

use smmu::addr::{Iova, Pa};
use smmu::cache::CacheConfig;
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem as _, Ram};
use smmu::regfile::{Width, register_offset};
use smmu::sanitize::{Sanitizer, SanitizerConfig};
use smmu::{Smmu, Transaction};
use smmu_sim::explain::{Explained, html};
use smmu_sim::report::caches::{CacheView, Ending, Looks};
use smmu_sim::scenario::{DEFAULT, Scenario};

/// Every page by name.
pub(super) fn all() -> Vec<(&'static str, String)> {
    vec![
        ("walk-nested", walk_nested()),
        ("walk-snapshot", walk_snapshot()),
        ("unwind", unwind()),
        ("unwind-clean", unwind_clean()),
        ("simulate", simulated("driver", "report.html")),
        ("timeline", simulated("random", "timeline.html")),
        ("caches-strict", caches("k72_16k_strict", "100", "infinite")),
        ("caches-small", caches("k61_lazy", "40", "small")),
        ("caches-none", caches("own4k_nested", "1", "none")),
        ("caches-scenario", scenario()),
        ("caches-stale", stale()),
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
    let scenario = Scenario::parse("default.toml".into(), DEFAULT.into()).unwrap();
    let report = scenario.run().unwrap();
    let explained: Vec<Explained> = report.explained().map(|(_, one)| one.clone()).collect();
    assert_eq!(explained.len(), 2);
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

/// Findings, and one with three domains.
fn unwind() -> String {
    let prior = "attach 0, attach 1, attach 2, set T";
    let arguments = [
        "unwind",
        "--semantics",
        "v13",
        "--topology",
        "0,1,2",
        "--prior",
        prior,
    ];
    let rest = [
        "--operation",
        "set,attach,detach,unmap",
        "--bound",
        "0",
        "--html",
        "FILE",
    ];
    written(&[&arguments[..], &rest].concat(), "unwind.html")
}

fn unwind_clean() -> String {
    let arguments = ["unwind", "--semantics", "fixed", "--operation", "set"];
    written(
        &[&arguments[..], &["--bound", "0", "--html", "FILE"]].concat(),
        "unwind.html",
    )
}

fn simulated(pattern: &str, name: &str) -> String {
    let streams = "machine.streams=3";
    let arguments = [
        "simulate",
        pattern,
        "--set",
        "workload.transactions=2000",
        "--set",
        streams,
    ];
    written(
        &[&arguments[..], &["--trace-first", "24", "--out", "DIR"]].concat(),
        name,
    )
}

/// A part of a trace, from commands to hits to evictions.
fn caches(trace: &str, first: &str, caches: &str) -> String {
    let trace = format!("tests/data/trace_{trace}.csv.zst");
    let arguments = [
        "check",
        &trace,
        "--cache",
        caches,
        "--sanitize",
        "--show-first",
        first,
    ];
    written(
        &[&arguments[..], &["--show-caches", "FILE"]].concat(),
        "caches.html",
    )
}

/// Commands and what they remove, in a scenario file.
fn scenario() -> String {
    let file = "tests/scenarios/learn/commands.toml";
    written(&["run", file, "--show-caches", "FILE"], "caches.html")
}

/// A driver that forgets to invalidate an STE, and what the sanitizer says of it.
fn stale() -> String {
    const BYPASS: u64 = 1 | 0b100 << 1;
    const ABORT: u64 = 1;
    let ram = Ram::sparse();
    let smmu = Smmu::with_caches(SmmuConfig::full(), &CacheConfig::INFINITE).unwrap();
    let mut watched = Sanitizer::new(smmu, &SanitizerConfig::default()).unwrap();
    let table = 0x1_0000;
    for (register, value) in [("STRTAB_BASE", table), ("STRTAB_BASE_CFG", 4), ("CR0", 1)] {
        let width = if register == "STRTAB_BASE" {
            Width::W64
        } else {
            Width::W32
        };
        watched.mmio_write(register_offset(register).unwrap(), width, value);
    }
    let ste = Pa::new(table + 3 * 64);
    let mut view = CacheView::new("A forgotten CFGI_STE", &watched.smmu().cached());
    let store = |value| ram.port().write64(ste, value, AccessClass::Ste).unwrap();
    for (what, value) in [("bypass", BYPASS), ("abort", ABORT)] {
        store(value);
        view.step(
            &format!("STE of stream 3 set to {what}"),
            &watched.smmu().cached(),
        );
        let mut looks = Looks::default();
        let read = Transaction::read(StreamId::new(3), Iova::new(0xb000));
        let outcome = watched.translate(&mut ram.port(), &read, &mut looks);
        let ended = outcome
            .pa()
            .map_or("aborted".to_owned(), |pa| format!("pa {pa}"));
        view.step("read of 0xb000 by stream 3", &watched.smmu().cached())
            .looked(looks)
            .ended(&ended, Ending::of(&outcome))
            .found(&watched.take_findings());
    }
    let errors = view
        .frames()
        .iter()
        .map(|frame| frame.findings.len())
        .sum::<usize>();
    assert_eq!(errors, 1, "{}", view.to_text());
    view.to_html()
}
