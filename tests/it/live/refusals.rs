//! Whatever is wrong with a socket, a core or a file of registers is said, with its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use smmu_sim::live::{Qmp, QmpError, Socket};

use super::cores::{HEADER_BYTES, Header, core};
use super::replay::{Rude, Then};
use super::{data, recorded_session};

/// Runs `smmu-sim walk … --sid 8 1000`: exit code 2, nothing on stdout, and these words.
#[track_caller]
fn refused(source: &[&str], words: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
        .arg("walk")
        .args(source)
        .args(["--sid", "8", "1000"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    for word in words {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_socket_that_is_not_there_or_no_qmp_server_is_refused() {
    refused(
        &["--qmp", "no/such"],
        &["--qmp no/such: cannot connect: No such file"],
    );
    refused(&["--qmp", "tcp:nowhere"], &["expected tcp:HOST:PORT"]);
    let rude = Rude::start(b"SSH-2.0-OpenSSH_9.2\r\n", Then::Close);
    refused(
        &["--qmp", rude.socket.to_str().unwrap()],
        &["not a QMP server: it sent \"SSH-2.0-OpenSSH_9.2\""],
    );
    let rude = Rude::start(b"", Then::Close);
    refused(
        &["--qmp", rude.socket.to_str().unwrap()],
        &["waiting for the greeting: the connection was closed"],
    );
    let rude = Rude::start(b"{\"QMP\": {\"version\": {}}}\n", Then::HearAndClose);
    refused(
        &["--qmp", rude.socket.to_str().unwrap()],
        &["the connection was closed"],
    );
}

#[test]
fn a_server_that_says_nothing_or_never_ends_is_not_waited_for() {
    let greeting = b"{\"QMP\": {}}\n{\"event\": \"X\"}\n";
    for (says, then) in [
        (&b""[..], Then::Hold),
        (b"{\"QMP\": {\"version\": ", Then::Hold),
        (b"{\"QMP\": ", Then::Drip),
        (greeting, Then::Hold),
        (greeting, Then::Drip),
    ] {
        let rude = Rude::start(says, then);
        let socket = Socket::Unix(rude.socket.clone());
        let result = Qmp::connect(&socket, Duration::from_millis(50));
        assert!(
            matches!(result, Err(QmpError::Timeout { .. })),
            "{result:?}"
        );
    }
}

/// A socket that serves the recorded session with one answer changed.
fn changed(directory: &Path, command: &str, answer: Option<&str>) -> PathBuf {
    let mut session = recorded_session();
    assert!(session.answers.remove(command).is_some(), "{command}");
    if let Some(answer) = answer {
        session
            .answers
            .insert(command.to_owned(), answer.to_owned());
    }
    let socket = directory.join("qmp");
    session.serve(&socket);
    socket
}

#[test]
fn answers_that_cannot_be_are_refused_by_the_command() {
    let map = recorded_session().answers["info mtree -f"].clone();
    let without_smmu = map.replace("arm-smmuv3", "pl011");
    let cases: [(&str, Option<&str>, &[&str]); 7] = [
        ("info mtree -f", None, &["\"info mtree -f\": not recorded"]),
        (
            "info mtree -f",
            Some("?"),
            &["\"info mtree -f\": there is no address space"],
        ),
        (
            "info mtree -f",
            Some(&without_smmu),
            &["shows no arm-smmuv3", "--smmu-base"],
        ),
        (
            "xp /1wx 0x9050000",
            Some("0000000009050000: 0x00000000\r\n"),
            &["IDR0 reads as 0"],
        ),
        (
            "xp /1wx 0x9050000",
            Some("0000000009050000: Cannot access memory\r\n"),
            &["--smmu-base 0x9050000: no SMMU there, the bus answers with an error"],
        ),
        (
            "xp /1wx 0x9050080",
            Some("what?"),
            &["\"xp /1wx 0x9050080\": cannot read \"what?\""],
        ),
        (
            "xp /1wx 0x9050014",
            Some("0000000009050014: 0x00000000\r\n"),
            &["SMMU at 0x9050000", "IDR5"],
        ),
    ];
    for (command, answer, words) in cases {
        let directory = tempfile::tempdir().unwrap();
        let socket = changed(directory.path(), command, answer);
        refused(&["--qmp", socket.to_str().unwrap()], words);
    }
}

#[test]
fn memory_that_cannot_be_read_is_no_fault_of_the_transaction() {
    let page = recorded_session();
    let page = page.answers.keys().find(|command| command.contains("gx"));
    let page = page.unwrap();
    for (answer, words) in [
        (None, "not recorded"),
        (Some("0000000040110000: 0x1\r\n"), "instead of 512"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let socket = changed(directory.path(), page, answer);
        refused(
            &["--qmp", socket.to_str().unwrap()],
            &["memory at 0x", "xp /512gx", words],
        );
    }
}

#[test]
fn cores_that_are_none_or_end_early_are_refused_by_the_field() {
    let good = core(&[Header(1, HEADER_BYTES + 56, 0x4000_0000, 8, 8)], &[0; 8]);
    let with = |at: usize, byte: u8| {
        let mut elf = good.clone();
        elf[at] = byte;
        elf
    };
    let at_end = core(&[Header(1, HEADER_BYTES + 56, u64::MAX - 6, 8, 8)], &[0; 8]);
    let cases: [(Vec<u8>, &str); 13] = [
        (Vec::new(), "not an ELF file"),
        (b"KDUMP   more".to_vec(), "kdump-compressed"),
        (
            good[..40].to_vec(),
            "truncated: the ELF header ends at byte 64, the file at 40",
        ),
        (with(4, 1), "EI_CLASS is 1, expected 2 (64-bit)"),
        (with(5, 2), "EI_DATA is 2, expected 1 (little-endian)"),
        (with(16, 2), "e_type is 2, expected 4 (a core)"),
        (with(18, 62), "e_machine is 62, expected 183 (AArch64)"),
        (with(54, 32), "e_phentsize is 32"),
        (with(56, 9), "truncated: the table of 9 program headers"),
        (
            with(57, 0xff),
            "truncated: the table of 65281 program headers",
        ),
        (
            good[..good.len() - 1].to_vec(),
            "truncated: the segment of program header 0",
        ),
        (with(64, 4), "no program header of type PT_LOAD"),
        (at_end, "program header 0: p_paddr 0xfffffffffffffff9"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("core").display().to_string();
    for (bytes, words) in cases {
        fs::write(&path, bytes).unwrap();
        refused(
            &["--core", &path, "--regs", &data("virt.regs")],
            &[&path, words],
        );
    }
    refused(
        &["--core", "no/such", "--regs", &data("virt.regs")],
        &["no/such: No such file"],
    );
    refused(&["--core", &path], &["--regs <FILE>"]);
}

#[test]
fn register_files_are_refused_by_the_line_or_the_register() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("regs").display().to_string();
    let core = data("virt.core.gz");
    let all = fs::read_to_string(data("virt.regs")).unwrap();
    let without = |name: &str| -> String {
        let lines = all.lines().filter(|line| !line.starts_with(name));
        lines.flat_map(|line| [line, "\n"]).collect()
    };
    for (text, words) in [
        (without("STRTAB_BASE "), "no value for STRTAB_BASE"),
        (without("IDR5"), "no value for IDR5"),
        (
            format!("{all}CRO = 1"),
            "there is no register CRO; did you mean CR0?",
        ),
        (
            format!("{all}IDR0 = 0"),
            "IDR0.TTF = 0x0 is a reserved encoding",
        ),
    ] {
        fs::write(&path, text).unwrap();
        refused(&["--core", &core, "--regs", &path], &[&path, words]);
    }
    refused(
        &["--core", &core, "--regs", "no/such"],
        &["no/such: No such file"],
    );
}
