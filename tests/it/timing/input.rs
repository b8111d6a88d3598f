//! Bad traces, settings and values: the line, the field, what is allowed; exit code 2.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

fn smmu_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn refused(arguments: &[&str], message: &str) {
    let output = smmu_sim(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(output.stdout.is_empty());
    assert!(errors.contains(message), "{errors}");
}

#[test]
fn wrong_settings_name_what_is_allowed() {
    for (set, message) in [
        (
            "tcu.walk_slots=0",
            "tcu.walk_slots = 0: allowed is 1 to 4096",
        ),
        (
            "tcu.walkslots=1",
            "there is no setting tcu.walkslots; did you mean tcu.walk_slots?",
        ),
        ("tcu", "expected KEY=VALUE"),
        ("tbu.completion=never", "allowed is any, stream, all"),
        (
            "workload.pattern=chaos",
            "allowed is stride, random, zipf, driver, tenants",
        ),
    ] {
        refused(&["simulate", "random", "--set", set], message);
    }
    refused(
        &["simulate", "random", "--config", "mmu600"],
        "neither a file nor one of default, mmu-600, mmu-700, gem5, intel-vtd; did you mean mmu-600?",
    );
    refused(
        &["simulate", "random", "--set", "main_tlb.entries=24"],
        "main_tlb: 24 entries in 4 ways",
    );
    refused(
        &[
            "simulate",
            "random",
            "--set",
            "machine.page_log2=13",
            "--set",
            "workload.pages=1",
        ],
        "machine.page_log2: 0x100000000",
    );
    refused(&["validate", "V11"], "V11: not one of V1, V2");
}

#[test]
fn wrong_traces_name_line_and_field() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "# smmu-trace-1\nT 0 0 - r 0x100000000 64\nT 0 0 - q 0 64"
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    refused(&["simulate", path], ":3: access \"q\": r, w or a");
    refused(&["simulate", "tests/data/bypass.bin"], "not a trace");
    refused(&["simulate", "no-such-file"], "no-such-file");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# smmu-trace-1\nT 0 9 - r 0x100000000 64").unwrap();
    let path = file.path().to_str().unwrap();
    refused(
        &["simulate", path],
        "stream \"0x9\": less than machine.streams",
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# smmu-dma-trace-1\nR,20,0,4\nT,8,fff,4,r,x").unwrap();
    let path = file.path().to_str().unwrap();
    refused(&["simulate", path], ":3: status \"x\": s, e, a, b or d");
}

#[test]
fn a_run_that_fails_late_leaves_nothing_that_looks_like_a_result() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# smmu-trace-1").unwrap();
    for _ in 0..100 {
        writeln!(file, "T 0 0 - r 0x100000000 64").unwrap();
    }
    writeln!(file, "T 0 0 -").unwrap();
    let path = file.path().to_str().unwrap();
    let arguments = [
        "simulate",
        path,
        "--trace-first",
        "9",
        "--out",
        out.to_str().unwrap(),
    ];
    refused(&arguments, ":102: access \"\": missing");
    assert!(!out.join("result.json").exists());
    assert!(!out.join("trace.json").exists());
}

/// Damaged files end with an error or a result, never with a panic or a hang.
#[test]
fn damaged_recordings_do_no_harm() {
    use smmu_sim::simulate::run::{Input, functional, timed};
    use smmu_sim::simulate::settings::RunSettings;
    use smmu_sim::workload::random::Random;
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/traces/k72_16k_strict.head.csv.zst"
    );
    let text = smmu_sim::input::read_text(std::path::Path::new(path)).unwrap();
    let lines: Vec<&str> = text.lines().take(3000).collect();
    let mut random = Random::new(5);
    for _ in 0..40 {
        let mut damaged: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        for _ in 0..5 {
            let at = 1 + random.below(damaged.len() as u64 - 1) as usize;
            match random.below(3) {
                0 => {
                    damaged.remove(at);
                }
                1 => {
                    let other = 1 + random.below(damaged.len() as u64 - 1) as usize;
                    damaged.swap(at, other);
                }
                _ => {
                    let bits = format!("{:x}", random.bits());
                    damaged[at] = damaged[at].replacen(char::is_numeric, &bits, 1);
                }
            }
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(damaged.join("\n").as_bytes()).unwrap();
        let input = Input::Trace(file.path().to_owned());
        let settings = RunSettings::default();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let in_time = timed(&settings, &input, (), (&stop, &mut ()));
        let at_once = functional(&settings, &input, &smmu::cache::CacheConfig::SMALL);
        assert_eq!(in_time.is_ok(), at_once.is_ok());
    }
}
