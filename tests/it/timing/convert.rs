//! Traces from one format to another: nothing is lost that a replay needs, and nothing half-written
//! is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use smmu::cache::CacheConfig;
use smmu_sim::simulate::run::{Input, functional};
use smmu_sim::simulate::settings::RunSettings;
use smmu_sim::workload::convert::{Target, convert};
use smmu_sim::workload::error::WorkloadError;

fn trace(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/traces")
        .join(name)
}

fn converted(input: &Path, target: Target) -> Vec<u8> {
    let mut out = Vec::new();
    convert(input, target, &mut out).unwrap();
    out
}

/// A file of these bytes.
fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn text_and_binary_become_each_other_and_come_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "k61_lazy.head.csv.zst",
        "own4k_nested.head.csv.zst",
        "qemu.log",
    ] {
        let text = converted(&trace(name), Target::Text);
        let binary = converted(&file(&folder, "t", &text), Target::Binary);
        assert_eq!(converted(&trace(name), Target::Binary), binary, "{name}");
        assert_eq!(
            converted(&file(&folder, "b", &binary), Target::Text),
            text,
            "{name}"
        );
        assert!(binary.len() * 2 < text.len(), "{name}");
    }
}

// The operations of a replay are all there: the outcome of every transaction is that of the recording.
#[test]
fn a_converted_recording_replays_with_the_same_outcomes() {
    let folder = tempfile::tempdir().unwrap();
    let settings = RunSettings::default();
    for name in [
        "k61_strict.head.csv.zst",
        "k72_s2only.head.csv.zst",
        "own4k_nested.head.csv.zst",
    ] {
        let recorded = Input::Trace(trace(name));
        let text = file(&folder, name, &converted(&trace(name), Target::Text));
        for caches in [CacheConfig::OFF, CacheConfig::INFINITE] {
            let expected = functional(&settings, &recorded, &caches).unwrap();
            let found = functional(&settings, &Input::Trace(text.clone()), &caches).unwrap();
            assert_eq!(
                found.transactions_count, expected.transactions_count,
                "{name}"
            );
            assert_eq!(found.digest, expected.digest, "{name}");
            assert!(found.translated_count > 1000);
        }
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = file(
        &folder,
        "wrong.trace",
        b"# smmu-trace-1\nT 0 8 - r 0 4\nT 0 8 - x 0 4\n",
    );
    let error = convert(&wrong, Target::Binary, Vec::new())
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("wrong.trace:3: access \"x\": r, w or a"),
        "{error}"
    );
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smmu-sim"));
        command
            .arg("convert")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let output = run(&["wrong.trace", "out.smmutrc"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("wrong.trace:3: access"));
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["wrong.trace"]);
    let output = run(&["wrong.trace", "out"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("--to"),
        "{output:?}"
    );
    assert!(matches!(
        convert(Path::new("none"), Target::Text, Vec::new()),
        Err(smmu_sim::workload::convert::ConvertError::Workload(
            WorkloadError::Read { .. }
        ))
    ));
}
