//! Plays tests: names, processes, and which operation does what.

use std::collections::BTreeMap;

use iommu_core::Errno;
use iommu_core::ops::Prot;
use vfio_type1::{Access, Pid, Vfio};

use super::bench::{Contents, Dma, Transfer};
use super::expr::{Names, evaluate};
use super::machine::{self, ContainerFile, Hardware, Known, MachineConfig};
use super::record::Record;
use super::user::Buffers;

/// Bytes of a region an ioctl gets to see: more than any structure or bitmap has.
const LOOK: u64 = 1 << 20;

/// A file as scripts name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    pub(super) fd: i32,
    /// Position among the known devices, if it is one of them.
    pub(super) device: Option<usize>,
}

/// A memory region as scripts name it.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) name: String,
    /// 0 if it could not be had.
    pub(super) address: u64,
    pub(super) size: u64,
    /// It is cleared before and searched after each write of a device.
    pub(super) watched: bool,
}

/// What one test has made so far.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) test: String,
    pub(super) index: u32,
    pub(super) pid: Pid,
    pub(super) files: BTreeMap<String, Named>,
    pub(super) memory: Vec<Memory>,
}

/// An operation's words.
#[derive(Debug, Clone)]
pub(super) struct Words<'a>(pub(super) Vec<&'a str>);

impl<'a> Words<'a> {
    /// The `n`-th word; the recorder would crash where this gives nothing.
    pub(super) fn at(&self, n: usize) -> &'a str {
        self.0.get(n).copied().unwrap_or_default()
    }

    /// The value of `key=value`.
    pub(super) fn value(&self, key: &str) -> Option<&'a str> {
        self.0
            .iter()
            .skip(1)
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.0.iter().skip(2).any(|word| *word == flag)
    }
}

/// An operation's answer before it is put into a [`Record`].
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) result: Result<i64, Errno>,
    pub(super) input: String,
    pub(super) output: String,
}

impl Answer {
    pub(super) fn of(result: Result<i64, Errno>) -> Self {
        Self {
            result,
            input: String::new(),
            output: String::new(),
        }
    }

    pub(super) fn done(result: Result<(), Errno>) -> Self {
        Self::of(result.map(|()| 0))
    }

    pub(super) fn input(mut self, input: String) -> Self {
        self.input = input;
        self
    }

    pub(super) fn output(mut self, output: String) -> Self {
        self.output = output;
        self
    }
}

/// Plays scripts on one machine.
#[derive(Debug)]
pub struct Player<B: Hardware> {
    pub(super) vfio: Vfio<B>,
    pub(super) known: Vec<Known>,
    pub(super) contents: Contents,
    pub(super) page_size: u64,
    pub(super) container: ContainerFile,
    pub(super) session: Option<Session>,
}

impl<B: Hardware> Names for Player<B> {
    fn region(&self, name: &str) -> Option<u64> {
        let memory = &self.session.as_ref()?.memory;
        memory
            .iter()
            .find(|region| region.name == name)
            .map(|region| region.address)
    }

    fn page_size(&self) -> u64 {
        self.page_size
    }
}

/// The script's lines that say something, with comments and trailing blanks taken off.
fn lines(script: &str) -> impl Iterator<Item = &str> {
    script
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim_end())
        .filter(|line| !line.trim().is_empty())
}

/// Plays a whole script; the recorder's lines.
///
/// # Errors
/// The driver's, if the machine cannot be built.
pub fn play<B: Hardware>(
    config: &MachineConfig,
    name: &str,
    script: &str,
) -> Result<Vec<String>, Errno> {
    let mut player = Player::<B>::new(config)?;
    let mut out = vec![format!(
        "{{\"meta\":1,\"script\":\"{name}\",\"pagesize\":{}}}",
        config.page_size
    )];
    let mut in_test = false;
    for line in lines(script) {
        let mut words = line.split_whitespace();
        if words.next() == Some("test") {
            player.start(words.next().unwrap_or_default());
            in_test = true;
        } else if in_test {
            out.push(player.run(line).to_string());
        }
    }
    player.end();
    Ok(out)
}

impl<B: Hardware> Player<B> {
    /// A machine on which nothing has been played.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(config: &MachineConfig) -> Result<Self, Errno> {
        let (vfio, known) = machine::build(config)?;
        Ok(Self {
            vfio,
            known,
            contents: Contents::default(),
            page_size: config.page_size,
            container: config.container,
            session: None,
        })
    }

    /// VFIO and all below it.
    pub fn vfio(&self) -> &Vfio<B> {
        &self.vfio
    }

    /// Starts a test: a new process. The one before ends.
    pub fn start(&mut self, test: &str) {
        self.end();
        self.session = Some(Session {
            test: test.to_owned(),
            index: 0,
            pid: self.vfio.spawn(),
            files: BTreeMap::new(),
            memory: vec![],
        });
    }

    /// Ends the test: its process exits.
    pub fn end(&mut self) {
        if let Some(session) = self.session.take() {
            self.vfio.exit(session.pid);
        }
    }

    pub(super) fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("a test has been started")
    }

    pub(super) fn pid(&self) -> Pid {
        self.session.as_ref().expect("a test has been started").pid
    }

    /// Plays one operation.
    ///
    /// # Panics
    /// If no test has been started.
    pub fn run(&mut self, line: &str) -> Record {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let words = Words(line.split_whitespace().take(31).collect());
        let answer = if matches!(words.at(0), "child" | "vmchild") {
            self.in_child(&Words(words.0[1..].to_vec()))
        } else {
            self.dispatch(&words)
        };
        let session = self.session();
        let index = session.index;
        session.index += 1;
        Record {
            test: session.test.clone(),
            index,
            op: line.to_owned(),
            result: answer.result,
            input: answer.input,
            output: answer.output,
        }
    }

    /// Plays an operation in a forked child, which then exits; what it opened or named is gone.
    fn in_child(&mut self, words: &Words<'_>) -> Answer {
        let parent = self.session().clone();
        let child = match self.vfio.fork(parent.pid) {
            Ok(child) => child,
            Err(errno) => return Answer::of(Err(errno)),
        };
        self.copy_contents(parent.pid, child);
        self.session().pid = child;
        let answer = self.dispatch(words);
        self.vfio.exit(child);
        self.session = Some(parent);
        answer
    }

    fn copy_contents(&mut self, from: Pid, to: Pid) {
        let page_size = self.page_size;
        for region in self.session().memory.clone() {
            let frames = |vfio: &Vfio<B>, pid| {
                let process = vfio.host().process(pid);
                process.frames(region.address, region.size, page_size)
            };
            let pairs = frames(&self.vfio, from)
                .into_iter()
                .zip(frames(&self.vfio, to));
            for (old, new) in pairs {
                let (Some(old), Some(new)) = (old, new) else {
                    continue;
                };
                if old != new && !self.contents.is_blank(old, page_size) {
                    let mut bytes = vec![0; page_size as usize];
                    self.contents.read(old, &mut bytes);
                    self.contents.write(new, &bytes);
                }
            }
        }
    }

    /// The descriptor a word names; -1 if none.
    pub(super) fn fd(&self, word: &str) -> i32 {
        if let Some(number) = word.strip_prefix("fd=") {
            return number.parse().unwrap_or_default();
        }
        let session = self.session.as_ref().expect("a test has been started");
        session.files.get(word).map_or(-1, |named| named.fd)
    }

    pub(super) fn name_file(&mut self, name: &str, result: Result<i32, Errno>) -> Answer {
        let named = Named {
            fd: result.unwrap_or(-1),
            device: None,
        };
        self.session().files.insert(name.to_owned(), named);
        Answer::done(result.map(drop))
    }

    pub(super) fn number(&self, text: &str) -> u64 {
        evaluate(self, text)
    }

    pub(super) fn key(&self, words: &Words<'_>, key: &str, default: u64) -> u64 {
        words.value(key).map_or(default, |text| self.number(text))
    }

    pub(super) fn ioctl(
        &mut self,
        fd: i32,
        cmd: u32,
        arg: u64,
        user: &mut Buffers,
    ) -> Result<i64, Errno> {
        let pid = self.pid();
        self.vfio
            .ioctl(pid, fd, cmd, arg, user)
            .map(|value| value as i64)
    }

    /// The machine's device at work.
    pub(super) fn dma(&mut self, known: usize) -> Dma<'_, B> {
        Dma {
            endpoint: self.known[known].endpoint,
            bus: self.vfio.core_mut().ops_mut(),
            contents: &mut self.contents,
            page_size: self.page_size,
        }
    }

    /// The caller's memory from `address` on to the end of its region, for a structure or bitmap a
    /// script points at.
    pub(super) fn region_bytes(&self, address: u64) -> Option<Vec<u8>> {
        let session = self.session.as_ref()?;
        let region = session
            .memory
            .iter()
            .find(|m| address.checked_sub(m.address).is_some_and(|at| at < m.size))?;
        let process = self.vfio.host().process(session.pid);
        let within = address - region.address;
        let start = address - within % self.page_size;
        let length = (region.size - within).min(LOOK);
        let end = (address + length).next_multiple_of(self.page_size);
        let mut bytes = vec![0; (end - start) as usize];
        let frames = process.frames(start, end - start, self.page_size);
        for (frame, chunk) in frames.iter().zip(bytes.chunks_mut(self.page_size as usize)) {
            if let Some(frame) = frame {
                self.contents.read(*frame, chunk);
            }
        }
        Some(bytes.split_off((address - start) as usize))
    }

    /// The CPU writes.
    pub(super) fn cpu_write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let (pid, page_size) = (self.pid(), self.page_size);
        let first = (page_size - address % page_size).min(bytes.len() as u64) as usize;
        let mut at = address;
        for piece in std::iter::once(&bytes[..first])
            .chain(bytes[first..].chunks(page_size as usize))
            .filter(|piece| !piece.is_empty())
        {
            let process = self.vfio.host_mut().process_mut(pid);
            let paddr = process.touch(at, page_size, Access::ReadWrite)?;
            self.contents.write(paddr, piece);
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    /// All watched memory is zero.
    pub(super) fn clear_watched(&mut self) {
        let page_size = self.page_size;
        for frame in self
            .watched_frames()
            .into_iter()
            .flat_map(|(_, f)| f)
            .flatten()
        {
            self.contents.clear(frame, page_size);
        }
    }

    fn watched_frames(&self) -> Vec<(String, Vec<Option<iommu_core::Paddr>>)> {
        let session = self.session.as_ref().expect("a test has been started");
        let process = self.vfio.host().process(session.pid);
        let watched = session.memory.iter().filter(|memory| memory.watched);
        watched
            .map(|memory| {
                let frames = process.frames(memory.address, memory.size, self.page_size);
                (memory.name.clone(), frames)
            })
            .collect()
    }

    /// What differs from zero in watched memory, as `["name","offset",length]` items.
    pub(super) fn landed(&self) -> String {
        let mut items = Vec::new();
        for (name, frames) in self.watched_frames() {
            let mut run: Option<(u64, u64)> = None;
            let mut bytes = vec![0; self.page_size as usize];
            for (page, frame) in (0..).zip(frames) {
                let blank = frame.is_none_or(|f| self.contents.is_blank(f, self.page_size));
                if blank {
                    bytes.fill(0);
                } else if let Some(frame) = frame {
                    self.contents.read(frame, &mut bytes);
                }
                if blank && run.is_none() {
                    continue;
                }
                for (offset, byte) in (page * self.page_size..).zip(&bytes) {
                    match (&mut run, *byte != 0) {
                        (None, true) => run = Some((offset, 1)),
                        (Some((_, length)), true) => *length += 1,
                        (Some((start, length)), false) => {
                            items.push(format!("[\"{name}\",\"{start:#x}\",{length}]"));
                            run = None;
                        }
                        (None, false) => {}
                    }
                }
            }
            if let Some((start, length)) = run {
                items.push(format!("[\"{name}\",\"{start:#x}\",{length}]"));
            }
        }
        items.join(",")
    }

    /// Whether the device's transfer was refused, as the test device tells.
    pub(super) const fn bus_word(transfer: Transfer) -> &'static str {
        match transfer {
            Transfer::Whole => "ok",
            Transfer::Refused => "fault",
        }
    }

    /// Whether a device may reach an address at all, asked without effect on memory.
    pub fn reaches(&mut self, letter: char, iova: u64, wanted: Prot) -> bool {
        let known = self.known.iter().find(|known| known.letter == letter);
        let Some(endpoint) = known.map(|known| known.endpoint) else {
            return false;
        };
        let bus = self.vfio.core_mut().ops_mut();
        bus.access(&endpoint, iova, wanted).is_some()
    }
}
