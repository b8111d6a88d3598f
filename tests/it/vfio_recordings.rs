//! Recorded VFIO sessions of real kernels, played on the driver and the device model.

use std::path::{Path, PathBuf};

use arm_smmu_v3::Driver;
use iommu_core::Kernel;
use iommu_core::testing::TableDouble;
use smmu_sim::board::Board;
use smmu_sim::check::{CheckOptions, Report, check_file};
use smmu_sim::type1::{MachineConfig, play};

/// Name and operations of each recording.
const RECORDINGS: [(&str, u64); 9] = [
    ("type1_oracle_k61", 5_235),
    ("type1_oracle_k612", 2_092),
    ("type1_oracle_k72", 5_235),
    ("type1_oracle_k72_16k", 2_092),
    ("type1_oracle_k61_two", 94),
    ("type1_oracle_k72_two", 94),
    ("type1_oracle_k61_mix", 78),
    ("type1_oracle_k61_noits", 31),
    ("type1_oracle_own72_iommufd_compat", 2_092),
];

/// Recorded on this machine, whatever the file's name says.
fn on(machine: &str) -> CheckOptions {
    CheckOptions {
        machine: Some(machine.into()),
        ..CheckOptions::default()
    }
}

fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/type1")
        .join(format!("{name}.jsonl.gz"))
}

fn text(name: &str) -> String {
    String::from_utf8(smmu_sim::input::read(&recording(name)).unwrap()).unwrap()
}

#[test]
fn every_answer_of_the_recorded_kernels_agrees() {
    for (name, operations) in RECORDINGS {
        let mut report = Report::default();
        check_file(&recording(name), &CheckOptions::default(), &mut report).unwrap();
        assert!(report.is_clean(), "{name}\n{report}");
        assert_eq!(report.checked, operations, "{name}");
    }
}

/// The kernels do differ: each recording played as another kernel's is found out.
#[test]
fn a_recording_played_as_another_kernel_differs() {
    let pairs = [
        ("k61", "k612"),
        ("k612", "k72"),
        ("k72", "k61"),
        ("k72", "k72_iommufd"),
        ("own72_iommufd_compat", "k72"),
    ];
    for (label, other) in pairs {
        let mut report = Report::default();
        let name = format!("type1_oracle_{label}");
        check_file(&recording(&name), &on(other), &mut report).unwrap();
        assert!(report.differ > 20, "{label} as {other}\n{report}");
    }
}

#[test]
fn a_changed_answer_is_reported_with_the_field_that_differs() {
    let changed = text("type1_oracle_k61").replacen("\"VmLck_pages\":4,", "\"VmLck_pages\":5,", 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), changed).unwrap();
    let mut report = Report::default();
    check_file(file.path(), &on("k61"), &mut report).unwrap();
    assert_eq!(report.differ, 1);
    assert_eq!(report.kinds.keys().collect::<Vec<_>>(), ["locked: out"]);
}

/// A script made of a recording's own operations.
fn script(recording: &str) -> String {
    let mut script = String::new();
    let mut test = String::new();
    for line in recording.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let (Some(name), Some(op)) = (value["t"].as_str(), value["op"].as_str()) else {
            continue;
        };
        if value["i"] == 0 || name != test {
            name.clone_into(&mut test);
            script.extend(["test ", name, "\n"]);
        }
        script.extend([op, "\n"]);
    }
    script
}

/// What the kernel's own code decides does not depend on the driver: the double agrees with the
/// real one on every answer, and both print what the recorder printed.
#[test]
fn the_driver_without_hardware_answers_as_the_real_one() {
    let recording = text("type1_oracle_k612");
    let script = script(&recording);
    let config = MachineConfig::new(Kernel::V6_12, 4096);
    let real = play::<Driver<Board>>(&config, "s", &script).unwrap();
    let double = play::<TableDouble>(&config, "s", &script).unwrap();
    assert_eq!(real, double);
    let recorded: Vec<&str> = recording
        .lines()
        .filter(|line| !line.contains("\"meta\""))
        .collect();
    assert_eq!(real[1..], recorded);
}

// The scripts of the 7.2 recording, random sequences among them, on the other kind of container.
#[test]
fn containers_over_iommufd_answer_alike_with_and_without_hardware() {
    let script = script(&text("type1_oracle_k72"));
    let config = MachineConfig::from_label("k72_iommufd", 4096).unwrap();
    let real = play::<Driver<Board>>(&config, "s", &script).unwrap();
    let double = play::<TableDouble>(&config, "s", &script).unwrap();
    let differs = real
        .iter()
        .zip(&double)
        .find(|(real, double)| real != double);
    assert_eq!(differs, None);
    assert_eq!(real.len(), 5_235 + 1);
}

#[test]
fn a_script_may_name_the_file_its_container_is() {
    let script = "\
test both
open_container c0 path=/dev/iommu
open_container c1 path=/dev/vfio/vfio
open_container c2 path=/dev/none
open_group g0 A
open_group g1 B
set_container g0 c0
set_container g1 c1
set_iommu c1 3
get_device d0 g0 A
ext c0 4
mem m0 size=4P
map c0 iova=0x100000 vaddr=m0 size=3P
map c1 iova=0x100000 vaddr=m0 size=4P
locked
close d0
map c0 iova=0x8000000 vaddr=m0 size=1P
get_device d0 g0 A
";
    let config = MachineConfig::new(Kernel::V7_2, 4096);
    let answers = play::<Driver<Board>>(&config, "both", script).unwrap();
    let result = |op: &str| {
        let answer = answers.iter().rfind(|answer| answer.contains(op)).unwrap();
        let value: serde_json::Value = serde_json::from_str(answer).unwrap();
        (
            value["ret"].as_i64().unwrap(),
            value["errno"].clone(),
            value["out"].clone(),
        )
    };
    assert_eq!(result("path=/dev/none").1, "ENOENT");
    // The SMMU's firmware does not claim that DMA can be made coherent.
    assert_eq!(result("ext c0 4").0, 0);
    let locked = serde_json::json!({"VmLck_pages": 4, "VmPin_pages": 3});
    assert_eq!(result("locked").2, locked);
    // EADDRINUSE: the doorbells' window is taken. The recorder has no name for it.
    assert_eq!(result("get_device").1, "98");
    let config = MachineConfig::new(Kernel::V6_1, 4096);
    let answers = play::<Driver<Board>>(&config, "both", script).unwrap();
    assert!(answers[1].contains("ENOENT"), "{}", answers[1]);
}

#[test]
fn scripts_that_make_no_sense_are_answered_and_never_stop_the_player() {
    let nonsense = "\
test nonsense
nosuchop a b c
map
map c0 iova=m9 size=-1 flags=zzz rep=-5
unmap c0 flags=dav bmpg=0 bmsize=18446744073709551615
dirty c0 get bmsize=0 bmdata=0xffffffffffffffff
info nowhere argsz=99999999999999999999
mem m0 size=0
mem m1 size=0xffffffffffffffff
mem
membar b d9
memfile f
munmap nothing
mprotect nothing prot=
fill nothing
poke 0 1
child
child child map c0
open_group g0 ?
set_container
get_device d0 g0 A
dma d0 iova=1 len=99999999999
close
dup a b
raw c0 cmd=-1 arg=-1
param
sysfs_bind
domtype
resv
";
    for machine in ["k72", "k72_iommufd"] {
        let config = MachineConfig::from_label(machine, 4096).unwrap();
        let answers = play::<Driver<Board>>(&config, "nonsense", nonsense).unwrap();
        assert_eq!(answers.len(), nonsense.lines().count());
    }
}

/// The page that lists differences is the code's own list, row for row.
#[test]
fn the_page_of_differences_lists_every_switch_and_defect() {
    use iommu_core::Defect;
    use iommu_core::semantics::SWITCHES;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/reference/semantics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `") || line.starts_with("| D"))
        .collect();
    let switches = SWITCHES
        .iter()
        .map(|s| format!("| `{}` | {} | {} |", s.name, s.differs, s.shown_by));
    let defects = Defect::ALL
        .iter()
        .map(|d| format!("| D{} | {} | {} |", d.number(), d.what(), d.shown_by()));
    let expected: Vec<String> = switches.chain(defects).collect();
    assert_eq!(rows, expected);
}
