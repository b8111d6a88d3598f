//! Scenario files: the library passes, each of its expectations can fail, mistakes are shown at their
//! place.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rayon::prelude::*;
use smmu_sim::scenario::{DEFAULT, STARTER, Scenario, ScenarioError};

/// The library, in order.
fn library() -> Vec<Scenario> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let folders = list(&root);
    let files = folders.iter().flat_map(|folder| list(folder));
    files
        .map(|path| Scenario::load(&path).unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

fn parse(text: &str) -> Result<Scenario, String> {
    Scenario::parse("x.toml".into(), text.into()).map_err(|error| error.to_string())
}

/// What is wrong with a file, without colours.
fn mistake(text: &str) -> String {
    let error = match parse(text) {
        Err(error) => error,
        Ok(scenario) => scenario.run().unwrap_err().to_string(),
    };
    anstream::adapter::strip_str(&error).to_string()
}

#[test]
fn every_scenario_of_the_library_passes() {
    let library = library();
    assert!(library.len() >= 40, "{}", library.len());
    library.par_iter().for_each(|scenario| {
        let report = scenario.run().unwrap_or_else(|error| panic!("{error}"));
        let messages: Vec<&String> = report.steps.iter().flat_map(|s| &s.messages).collect();
        assert!(report.passed(), "{messages:#?}");
        assert!(report.expectations() > 0, "{}", scenario.path);
        let sources = &scenario.file.sources;
        assert!(!sources.is_empty(), "{}: rests on nothing", scenario.path);
    });
}

/// Another value of the same type.
fn flipped(key: &str, text: &str) -> String {
    let family = key.split('.').next().unwrap();
    let other = |value: &str, one: &str| {
        let other = if text == format!("{value:?}") {
            one
        } else {
            value
        };
        format!("{other:?}")
    };
    match family {
        "unchanged" => (text == "false").to_string(),
        "errno" => other("none", "EBUSY"),
        "event" => other("none", "F_UUT"),
        "failed-step" => other("none", "some:step"),
        "kernel-bug" => other("none", "panic"),
        "command-error" => other("none", "CERROR_ABT"),
        "outcome" => other("refused", "dropped"),
        "streams" => other("reserved", "abort"),
        "commands" if text == "[]" => r#"["SYNC"]"#.into(),
        "findings" if text == "[]" => r#"["asid-reused"]"#.into(),
        "domains" if text == "[]" => r#"[["nobody"]]"#.into(),
        "commands" | "findings" | "domains" => "[]".into(),
        _ => {
            let digits = text.replace('_', "");
            let value = match digits.split_at_checked(2) {
                Some(("0x", hex)) => u64::from_str_radix(hex, 16).unwrap(),
                Some(("0b", bits)) => u64::from_str_radix(bits, 2).unwrap(),
                _ => digits.parse().unwrap(),
            };
            // Whole pages stay whole pages: fields of addresses have no lower bits.
            let bit = if value != 0 && value % 4096 == 0 {
                4096
            } else {
                1
            };
            format!("{:#x}", value ^ bit)
        }
    }
}

#[test]
fn each_expectation_of_each_scenario_is_able_to_fail() {
    let flips: usize = library()
        .par_iter()
        .map(|scenario| {
            let mut flips = 0;
            for (index, step) in scenario.file.step.iter().enumerate() {
                let leaves = step
                    .expect
                    .as_ref()
                    .map_or(vec![], |expect| expect.leaves());
                for (key, span) in leaves {
                    let mut text = scenario.text.clone();
                    let value = flipped(&key, &text[span.clone()]);
                    text.replace_range(span, &value);
                    let flipped = Scenario::parse(scenario.path.clone(), text);
                    let place = format!("{} step {}: {key} = {value}", scenario.path, index + 1);
                    let report = flipped.and_then(|scenario| scenario.run());
                    let report = report.unwrap_or_else(|error| panic!("{place}: {error}"));
                    for (at, step) in report.steps.iter().enumerate() {
                        let unmet: Vec<&str> = step.unmet.iter().map(|u| u.key.as_str()).collect();
                        let expected: &[&str] = if at == index { &[&key] } else { &[] };
                        assert_eq!(unmet, expected, "{place}, at step {}", at + 1);
                    }
                    flips += 1;
                }
            }
            flips
        })
        .sum();
    assert!(flips > 200, "{flips}");
}

#[test]
fn surprises_fail_a_step_that_expects_nothing() {
    for (what, step) in [
        (
            "errno",
            "set-pasid-table = { container = \"vm\", config = \"abort\" }",
        ),
        ("errno", "detach = { device = \"nic\" }"),
    ] {
        let text = format!(
            "title = \"x\"\n[linux]\nsemantics = \"6.1\"\ncontainers = [\"vm\"]\n\
             [[device]]\nname = \"nic\"\nslot = 1\n[[step]]\n{step}\n"
        );
        let report = parse(&text).unwrap().run().unwrap();
        assert_eq!(report.steps[0].unmet[0].key, what);
    }
    let text =
        "title = \"x\"\n[[stream]]\nid = 1\n[[step]]\ncommand = { name = \"TLBI_EL2_ALL\" }\n";
    let report = parse(text).unwrap().run().unwrap();
    assert_eq!(report.steps[0].unmet[0].key, "command-error");
}

/// A machine of one stream with a stage 1.
const MACHINE: &str = r#"title = "x"

[[stage1]]
name = "driver"
maps = [{ from = 0x1000, to = 0x4800_0000 }]

[[stream]]
id = 1
stage1 = "driver"

"#;

fn each_says(cases: Vec<(String, &[&str])>) {
    for (text, expected) in cases {
        let message = mistake(&text);
        for part in expected {
            assert!(message.contains(part), "{text}\n{message}\nlacks {part:?}");
        }
    }
}

#[test]
fn mistakes_are_shown_at_their_place() {
    let after = |text: &str| format!("{MACHINE}[[step]]\n{text}\n");
    let cases: Vec<(String, &[&str])> = vec![
        // The grammar of TOML, and keys and values of the file's own.
        ("title = \"x\"\nstep = [".into(), &["x.toml:2:9"]),
        ("titel = \"x\"\n".into(), &["x.toml:1:1", "unknown field `titel`", "`title`"]),
        ("\n".into(), &["missing field `title`"]),
        (after("dma = { stream = 1, adress = 0 }"), &["x.toml:12:21", "unknown field `adress`"]),
        (after("dma = { stream = 1, address = -1 }"), &["x.toml:12:31", "-1", "64 bits"]),
        (after("dma = { stream = 1, address = \"4kb\" }"), &["x.toml:12:31", "4kb"]),
        (after("dma = { stream = 1, address = 0, access = \"wirte\" }"), &["wirte", "`write`"]),
        // What makes no sense together, with both places.
        (
            after("dma = { stream = 1, address = 0 }\ncommand = { name = \"SYNC\" }"),
            &["a step does one thing", "the first", "the second", "x.toml:13:11"],
        ),
        (
            MACHINE.replace("[[stream]]", "[[stage1]]\nname = \"driver\"\n[[stream]]"),
            &["two stage1s are called \"driver\"", "the first", "the second", "x.toml:8:8"],
        ),
        (
            after("map = { table = \"drvier\", entry = { from = 0, to = 0 } }"),
            &["there is no stage1 or stage2 \"drvier\"", "did you mean \"driver\"?", "x.toml:12:17"],
        ),
        (
            after("map = { table = \"driver\", entry = { from = 0x1000, to = 0 } }"),
            &["0x1000 is already mapped", "x.toml:12:35"],
        ),
        (
            after("map = { table = \"driver\", entry = { from = 0, to = 0, page = \"8KiB\" } }"),
            &["no page or block of 2^13 bytes fits"],
        ),
        (
            after("map = { table = \"driver\", entry = { from = 0, to = 0, size = \"1TiB\" } }"),
            &["not 1 to 2^20 pages", "x.toml:12:62"],
        ),
        (after("command = { name = \"TLBI_NH_VAX\" }"), &["did you mean \"TLBI_NH_VA\"?"]),
        (
            after("command = { name = \"CFGI_STE\", fields = { StreamId = 1 } }"),
            &["field", "did you mean \"StreamID\"?", "x.toml:12:54"],
        ),
        (
            after("command = { name = \"TLBI_NH_VA\", fields = { Address = 1 } }"),
            &["0x1 does not fit Address", "bits 63 to 12"],
        ),
        (after("register = { name = \"CR9\" }"), &["there is no register \"CR9\"", "CR0"]),
        (after("attach = { device = \"nic\", container = \"vm\" }"), &["there is no [linux]"]),
        (after("fail = { address = 0 }"), &["nothing is done that could fail"]),
        (
            after("dma = { stream = 1, address = 0 }\nfail = { step = \"x\" }"),
            &["dma cannot fail in this way", "say address"],
        ),
        (after("dma = { address = 0 }"), &["which stream?", "say stream"]),
        (
            after("dma = { stream = 1, address = 0 }\nexpect = { event = \"F_TRANSLATE\" }"),
            &["did you mean \"F_TRANSLATION\"?"],
        ),
        (
            after("dma = { stream = 1, address = 0 }\nexpect = { counters = { vmids = 1 } }"),
            &["only Linux keeps these books"],
        ),
        (MACHINE.replace("id = 1", "id = 0x10_0000"), &["out of range", "0 to 65535"]),
        (MACHINE.replace("id = 1", "id = 1\nstage2 = \"vm\""), &["there is no stage2 \"vm\""]),
        (MACHINE.replace("[[stream]]", "[[smmu]]\npart = \"qemu\"\n[[stream]]"), &["qemu-11"]),
        (
            MACHINE.replace("[[stream]]", "[[memory]]\nbase = 0\nsize = 4096\n[[stream]]"),
            &["at least 16MiB"],
        ),
        (
            format!("{MACHINE}[linux]\nsemantics = \"fixed\"\ncontainers = []\n"),
            &["Linux sees to streams, stage 2, memory", "declared here"],
        ),
        (
            "title = \"x\"\n[linux]\nsemantics = \"v14\"\ncontainers = []\n".into(),
            &["none of v11", "x.toml:3:13"],
        ),
        (
            "title = \"x\"\n[linux]\nsemantics = \"6.1\"\npolicy = \"one-group\"\ncontainers = []\n"
                .into(),
            &["this policy", "the series is not applied"],
        ),
    ];
    each_says(cases);
}

#[test]
fn a_device_that_was_never_plugged_in_does_nothing() {
    let machine = "title = \"x\"\n[linux]\nsemantics = \"fixed\"\ncontainers = [\"vm\"]\n\
                   [[device]]\nname = \"nic\"\nslot = 1\nabsent = true\n[[step]]\n";
    let step = |step: &str| format!("{machine}{step}\n");
    let message = mistake(&step("dma = { device = \"nic\", address = 0 }"));
    assert!(message.contains("never plugged in"), "{message}");
    let message = mistake(&step(
        "dma = { device = \"nic\", address = 0, times = 5000 }",
    ));
    assert!(message.contains("never plugged in"), "{message}");
    // Calls about it are answered as the kernel does.
    for (call, errno) in [
        (
            "attach = { device = \"nic\", container = \"vm\" }",
            "ENODEV",
        ),
        ("detach = { device = \"nic\" }", "ENODEV"),
        ("remove = { device = \"nic\" }", "ENODEV"),
        ("open-device = { device = \"nic\" }", "ENODEV"),
        ("close-device = { device = \"nic\" }", "EBADF"),
        (
            "read-region = { device = \"nic\", region = \"faults\", offset = 0 }",
            "EBADF",
        ),
    ] {
        let text = step(&format!("{call}\nexpect = {{ errno = {errno:?} }}"));
        let report = parse(&text).unwrap().run().unwrap();
        assert!(report.passed(), "{call}: {:?}", report.steps[0].messages);
    }
    // Once plugged in it cannot be plugged in again.
    let plug = "plug = { device = \"nic\" }";
    let twice = step(&format!(
        "{plug}\n[[step]]\n{plug}\nexpect = {{ errno = \"ENODEV\" }}"
    ));
    assert!(parse(&twice).unwrap().run().unwrap().passed());
}

// Each of these was once taken in silence, or ended beyond the last address.
#[test]
fn what_a_machine_cannot_have_is_refused() {
    let cases: Vec<(String, &[&str])> = vec![
        (MACHINE.replace("id = 1", "id = 1\nsmmu = 1"), &["1 is out of range", "0 to 0"]),
        (
            format!("{MACHINE}[[smmu]]\ncaches = \"none\"\n[[smmu]]\ncaches = \"small\"\n"),
            &["the same caches", "these", "other than"],
        ),
        (
            format!("{MACHINE}[[bridge]]\nname = \"b\"\nkind = \"port\"\nbus = 1\n"),
            &["bridges are for machines with Linux"],
        ),
        (
            "title = \"x\"\n[linux]\nsemantics = \"6.1\"\ncontainers = []\n[[smmu]]\nregisters = { CR2 = 0 }\n"
                .into(),
            &["registers itself", "x.toml:6:21"],
        ),
        (
            format!("{MACHINE}[[memory]]\nbase = \"0xffff_ffff_ffff_0000\"\nsize = \"16MiB\"\n"),
            &["out of range"],
        ),
        (
            "title = \"x\"\n[linux]\nsemantics = \"6.1\"\ncontainers = []\nguest-base = \"0xffff_ffff_ffff_f000\"\n"
                .into(),
            &["out of range", "x.toml:5:14"],
        ),
    ];
    each_says(cases);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Scenario::load(Path::new("no/such.toml")).unwrap_err();
    assert!(matches!(error, ScenarioError::Read { .. }));
    assert!(error.to_string().starts_with("no/such.toml: "), "{error}");
}

#[test]
fn default_and_starter_pass() {
    for text in [DEFAULT, STARTER] {
        let report = parse(text).unwrap().run().unwrap();
        assert!(report.passed());
        assert!(report.expectations() > 0);
    }
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("0".to_owned()),
        Just("-1".to_owned()),
        Just("0xffff_ffff_ffff_f000".to_owned()),
        Just("\"0xffff_ffff_ffff_ffff\"".to_owned()),
        Just("9223372036854775807".to_owned()),
        Just("\"\"".to_owned()),
        Just("[]".to_owned()),
        Just("true".to_owned()),
        Just("{}".to_owned()),
        Just("4096".to_owned()),
        Just("\"1TiB\"".to_owned()),
        Just("\n".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    // A word of a good file is replaced, or the file ends early: an answer, and no panic.
    #[test]
    fn damaged_files_are_refused_or_run(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        word in words(),
        cut in any::<bool>(),
    ) {
        let library = library();
        let scenario = which.get(&library);
        let text = &scenario.text;
        let places: Vec<(usize, usize)> = text
            .split_inclusive([' ', '\n', ',', '[', ']', '{', '}'])
            .scan(0, |start, piece| {
                let begin = *start;
                *start += piece.len();
                Some((begin, begin + piece.trim_end_matches([' ', '\n', ',', '[', ']', '{', '}']).len()))
            })
            .filter(|(begin, end)| begin < end)
            .collect();
        let (begin, end) = *at.get(&places);
        let damaged = if cut {
            text[..begin].to_owned()
        } else {
            format!("{}{word}{}", &text[..begin], &text[end..])
        };
        if let Ok(scenario) = Scenario::parse("damaged.toml".into(), damaged) {
            let _refused_or_run = scenario.run().map(|report| report.passed());
        }
    }
}

fn command(arguments: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("CLICOLOR_FORCE")
        .output()
        .unwrap()
}

#[test]
fn new_writes_a_file_that_runs_and_never_overwrites_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let path = path.to_str().unwrap();
    assert_eq!(command(&["new", path]).status.code(), Some(0));
    assert_eq!(command(&["run", path]).status.code(), Some(0));
    fs::write(path, "mine").unwrap();
    let again = command(&["new", path]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("mine.toml"));
    assert_eq!(fs::read_to_string(path).unwrap(), "mine");
}

#[test]
fn programs_get_what_was_seen_and_the_line_of_what_was_not() {
    let output = command(&[
        "run",
        "docs/src/guide/scenarios/wrong.toml",
        "--format",
        "json",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["passed"], false);
    let step = &json[0]["steps"][0];
    assert_eq!(step["unmet"][0]["key"], "pa");
    assert_eq!(step["unmet"][0]["found"], "0x1000");
    assert_eq!(step["unmet"][0]["line"], 8);
    assert!(step["translation"]["accesses"].is_array(), "{step}");
}

#[test]
fn a_file_that_is_wrong_does_not_hide_the_results_of_the_others() {
    let output = command(&[
        "run",
        "docs/src/guide/scenarios/misspelt.toml",
        "docs/src/guide/scenarios/wrong.toml",
        "tests/scenarios/learn/bypass.toml",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        out.contains("FAILED docs") && out.contains("ok     tests"),
        "{out}"
    );
    assert!(err.contains("misspelt.toml:8:10"), "{err}");
}

// Of each entry, the step that made it and the command that removed it.
#[test]
fn the_caches_of_a_scenario_are_shown_step_by_step() {
    let output = command(&[
        "run",
        "tests/scenarios/mistakes/unmap-without-tlbi.toml",
        "--show-caches",
        "-",
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}\n{text}"));
    assert!(at("+ TLB: VA 0x1000") < at("stale-translation"));
    assert!(at("stale-translation") < at("What was missing."));
    assert!(at("What was missing.") < at("- TLB: VA 0x1000"));
    let missing = command(&[
        "run",
        "tests/scenarios/learn/stage1.toml",
        "--show-caches",
        "-",
        "--smmu",
        "1",
    ]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there is no SMMU 1"));
}
