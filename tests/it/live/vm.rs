//! A QEMU that runs the guest, its monitor, and what its trace says of translations.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::guest;

const QEMU: &str = "qemu-system-aarch64";
/// Waits for QEMU are so many naps at most.
const NAPS: u32 = 600;
const NAP: Duration = Duration::from_millis(100);

/// A QEMU, killed when dropped.
pub(super) struct Vm {
    monitor: Monitor,
    // Dropped, and so killed, before the directory goes.
    _process: Process,
    directory: TempDir,
}

impl Vm {
    /// Starts the guest and waits until it has done all its accesses; `None` if there is no QEMU.
    pub(super) fn start() -> Option<Self> {
        let found = Command::new(QEMU)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        fs::write(at("image"), guest::image()).unwrap();
        let loader = format!(
            "loader,file={},addr={:#x},force-raw=on,cpu-num=0",
            at("image"),
            guest::IMAGE_BASE
        );
        let child = Command::new(QEMU)
            .args(["-M", "virt,iommu=smmuv3,highmem=off,gic-version=2"])
            .args(["-accel", "tcg", "-cpu", "cortex-a57"])
            .args(["-m", &format!("{}M", guest::RAM_MIB)])
            .args(["-display", "none", "-nodefaults", "-no-reboot"])
            .args(["-serial", "none", "-monitor", "none"])
            .args(["-device", "edu,addr=1,dma_mask=0xffffffffffffffff"])
            .args(["-device", &loader])
            .args(["-qmp", &format!("unix:{},server=on,wait=off", at("qmp"))])
            .args(["-qmp", &format!("unix:{},server=on,wait=off", at("test"))])
            .args(["-trace", "smmuv3_translate_*", "-D", &at("trace")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(at("stderr")).unwrap())
            .spawn()
            .unwrap();
        let process = Process(child);
        // Both sockets listen before the guest runs; a connection is tried until one is.
        let mut stream = None;
        wait(|| {
            stream = UnixStream::connect(at("test")).ok();
            stream.is_some()
        });
        let mut vm = Self {
            monitor: Monitor::start(stream.unwrap()),
            _process: process,
            directory,
        };
        wait(|| vm.word(guest::DONE) == guest::DONE_VALUE);
        Some(vm)
    }

    /// The socket that the command under test uses; the test has another.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("qmp")
    }

    /// The 64-bit word at `pa`, as the monitor shows it.
    pub(super) fn word(&mut self, pa: u64) -> u64 {
        let text = self.monitor.human(&format!("xp /1gx {pa:#x}"));
        let word = text.trim().rsplit("0x").next().unwrap();
        u64::from_str_radix(word, 16).unwrap()
    }

    /// Writes all memory to an ELF core.
    pub(super) fn dump(&mut self, path: &Path) {
        let protocol = format!("file:{}", path.display());
        self.monitor.execute(
            "dump-guest-memory",
            &json!({ "paging": false, "protocol": protocol }),
        );
    }

    /// What QEMU says of each translation.
    pub(super) fn trace(&self) -> String {
        fs::read_to_string(self.directory.path().join("trace")).unwrap()
    }
}

/// A process that does not outlive the test, whatever happens to it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn wait(mut until: impl FnMut() -> bool) {
    for _ in 0..NAPS {
        if until() {
            return;
        }
        sleep(NAP);
    }
    panic!("QEMU takes too long");
}

struct Monitor {
    reader: BufReader<UnixStream>,
}

impl Monitor {
    fn start(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(NAP * NAPS)).unwrap();
        let mut monitor = Self {
            reader: BufReader::new(stream),
        };
        monitor.line();
        monitor.execute("qmp_capabilities", &json!({}));
        monitor
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Value {
        let message = json!({ "execute": command, "arguments": arguments });
        writeln!(self.reader.get_mut(), "{message}").unwrap();
        loop {
            let answer = self.line();
            assert!(answer.get("error").is_none(), "{answer}");
            if let Some(value) = answer.get("return") {
                return value.clone();
            }
        }
    }

    fn human(&mut self, command: &str) -> String {
        let answer = self.execute("human-monitor-command", &json!({ "command-line": command }));
        answer.as_str().unwrap().to_owned()
    }
}
