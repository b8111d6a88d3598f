//! The command line: what it prints, where, and how it ends.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn smmu_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A file with this content, for the length of a test.
fn file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

const SNAPSHOT: &str = "tests/data/snapshots/nest_72_64k.nested.json";

#[test]
fn run_shows_a_nested_walk_of_24_accesses_and_a_fault() {
    let output = smmu_sim(&["run"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    insta::assert_snapshot!("run", stdout(&output));
}

#[test]
fn run_as_json_numbers_the_accesses_alike() {
    let output = smmu_sim(&["run", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["outcome"]["pa"], "0x60312678");
    assert_eq!(json[0]["accesses"].as_array().unwrap().len(), 30);
    assert_eq!(json[0]["accesses"][29]["number"], "24");
    assert_eq!(json[1]["outcome"]["event"]["type"], "F_PERMISSION");
}

#[test]
fn walk_explains_a_real_nested_translation() {
    let arguments = [
        "walk",
        "--snapshot",
        SNAPSHOT,
        "--sid",
        "0x28",
        "0x6000",
        "--explain",
    ];
    let output = smmu_sim(&arguments);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!("walk_nested_fault", stdout(&output));
}

#[test]
fn walk_reads_transactions_from_a_file() {
    let transactions = file("# device 8\n8 r fff70000\n\n8 w 0xfff70010 # again\n");
    let path = transactions.path().to_str().unwrap();
    let output = smmu_sim(&["walk", "--snapshot", SNAPSHOT, "--transactions", path]);
    insta::assert_snapshot!("walk_transactions", stdout(&output));
}

#[test]
fn walk_takes_a_raw_image_and_registers() {
    // One STE at 0x10000 for stream 0: valid, bypass, incoming shareability.
    let mut image = vec![0u8; 0x1000];
    image[0] = 0b1001;
    image[13] = 0x10;
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), image).unwrap();
    let at = format!("{}@0x10000", path.path().display());
    let registers = [
        "--reg",
        "STRTAB_BASE=0x10000",
        "--reg",
        "CR0=1",
        "--reg",
        "CR2=2",
    ];
    let mut arguments = vec!["walk", "--image", &at, "--sid", "0", "1234"];
    arguments.extend(registers);
    let output = smmu_sim(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        stdout(&output).contains("-> pa 0x1234 (bypass)"),
        "{}",
        stdout(&output)
    );
    // Stream 1 is beyond a table of one STE.
    arguments[4] = "1";
    assert!(stdout(&smmu_sim(&arguments)).contains("C_BAD_STREAMID recorded"));
}

#[test]
fn a_page_is_self_contained_and_shows_each_access_once() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("walk.html");
    let path = path.to_str().unwrap();
    let output = smmu_sim(&[
        "walk",
        "--snapshot",
        "tests/data/snapshots/own4k_nested.badcd.json",
        "--sid",
        "0x8",
        "0xfffc0000",
        "--html",
        path,
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let page = std::fs::read_to_string(path).unwrap();
    for outside in ["http://", "https://", "src=", "<link", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let in_grid = |page: &str| page.matches("class=\"cell s1\"").count();
    assert_eq!(in_grid(&page), 4, "a stage-1 walk of four levels");
    let read = page.matches("<details>").count();
    assert_eq!(
        page.matches("-d\"><h3>").count(),
        read,
        "fields of each access"
    );
}

#[test]
fn check_ends_with_its_counts_and_fails_on_a_difference() {
    let output = smmu_sim(&["check", "tests/data/snapshots/nest_72_64k.mixed.json"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output).lines().last(),
        Some("checked 22803, agree 22803, differ 0")
    );
    // One access whose expected address is not where RAM maps it: bypass is off, so it differs.
    let case = r#"{"id":1,"scenario":{"ram":[],"regs":[],"accesses":[{"sid":0,"iova":4096,"write":false,"len":4}]},"out":[{"qemu":{"ok":true,"pa":8192,"events":[]},"agree":true}]}"#;
    let wrong = file(case);
    let output = smmu_sim(&["check", wrong.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stdout(&output).lines().last(),
        Some("checked 1, agree 0, differ 1")
    );
}

/// Runs each command line: exit code 2, nothing on stdout, and a message that names the place.
#[track_caller]
fn refused(cases: &[(&str, &str)]) {
    for (arguments, message) in cases {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let output = smmu_sim(&arguments);
        let stderr = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

#[test]
fn check_refuses_bad_recordings_by_file_and_line() {
    let text = file("{\"scenario\": 1}\n");
    let hex =
        file(r#"{"id":1,"scenario":{"ram":[[1073741824,"zz"]],"regs":[],"accesses":[]},"out":[]}"#);
    let counts = file(
        r#"{"id":1,"scenario":{"ram":[],"regs":[],"accesses":[]},"out":[{"qemu":{"ok":true,"pa":1,"events":[]},"agree":true}]}"#,
    );
    let manifest = file(r#"{"format": "smmu-snapshot-1", "ram": []}"#);
    let damaged = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(damaged.path(), [0x1f, 0x8b, 8, 0, 0]).unwrap();
    let check = |path: &str| format!("check {path}");
    refused(&[
        ("check no/such/file", "no/such/file: No such file"),
        ("check /dev/null", "/dev/null: neither golden"),
        (&check(path(&text)), ":1: "),
        (&check(path(&hex)), ":1: ram: bad hex at 0x40000000"),
        (&check(path(&counts)), ":1: 0 accesses but 1 answers"),
        (&check(path(&manifest)), "missing field `smmus`"),
        (&check(path(&damaged)), path(&damaged)),
        (
            "check tests/data/snapshots/nest_72_64k.mixed.truth.csv.zst",
            "give its .json",
        ),
        (
            "check tests/data/snapshots/nest_72_64k.mixed.pages.zst",
            "not text",
        ),
        ("check", "<FILE>..."),
    ]);
}

#[test]
fn walk_refuses_bad_transactions_by_option_and_line() {
    let bad_line = file("8 r 1000\n8 x 2000\n");
    let long_ssid = file("8.fffff0 r 1000\n");
    let walk = |rest: &str| format!("walk --snapshot {SNAPSHOT} {rest}");
    refused(&[
        ("walk --snapshot no/such --sid 0 0", "no/such: No such file"),
        (&walk("--smmu 3 --sid 0 0"), "--smmu 3"),
        (&walk("--sid zz 0"), "zz"),
        (&walk("--sid 0 --ssid 100000 0"), "SSID 0x100000"),
        (
            &walk(&format!("--transactions {}", path(&bad_line))),
            ":2: \"x\" is neither",
        ),
        (
            &walk(&format!("--transactions {}", path(&long_ssid))),
            ":1: SSID",
        ),
    ]);
}

#[test]
fn walk_refuses_bad_images_registers_and_parts() {
    let bytes = file("tables");
    let image = |rest: &str| format!("walk --image {}@0x10000 {rest} --sid 0 0", path(&bytes));
    let unaligned = format!("walk --image {}@0x10001 --sid 0 0", path(&bytes));
    refused(&[
        (
            "walk --image x --sid 0 0",
            "--image \"x\": expected FILE@ADDRESS",
        ),
        (&unaligned, "page-aligned"),
        ("walk --image none@0x1000 --sid 0 0", "none: No such file"),
        (&image("--reg CR0"), "--reg \"CR0\": expected"),
        (&image("--reg STRTABBASE=0"), "did you mean STRTAB_BASE?"),
        (&image("--reg CR0=100000000"), "does not fit"),
        (
            &image("--reg IDR0=0"),
            "IDR0.TTF = 0x0 is a reserved encoding",
        ),
        (&image("--part mmu-60"), "a similar value exists: 'mmu-600'"),
    ]);
}

#[test]
fn decode_refuses_words_that_are_not_what_is_asked() {
    refused(&[
        ("decode ste 1 2", "found 2 words, expected 8"),
        ("decode cmd 0x10 zebra", "line 1: \"zebra\""),
        (
            "decode reg CRO 1",
            "there is no register CRO; did you mean CR0?",
        ),
        ("decode pte 3 --level 7", "7 is not in -1..=3"),
        ("decode event", "found 0 words, expected 4"),
        ("fly", "unrecognized subcommand"),
    ]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
        .arg("run")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn decode_reads_a_kernel_log_from_standard_input() {
    let log = "arm-smmu-v3 arm-smmu-v3.0.auto: event 0x10 received:\n\
               arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000000800000010\n\
               arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000020800000000\n\
               arm-smmu-v3 arm-smmu-v3.0.auto: \t0x00000000ffffd040\n\
               arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000000000000000\n";
    let mut child = Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
        .args(["decode", "event"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(log.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!("decode_event", stdout(&output));
}

#[test]
fn caches_are_shown_as_the_ending_of_the_file_says() {
    let directory = tempfile::tempdir().unwrap();
    let show = |name: &str, trace: &str| {
        let path = directory.path().join(name);
        let output = smmu_sim(&[
            "check",
            trace,
            "--show-caches",
            path.to_str().unwrap(),
            "--show-first",
            "100",
            "--show-count",
            "20",
        ]);
        (output, path)
    };
    let trace = "tests/data/trace_k72_16k_strict.csv.zst";
    let read = |name: &str| {
        let (output, path) = show(name, trace);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        std::fs::read_to_string(path).unwrap()
    };
    let page = read("caches.html");
    assert_eq!(page.matches("<article").count(), 20);
    assert!(!page.contains("src=") && !page.contains("http:"));
    let json: serde_json::Value = serde_json::from_str(&read("caches.json")).unwrap();
    assert_eq!(json["steps"].as_array().unwrap().len(), 20);
    assert!(read("caches.txt").contains("\n 20  "));
    // A snapshot is no trace: there is nothing to show.
    let (output, path) = show("none.html", "tests/data/snapshots/nest_72_64k.mixed.json");
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("--show-caches: 0 of the files"), "{errors}");
    assert!(!path.exists());
}
