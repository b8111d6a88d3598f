//! ELF cores of a machine's memory, as QEMU's `dump-guest-memory` writes them: program headers say
//! which physical addresses lie where in the file. Pages are read when they are needed.

use std::error::Error;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use smmu::addr::Pa;
use smmu::mem::PAGE_BYTES;
use thiserror::Error;

use super::LiveError;
use crate::input;
use crate::machine::{PAGE_WORDS, Page, Pages};

/// Why a file is no core that can be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CoreError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no ELF file.
    #[error("not an ELF file{0}")]
    NotElf(&'static str),
    /// It is an ELF file of another kind.
    #[error("{field} is {found}, expected {expected}")]
    Kind {
        /// The field of the ELF header.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What an Arm machine's core has there.
        expected: &'static str,
    },
    /// It ends before what its headers announce.
    #[error("truncated: {part} ends at byte {end}, the file at {file_bytes}")]
    Truncated {
        /// What does not fit.
        part: String,
        /// Where it would end.
        end: u128,
        /// Bytes in the file.
        file_bytes: u64,
    },
    /// A segment leaves the address space.
    #[error(
        "program header {index}: p_paddr {pa:#x} + p_memsz {bytes:#x} leaves the address space"
    )]
    Segment {
        /// Which program header, from 0.
        index: u64,
        /// Its physical address.
        pa: u64,
        /// Its size in memory.
        bytes: u64,
    },
    /// There is nothing in it.
    #[error("no program header of type PT_LOAD: no memory in it")]
    Empty,
}

const HEADER_BYTES: u64 = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;
/// e_phnum of a file whose true number of program headers is sh_info of section header 0.
const PN_XNUM: u64 = 0xffff;
const SECTION_HEADER_BYTES: u64 = 64;
const SH_INFO: usize = 44;
const PT_LOAD: u64 = 1;
/// Magic number of a kdump-compressed dump (`dump-guest-memory -z` and makedumpfile).
const KDUMP: &[u8] = b"KDUMP   ";

trait Seekable: Read + Seek {}
impl<T: Read + Seek> Seekable for T {}

/// Memory that lies in the file: `[pa, pa + memory_bytes)`, the first `file_bytes` of it stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    pa: u64,
    offset: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

/// An ELF core, open.
pub struct Core {
    file: Box<dyn Seekable>,
    file_bytes: u64,
    segments: Vec<Segment>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// Opens the core at `path`. A compressed one is decompressed in memory, others are read page by
    /// page.
    ///
    /// # Errors
    /// [`LiveError::Read`], or [`LiveError::Core`] saying which field is wrong.
    pub fn open(path: &Path) -> Result<Self, LiveError> {
        let unreadable = |source| LiveError::Read {
            path: path.into(),
            source,
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let mut magic = [0; 4];
        let count = file.read(&mut magic).map_err(unreadable)?;
        let file: Box<dyn Seekable> = if input::is_compressed(&magic[..count]) {
            Box::new(Cursor::new(input::read(path).map_err(unreadable)?))
        } else {
            Box::new(file)
        };
        Self::parse(file).map_err(|source| LiveError::Core {
            path: path.into(),
            source,
        })
    }

    fn parse(file: Box<dyn Seekable>) -> Result<Self, CoreError> {
        let mut core = Self {
            file,
            file_bytes: 0,
            segments: Vec::new(),
        };
        core.file_bytes = core.file.seek(SeekFrom::End(0))?;
        let (offset, count) = core.header()?;
        // The table is read only after it is known to lie in the file, which bounds it.
        let table = core.read(offset, count * PROGRAM_HEADER_BYTES, || {
            format!("the table of {count} program headers")
        })?;
        for (index, header) in (0..).zip(table.chunks_exact(PROGRAM_HEADER_BYTES as usize)) {
            core.segment(index, header)?;
        }
        if core.segments.is_empty() {
            return Err(CoreError::Empty);
        }
        tracing::info!(
            bytes = core.file_bytes,
            segments = core.segments.len(),
            "core opened"
        );
        Ok(core)
    }

    /// Checks the ELF header; returns where the program headers are, and how many.
    fn header(&mut self) -> Result<(u64, u64), CoreError> {
        let magic = self.read(0, self.file_bytes.min(8), String::new)?;
        if magic.starts_with(KDUMP) {
            return Err(CoreError::NotElf(
                " but a kdump-compressed dump: dump without -z, -l, -s",
            ));
        }
        if !magic.starts_with(b"\x7fELF") {
            return Err(CoreError::NotElf(""));
        }
        let header = self.read(0, HEADER_BYTES, || "the ELF header".into())?;
        for (field, at, bytes, wanted, expected) in [
            ("EI_CLASS", 4, 1, 2, "2 (64-bit)"),
            ("EI_DATA", 5, 1, 1, "1 (little-endian)"),
            ("e_type", 16, 2, 4, "4 (a core)"),
            ("e_machine", 18, 2, 183, "183 (AArch64)"),
            ("e_phentsize", 54, 2, PROGRAM_HEADER_BYTES, "56"),
        ] {
            let found = number(&header, at, bytes);
            if found != wanted {
                return Err(CoreError::Kind {
                    field,
                    found,
                    expected,
                });
            }
        }
        let count = match number(&header, 56, 2) {
            PN_XNUM => {
                let section = number(&header, 40, 8);
                let section =
                    self.read(section, SECTION_HEADER_BYTES, || "section header 0".into())?;
                number(&section, SH_INFO, 4)
            }
            count => count,
        };
        Ok((number(&header, 32, 8), count))
    }

    /// Takes up the memory of a program header, if it has any.
    fn segment(&mut self, index: u64, header: &[u8]) -> Result<(), CoreError> {
        let field = |at| number(header, at, 8);
        let segment = Segment {
            offset: field(8),
            pa: field(24),
            file_bytes: field(32),
            memory_bytes: field(40),
        };
        if number(header, 0, 4) != PT_LOAD || segment.memory_bytes == 0 {
            return Ok(());
        }
        self.fits(segment.offset, segment.file_bytes, || {
            format!("the segment of program header {index}")
        })?;
        if segment.pa.checked_add(segment.memory_bytes - 1).is_none() {
            return Err(CoreError::Segment {
                index,
                pa: segment.pa,
                bytes: segment.memory_bytes,
            });
        }
        self.segments.push(segment);
        Ok(())
    }

    fn fits(
        &self,
        offset: u64,
        bytes: u64,
        part: impl FnOnce() -> String,
    ) -> Result<(), CoreError> {
        let end = u128::from(offset) + u128::from(bytes);
        if end > self.file_bytes.into() {
            return Err(CoreError::Truncated {
                part: part(),
                end,
                file_bytes: self.file_bytes,
            });
        }
        Ok(())
    }

    fn read(
        &mut self,
        offset: u64,
        bytes: u64,
        part: impl FnOnce() -> String,
    ) -> Result<Vec<u8>, CoreError> {
        self.fits(offset, bytes, part)?;
        self.file.seek(SeekFrom::Start(offset))?;
        let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        self.file.read_exact(&mut buffer)?;
        Ok(buffer)
    }
}

/// The little-endian number of `bytes` bytes at `at`.
fn number(header: &[u8], at: usize, bytes: usize) -> u64 {
    let field = header[at..at + bytes].iter().rev();
    field.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Pages for Core {
    /// A page that segments cover in part is zero elsewhere; where segments overlap, the first
    /// counts.
    fn page(&mut self, base: Pa) -> Result<Option<Page>, Box<dyn Error + Send + Sync>> {
        let (first, last) = (base.get(), base.get() | (PAGE_BYTES - 1));
        let overlapping: Vec<_> = self
            .segments
            .iter()
            .filter(|s| s.pa <= last && s.pa + (s.memory_bytes - 1) >= first)
            .copied()
            .collect();
        if overlapping.is_empty() {
            return Ok(None);
        }
        let mut bytes = [0; PAGE_BYTES as usize];
        for segment in overlapping.iter().rev() {
            let from = first.max(segment.pa);
            // Not stored means zero, over whatever a later segment has there.
            let in_memory = (last - from + 1).min(segment.memory_bytes - (from - segment.pa));
            let at = (from - first) as usize;
            bytes[at..at + in_memory as usize].fill(0);
            let stored = in_memory.min(segment.file_bytes.saturating_sub(from - segment.pa));
            if stored != 0 {
                let offset = segment.offset + (from - segment.pa);
                let stored = self.read(offset, stored, || format!("the page at {base}"))?;
                bytes[at..at + stored.len()].copy_from_slice(&stored);
            }
        }
        let mut page: Page = Box::new([0; PAGE_WORDS]);
        for (word, bytes) in page.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = number(bytes, 0, 8);
        }
        Ok(Some(page))
    }
}
