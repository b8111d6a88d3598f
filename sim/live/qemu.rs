//! A QEMU that runs, read through its monitor: the memory map, registers, and memory by the page.
//!
//! Only RAM and ROM of the map are read as memory. Reading a device's registers can change the
//! device, so a table pointer that leads to one meets an abort here.

use std::error::Error;

use smmu::addr::Pa;
use smmu::mem::PAGE_BYTES;
use smmu::regfile::{Presence, RegisterInfo, Width};
use thiserror::Error;

use super::qmp::{Qmp, QmpError, Socket, TIMEOUT};
use crate::machine::{PAGE_WORDS, Page, Pages, Registers};

/// Why a QEMU cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QemuError {
    /// The exchange failed.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// An answer is not what the monitor command prints.
    #[error("{command:?}: {what}")]
    Answer {
        /// The monitor command.
        command: String,
        /// What is wrong with its answer.
        what: String,
    },
    /// The memory map shows no SMMUv3.
    #[error("the machine's memory map shows no {SMMU_REGION}; --smmu-base says where one is")]
    NoSmmu,
    /// Nothing answers at the base.
    #[error("--smmu-base {base:#x}: no SMMU there, {what}")]
    NotAnSmmu {
        /// The base.
        base: u64,
        /// What was read.
        what: String,
    },
}

/// QEMU's name of an SMMUv3's registers.
const SMMU_REGION: &str = "arm-smmuv3";

/// Kinds of regions that hold memory and can be read without a side effect.
const MEMORY_KINDS: [&str; 3] = ["ram", "rom", "romd"];

/// Whether a register is state that translations depend on. Those of ATOS hold one operation each,
/// and the VATOS page lies where another device may be if the part has none.
fn is_state(register: &RegisterInfo) -> bool {
    match register.presence {
        Presence::Always | Presence::Msi | Presence::Pri | Presence::PriMsi => true,
        Presence::Atos | Presence::Vatos | Presence::Unmodelled(_) => false,
    }
}

/// What is asked of the monitor. Nothing here changes the machine, and nothing else is ever sent.
#[derive(Debug, Clone, Copy)]
enum Ask {
    MemoryMap,
    Word(u64),
    Page(u64),
}

impl Ask {
    fn command(self) -> String {
        match self {
            Self::MemoryMap => "info mtree -f".into(),
            Self::Word(pa) => format!("xp /1wx {pa:#x}"),
            Self::Page(pa) => format!("xp /{PAGE_WORDS}gx {pa:#x}"),
        }
    }
}

/// One region of the flat memory map.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Region {
    first: u64,
    last: u64,
    kind: String,
    name: String,
}

/// A connection to a QEMU, and its memory map as it was at the start.
#[derive(Debug)]
pub struct Qemu {
    qmp: Qmp,
    map: Vec<Region>,
}

impl Qemu {
    /// Connects and reads the memory map.
    ///
    /// # Errors
    /// [`QemuError`].
    pub fn connect(socket: &Socket) -> Result<Self, QemuError> {
        let mut qmp = Qmp::connect(socket, TIMEOUT)?;
        let command = Ask::MemoryMap.command();
        let text = qmp.monitor(&command)?;
        let map = memory_map(&text);
        if map.is_empty() {
            let what = "there is no address space \"memory\" in it".into();
            return Err(QemuError::Answer { command, what });
        }
        tracing::info!(regions = map.len(), "memory map read");
        Ok(Self { qmp, map })
    }

    /// Where SMMUv3s have their registers, ascending.
    ///
    /// # Errors
    /// [`QemuError::NoSmmu`] if there is none.
    pub fn smmu_bases(&self) -> Result<Vec<u64>, QemuError> {
        let smmus = self.map.iter().filter(|region| region.name == SMMU_REGION);
        let bases: Vec<_> = smmus.map(|region| region.first).collect();
        if bases.is_empty() {
            return Err(QemuError::NoSmmu);
        }
        Ok(bases)
    }

    /// The registers of the SMMU at `base`, read word by word: QEMU answers an access that is wider
    /// than the register with zero.
    ///
    /// # Errors
    /// [`QemuError`], [`QemuError::NotAnSmmu`] if what is read there cannot be an SMMU's.
    pub fn registers(&mut self, base: u64) -> Result<Registers, QemuError> {
        let mut registers = Registers::default();
        for register in smmu::regfile::registers().iter().filter(|r| is_state(r)) {
            let words = match register.width {
                Width::W64 => 2,
                Width::W32 => 1,
            };
            for offset in (register.offset..).step_by(4).take(words) {
                let word = self.word(base, offset)?;
                registers.set_word(offset, word);
            }
        }
        if registers.get("IDR0") == Some(0) {
            let what = "IDR0 reads as 0".into();
            return Err(QemuError::NotAnSmmu { base, what });
        }
        Ok(registers)
    }

    fn word(&mut self, base: u64, offset: u32) -> Result<u32, QemuError> {
        let not_an_smmu = |what: &str| QemuError::NotAnSmmu {
            base,
            what: what.into(),
        };
        let pa = base
            .checked_add(offset.into())
            .ok_or_else(|| not_an_smmu("the registers leave the address space"))?;
        let command = Ask::Word(pa).command();
        let text = self.qmp.monitor(&command)?;
        match dump(&text, pa, 4) {
            Dump::Words(words) if words.len() == 1 => Ok(words[0] as u32),
            Dump::NoMemory => Err(not_an_smmu("the bus answers with an error")),
            other => Err(QemuError::Answer {
                command,
                what: other.complaint(1),
            }),
        }
    }
}

/// Whether the whole page at `base` is RAM or ROM.
fn is_memory(map: &[Region], base: u64) -> bool {
    let last = base | (PAGE_BYTES - 1);
    let mut next = base;
    // Regions ascend and do not overlap; several may share a page.
    for region in map.iter().filter(|region| region.last >= base) {
        let kind = region.kind.trim_start_matches("nv-");
        if region.first > next || !MEMORY_KINDS.contains(&kind) {
            return false;
        }
        if region.last >= last {
            return true;
        }
        next = region.last + 1;
    }
    false
}

impl Pages for Qemu {
    fn page(&mut self, base: Pa) -> Result<Option<Page>, Box<dyn Error + Send + Sync>> {
        if !is_memory(&self.map, base.get()) {
            let last = base.get() | (PAGE_BYTES - 1);
            let mut regions = self.map.iter();
            if let Some(region) = regions.find(|r| r.first <= last && r.last >= base.get()) {
                // Where nothing is, the machine aborts as well.
                let (kind, name) = (&region.kind, &region.name);
                tracing::warn!(%base, kind, name, "neither RAM nor ROM: not read, shown as an abort");
            }
            return Ok(None);
        }
        let command = Ask::Page(base.get()).command();
        let text = self.qmp.monitor(&command)?;
        match dump(&text, base.get(), 8) {
            Dump::Words(words) => match <[u64; PAGE_WORDS]>::try_from(words.as_slice()) {
                Ok(page) => Ok(Some(Box::new(page))),
                Err(_) => Err(Box::new(QemuError::Answer {
                    command,
                    what: Dump::Words(words).complaint(PAGE_WORDS),
                })),
            },
            // Memory unplugged since the map was read.
            Dump::NoMemory => Ok(None),
            other @ Dump::Strange(_) => Err(Box::new(QemuError::Answer {
                command,
                what: other.complaint(PAGE_WORDS),
            })),
        }
    }
}

/// The flat view of the address space "memory", from what `info mtree -f` prints: paragraphs with
/// the address spaces' names first, then a region a line.
fn memory_map(text: &str) -> Vec<Region> {
    let mut regions = Vec::new();
    let mut wanted = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("FlatView ") {
            if wanted {
                break;
            }
        } else if line.starts_with("AS \"memory\",") {
            wanted = true;
        } else if wanted && let Some(region) = region(line) {
            regions.push(region);
        }
    }
    regions
}

/// `FIRST-LAST (prio N, KIND): NAME`, perhaps with ` @OFFSET` and more behind.
fn region(line: &str) -> Option<Region> {
    let (range, rest) = line.split_once(" (prio ")?;
    let (first, last) = range.split_once('-')?;
    let (_, rest) = rest.split_once(", ")?;
    let (kind, name) = rest.split_once("): ")?;
    Some(Region {
        first: u64::from_str_radix(first, 16).ok()?,
        last: u64::from_str_radix(last, 16).ok()?,
        kind: kind.into(),
        name: name.split(" @").next()?.split(" KVM").next()?.trim().into(),
    })
}

/// What `xp` prints.
#[derive(Debug, PartialEq, Eq)]
enum Dump {
    Words(Vec<u64>),
    NoMemory,
    Strange(String),
}

impl Dump {
    fn complaint(&self, expected: usize) -> String {
        match self {
            Self::Words(words) => format!("{} words instead of {expected}", words.len()),
            Self::NoMemory => "no memory".into(),
            Self::Strange(line) => format!("cannot read {line:?}"),
        }
    }
}

/// Reads lines of `ADDRESS: 0xWORD…`, the addresses ascending from `start` without a gap.
fn dump(text: &str, start: u64, word_bytes: u64) -> Dump {
    let mut words = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let strange = || Dump::Strange(line.chars().take(80).collect());
        let Some((address, values)) = line.split_once(": ") else {
            return strange();
        };
        let expected = start.wrapping_add(words.len() as u64 * word_bytes);
        if u64::from_str_radix(address, 16) != Ok(expected) {
            return strange();
        }
        if values.starts_with("Cannot access memory") {
            return Dump::NoMemory;
        }
        for value in values.split_whitespace() {
            match value.strip_prefix("0x").map(|v| u64::from_str_radix(v, 16)) {
                Some(Ok(word)) => words.push(word),
                _ => return strange(),
            }
        }
    }
    Dump::Words(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "FlatView #0\r\n AS \"I/O\", root: io\r\n Root memory region: io\r\n  \
        0000000000000000-000000000000ffff (prio 0, i/o): io\r\n\r\nFlatView #3\r\n AS \"memory\", root: \
        system\r\n AS \"cpu-memory-0\", root: system\r\n Root memory region: system\r\n  \
        0000000000000000-0000000003ffffff (prio 0, romd): virt.flash0\r\n  \
        0000000009050000-000000000906ffff (prio 0, i/o): arm-smmuv3\r\n  \
        0000000040000000-00000000400007ff (prio 0, ram): ram\r\n  \
        0000000040000800-0000000040ffffff (prio 0, ram): ram @0000000000000800 KVM\r\n  \
        0000000041000000-00000000410000ff (prio 1, ramd): vfio bar\r\n\r\nFlatView #4\r\n AS \"edu\", \
        root: bus master container\r\n  0000000050000000-0000000050000fff (prio 0, ram): other\r\n";

    #[test]
    fn the_map_is_that_of_the_address_space_memory() {
        let map = memory_map(MAP);
        assert_eq!(map.len(), 5);
        assert_eq!(map[1].name, "arm-smmuv3");
        assert_eq!(map[3].name, "ram");
        assert_eq!(map[3].kind, "ram");
        assert_eq!(memory_map("FlatView #0\n AS \"I/O\", root: io\n"), []);
    }

    #[test]
    fn memory_is_what_ram_and_rom_cover_whole() {
        let map = memory_map(MAP);
        for (base, memory) in [
            (0, true),
            (0x3ff_f000, true),
            (0x400_0000, false), // nothing
            (0x905_0000, false), // registers
            (0x4000_0000, true), // two regions share it
            (0x40ff_f000, true),
            (0x4100_0000, false), // a device's own memory
            (0x5000_0000, false), // of another address space
        ] {
            assert_eq!(is_memory(&map, base), memory, "{base:#x}");
        }
    }

    #[test]
    fn a_dump_is_words_or_no_memory_or_complained_about() {
        let text = "0000000040000000: 0x0000000000000001 0x2\r\n0000000040000010: 0x3\r\n";
        assert_eq!(dump(text, 0x4000_0000, 8), Dump::Words(vec![1, 2, 3]));
        let text = "00000ffffffff000: Cannot access memory\r\n";
        assert_eq!(dump(text, 0xfff_ffff_f000, 8), Dump::NoMemory);
        for text in ["40000008: 0x1", "40000000: one", "unknown command: 'xp'"] {
            assert!(
                matches!(dump(text, 0x4000_0000, 8), Dump::Strange(_)),
                "{text}"
            );
        }
    }
}
