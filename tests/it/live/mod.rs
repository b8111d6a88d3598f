//! Machines that run or ran: a real QEMU where one is installed, its recorded session otherwise,
//! cores, and what is refused.
//!
//! `SMMU_SIM_RECORD=1 cargo test --test it live::` records the session anew from the QEMU installed.
//! `SMMU_SIM_QEMU=required` makes it a failure that none is installed.

mod cores;
mod guest;
mod refusals;
mod replay;
mod vm;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use guest::DMAS;
use replay::Recorder;
pub(crate) use replay::Session;
use vm::Vm;

const DATA: &str = "tests/data/live";

fn data(name: &str) -> String {
    format!("{DATA}/{name}")
}

/// Standard output of `smmu-sim`, which must succeed.
#[track_caller]
fn smmu_sim(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The recorded session.
pub(crate) fn recorded_session() -> Session {
    let text = smmu_sim::input::read_text(Path::new(&data("virt.session.gz"))).unwrap();
    Session::parse(&text)
}

/// What a QEMU itself says of the guest's accesses, from its trace and its event queue.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    /// StreamID, input and output address.
    translations: Vec<(u64, u64, u64)>,
    /// Event records.
    events: Vec<[u64; 4]>,
}

impl Report {
    /// From lines of trace, and lines `event WORD WORD WORD WORD`.
    fn parse(text: &str) -> Self {
        let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap();
        let mut report = Self {
            translations: Vec::new(),
            events: Vec::new(),
        };
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let value = |name: &str| {
                let word = words.iter().find_map(|word| word.strip_prefix(name));
                hex(word.unwrap_or_else(|| panic!("{line}")))
            };
            if words[0] == "event" {
                report.events.push([1, 2, 3, 4].map(|i| hex(words[i])));
            } else if line.starts_with("smmuv3_translate_success") {
                let translation = (value("sid="), value("iova="), value("translated="));
                report.translations.push(translation);
            }
        }
        report
    }
}

/// Walks each access of the guest on the machine that `source` names.
fn walks(source: &[&str]) -> Vec<Value> {
    let walk = |access: &str| -> Vec<Value> {
        let mut arguments = vec!["walk", "--sid", "8", "--format", "json", "--access", access];
        let addresses: Vec<String> = DMAS
            .iter()
            .filter(|dma| dma.write == (access == "write"))
            .map(|dma| format!("{:#x}", dma.iova))
            .collect();
        arguments.extend(source);
        arguments.extend(addresses.iter().map(String::as_str));
        serde_json::from_str(&smmu_sim(&arguments)).unwrap()
    };
    let (mut reads, mut writes) = (walk("read").into_iter(), walk("write").into_iter());
    DMAS.iter()
        .map(|dma| {
            if dma.write {
                writes.next()
            } else {
                reads.next()
            }
            .unwrap()
        })
        .collect()
}

/// Each access ends as QEMU reports: at the same address, or with the same event. Of an event the
/// type, StreamID and address count: QEMU 7.2 leaves CLASS of all and RnW of some zero.
#[track_caller]
fn assert_agree(walks: &[Value], report: &Report) {
    let (mut translated, mut faulted) = (0, 0);
    for (dma, walk) in DMAS.iter().zip(walks) {
        let outcome = &walk["outcome"];
        let theirs = report
            .translations
            .iter()
            .find(|(_, iova, _)| *iova == dma.iova);
        if let Some((sid, _, pa)) = theirs {
            assert_eq!(*sid, u64::from(guest::STREAM));
            assert_eq!(outcome["pa"], format!("{pa:#x}"), "{walk:#}");
            translated += 1;
        } else {
            let event = report.events.iter().find(|event| event[2] == dma.iova);
            let event = event.unwrap_or_else(|| panic!("QEMU says nothing of {:#x}", dma.iova));
            let ours = outcome["event"]["words"].as_array().unwrap();
            assert_eq!(ours[0], format!("{:#x}", event[0]), "{walk:#}");
            assert_eq!(ours[2], format!("{:#x}", event[2]), "{walk:#}");
            faulted += 1;
        }
    }
    assert_eq!((translated, faulted), (4, 2));
}

/// The machine's own report, from a QEMU that runs.
fn report_of(vm: &mut Vm) -> String {
    let mut text = vm.trace();
    for record in (guest::EVENT_QUEUE..).step_by(32).take(128) {
        let words = [0, 8, 16, 24].map(|offset| vm.word(record + offset));
        if words == [0; 4] {
            break;
        }
        let words = words.map(|word| format!("{word:016x}"));
        text.push_str("event ");
        text.push_str(&words.join(" "));
        text.push('\n');
    }
    text
}

#[test]
fn a_qemu_that_runs_reports_the_same_addresses_and_events() {
    let Some(mut vm) = Vm::start() else {
        let required = std::env::var_os("SMMU_SIM_QEMU").is_some_and(|v| v == "required");
        assert!(!required, "qemu-system-aarch64 is not installed");
        return;
    };
    let report = report_of(&mut vm);
    let socket = vm.socket().display().to_string();
    let live = walks(&["--qmp", &socket]);
    assert_agree(&live, &Report::parse(&report));

    // The same machine from a core and its registers.
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (core, regs) = (path("core"), path("regs"));
    vm.dump(Path::new(&core));
    fs::write(&regs, smmu_sim(&["registers", "--qmp", &socket])).unwrap();
    assert_eq!(walks(&["--core", &core, "--regs", &regs]), live);

    // An address given by hand is the one that the memory map shows.
    let at_base = ["--qmp", &socket, "--smmu-base", "0x09050000"];
    assert_eq!(walks(&at_base), live);

    if std::env::var_os("SMMU_SIM_RECORD").is_some() {
        record(&socket, &report, Path::new(&core));
    }
}

fn record(socket: &str, report: &str, core: &Path) {
    fs::create_dir_all(DATA).unwrap();
    let recorder = Recorder::start(Path::new(socket));
    let through = recorder.socket.display().to_string();
    let mut arguments = vec!["walk", "--sid", "8", "--qmp", &through];
    let addresses: Vec<_> = DMAS.iter().map(|dma| format!("{:#x}", dma.iova)).collect();
    arguments.extend(addresses.iter().map(String::as_str));
    smmu_sim(&arguments);
    let session = recorder.finish().to_text();
    let gzip = |name: &str, bytes: &[u8]| {
        let level = flate2::Compression::best();
        let file = fs::File::create(data(name)).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(file, level);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap();
    };
    gzip("virt.session.gz", session.as_bytes());
    gzip("virt.core.gz", &fs::read(core).unwrap());
    fs::write(data("virt.report"), report).unwrap();
    // The path of the socket is no part of the machine.
    let registers = smmu_sim(&["registers", "--qmp", socket]);
    let (_, registers) = registers.split_once('\n').unwrap();
    fs::write(data("virt.regs"), registers).unwrap();
}

#[test]
fn a_recorded_session_gives_the_addresses_its_machine_reported() {
    let report = Report::parse(&fs::read_to_string(data("virt.report")).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("qmp");
    recorded_session().serve(&socket);
    let walks = walks(&["--qmp", socket.to_str().unwrap()]);
    assert_agree(&walks, &report);
}

#[test]
fn a_recorded_core_gives_the_addresses_its_machine_reported() {
    let report = Report::parse(&fs::read_to_string(data("virt.report")).unwrap());
    let (core, regs) = (data("virt.core.gz"), data("virt.regs"));
    assert_agree(&walks(&["--core", &core, "--regs", &regs]), &report);
}

#[test]
fn registers_read_over_qmp_are_those_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("qmp");
    recorded_session().serve(&socket);
    let shown = smmu_sim(&["registers", "--qmp", socket.to_str().unwrap()]);
    let (place, registers) = shown.split_once('\n').unwrap();
    assert!(place.ends_with("SMMU at 0x9050000"), "{place}");
    assert_eq!(registers, fs::read_to_string(data("virt.regs")).unwrap());
}

#[test]
fn a_machine_with_two_smmus_has_two_to_choose_from() {
    let mut session = recorded_session();
    let map = session.answers.get_mut("info mtree -f").unwrap();
    let first = "0000000009050000-000000000906ffff (prio 0, i/o): arm-smmuv3";
    let second = "0000000009070000-000000000908ffff (prio 0, i/o): arm-smmuv3";
    assert!(map.contains(first));
    *map = map.replace(first, &format!("{first}\r\n  {second}"));
    // The second is as the first but disabled.
    for (command, answer) in session.answers.clone() {
        for (from, to) in [("0x905", "0x907"), ("0x906", "0x908")] {
            if command.contains(from) {
                let answer = answer.replace(&from[2..], &to[2..]);
                session.answers.insert(command.replace(from, to), answer);
            }
        }
    }
    let cr0 = "0000000009070020: 0x00000000\r\n".to_owned();
    session.answers.insert("xp /1wx 0x9070020".into(), cr0);
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("qmp");
    session.serve(&socket);
    let socket = socket.to_str().unwrap();
    let walk = |smmu: &str| {
        smmu_sim(&[
            "walk", "--qmp", socket, "--smmu", smmu, "--sid", "8", "ffffc678",
        ])
    };
    assert!(walk("0").contains("-> pa 0x40403678 (stage 1)"));
    assert!(walk("1").contains("-> pa 0xffffc678 (SMMU disabled)"));
    let shown = smmu_sim(&["registers", "--qmp", socket, "--smmu", "1"]);
    assert!(
        shown.starts_with(&format!("# --qmp {socket}: SMMU at 0x9070000\n")),
        "{shown}"
    );
}

#[test]
fn a_table_among_device_registers_is_not_read() {
    // Stream table at the UART: its words would be read by a machine, never by a tool.
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("qmp");
    recorded_session().serve(&socket);
    let socket = socket.to_str().unwrap();
    let reg = "STRTAB_BASE=0x9000000";
    // The replay refuses what was not recorded: had it been asked, this would fail.
    let output = Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
        .args(["walk", "--qmp", socket, "--sid", "8", "0", "--reg", reg])
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("F_STE_FETCH recorded"), "{stdout}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("neither RAM nor ROM") && stderr.contains("pl011"),
        "{stderr}"
    );
}

#[test]
fn nothing_but_reading_is_asked_of_a_machine() {
    // What a session holds is all that was asked: the replay refuses everything else.
    for command in recorded_session().answers.keys() {
        assert!(
            command == "info mtree -f" || command.starts_with("xp /"),
            "{command}"
        );
    }
}
