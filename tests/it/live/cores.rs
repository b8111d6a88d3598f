//! ELF cores built byte by byte: several segments, many program headers, and every way to be wrong.

use std::fs;

use proptest::prelude::*;
use smmu::addr::Pa;
use smmu_sim::live::Core;
use smmu_sim::machine::Pages;

use super::{data, smmu_sim};

/// A program header's type, file offset, physical address, size in the file and in memory.
#[derive(Clone, Copy)]
pub(super) struct Header(
    pub(super) u32,
    pub(super) u64,
    pub(super) u64,
    pub(super) u64,
    pub(super) u64,
);

/// An ELF core with these program headers; `fill` bytes follow the table, at offset `HEADER_BYTES`
/// plus 56 for each header.
pub(super) fn core(headers: &[Header], fill: &[u8]) -> Vec<u8> {
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    elf.extend([0; 8]);
    elf.extend(4u16.to_le_bytes()); // e_type: a core
    elf.extend(183u16.to_le_bytes()); // e_machine: AArch64
    elf.extend(1u32.to_le_bytes());
    elf.extend([0; 8]); // e_entry
    elf.extend(HEADER_BYTES.to_le_bytes()); // e_phoff
    elf.extend([0; 8]); // e_shoff
    elf.extend([0; 4]); // e_flags
    for half in [64, 56, headers.len() as u16, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    for Header(kind, offset, pa, file_bytes, memory_bytes) in headers {
        elf.extend(kind.to_le_bytes());
        elf.extend(0u32.to_le_bytes());
        for word in [*offset, 0, *pa, *file_bytes, *memory_bytes, 0] {
            elf.extend(word.to_le_bytes());
        }
    }
    elf.extend(fill);
    elf
}

pub(super) const HEADER_BYTES: u64 = 64;
const LOAD: u32 = 1;
const NOTE: u32 = 4;

/// One STE for stream 0: valid, bypass, incoming shareability.
fn bypass_ste() -> Vec<u8> {
    let mut ste = vec![0; 64];
    ste[0] = 0b1001;
    ste[13] = 0x10;
    ste
}

const REGS: &str = "STRTAB_BASE = 0x40000fc0\nSTRTAB_BASE_CFG = 0\nCR0 = 1\nCR2 = 2\n";

/// Walks stream 0 through a core and those registers, of a part that has everything.
#[track_caller]
fn walk(core: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("core"), core).unwrap();
    fs::write(path("regs"), REGS).unwrap();
    let (core, regs) = (path("core"), path("regs"));
    let part = ["--part", "full"];
    let mut arguments = vec![
        "walk", "--core", &core, "--regs", &regs, "--sid", "0", "1234",
    ];
    arguments.extend(part);
    smmu_sim(&arguments)
}

#[test]
fn a_page_is_put_together_from_the_segments_that_share_it() {
    // The STE's first 16 bytes end one segment, the rest begins another; a note is no memory.
    let at = HEADER_BYTES + 3 * 56;
    let headers = [
        Header(NOTE, at, 0x4000_0000, 64, 64),
        Header(LOAD, at + 16, 0x4000_0fd0, 48, 0x1030),
        Header(LOAD, at, 0x4000_0fc0, 16, 16),
    ];
    let text = walk(&core(&headers, &bypass_ste()));
    assert!(text.contains("-> pa 0x1234 (bypass)"), "{text}");
}

#[test]
fn where_segments_overlap_the_first_counts() {
    let at = HEADER_BYTES + 2 * 56;
    let (stored, zeros) = (
        Header(LOAD, at, 0x4000_0fc0, 64, 64),
        Header(LOAD, at, 0x4000_0000, 0, 0x2000),
    );
    assert!(walk(&core(&[stored, zeros], &bypass_ste())).contains("(bypass)"));
    assert!(walk(&core(&[zeros, stored], &bypass_ste())).contains("C_BAD_STE"));
}

#[test]
fn what_a_segment_does_not_store_is_zero_and_what_no_segment_has_aborts() {
    let at = HEADER_BYTES + 56;
    // In memory but not in the file: an STE of zeros is invalid.
    let zeros = core(&[Header(LOAD, at, 0x4000_0000, 0, 0x1000)], &[]);
    assert!(walk(&zeros).contains("C_BAD_STE"));
    let elsewhere = core(&[Header(LOAD, at, 0x5000_0000, 0, 0x1000)], &[]);
    assert!(walk(&elsewhere).contains("F_STE_FETCH"));
    // Far behind what is stored, where the offset would leave the numbers there are.
    let all = core(&[Header(LOAD, 0x2000, 0, 0, u64::MAX)], &[0; 0x2000]);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), all).unwrap();
    let page = Core::open(file.path()).unwrap().page(Pa::new(!0xfff));
    assert_eq!(*page.unwrap().unwrap(), [0; 512]);
}

#[test]
fn the_number_of_program_headers_may_be_in_section_header_0() {
    // e_phnum = PN_XNUM: the number is sh_info of section header 0 (System V ABI, ELF-64).
    let at = HEADER_BYTES + 56;
    let mut elf = core(&[Header(LOAD, at, 0x4000_0fc0, 64, 64)], &bypass_ste());
    let section = elf.len() as u64;
    elf[40..48].copy_from_slice(&section.to_le_bytes());
    elf[56..58].copy_from_slice(&[0xff, 0xff]);
    elf.extend([0; 44]);
    elf.extend(1u32.to_le_bytes());
    elf.extend([0; 16]);
    assert!(walk(&elf).contains("(bypass)"));
}

#[test]
fn a_snapshot_manifest_is_a_register_file() {
    let core = data("virt.core.gz");
    let regs = "tests/data/snapshots/own4k_nested.badcd.json";
    // The stream table is where those registers say, in memory of another machine: zeros.
    let text = smmu_sim(&[
        "walk",
        "--core",
        &core,
        "--regs",
        regs,
        "--sid",
        "8",
        "0",
        "--explain",
    ]);
    assert!(
        text.contains("L1STD              -              0x40bcd000"),
        "{text}"
    );
}

proptest! {
    /// Whatever a file says of itself: an error or pages, no panic, and no more memory than the
    /// file has bytes.
    #[test]
    fn damaged_cores_are_refused_or_read(
        changes in prop::collection::vec((0usize..240, any::<u8>()), 1..12),
        length in 0usize..400,
        pages in prop::collection::vec(any::<u64>(), 4),
    ) {
        let at = HEADER_BYTES + 2 * 56;
        let headers = [
            Header(LOAD, at, 0x4000_0fc0, 64, 64),
            Header(LOAD, at, 0x4000_1000, 0, u64::MAX - 0x4000_1000),
        ];
        let mut elf = core(&headers, &bypass_ste());
        for (at, byte) in changes {
            elf[at] = byte;
        }
        elf.resize(length, 0);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &elf).unwrap();
        if let Ok(mut core) = Core::open(file.path()) {
            for page in pages.into_iter().chain([0x4000_0000, 0x4000_1000, 0, u64::MAX]) {
                // Any answer will do.
                let _ = core.page(Pa::new(page & !0xfff));
            }
        }
    }
}

#[test]
fn a_compressed_core_reads_as_a_plain_one() {
    let packed = data("virt.core.gz");
    let plain = tempfile::NamedTempFile::new().unwrap();
    let bytes = smmu_sim::input::read(std::path::Path::new(&packed)).unwrap();
    fs::write(plain.path(), bytes).unwrap();
    let regs = data("virt.regs");
    let walk = |core: &str| {
        smmu_sim(&[
            "walk",
            "--core",
            core,
            "--regs",
            &regs,
            "--sid",
            "8",
            "ffffc678",
            "--explain",
        ])
    };
    assert_eq!(walk(&packed), walk(plain.path().to_str().unwrap()));
}
