//! The guest: its memory, and two tables of one context descriptor that lead the same device
//! address to different pages.

use iommu_core::Paddr;
use iommu_core::uapi::PasidTableConfig;
use smmu::addr::Pa;
use smmu::mem::{AccessClass, PhysMem};
use smmu::spec::attrs::{Ps, Tg0};
use smmu::spec::cd::{Cd, CdDw0, CdDw1};

use super::op::{Stage1, Table};

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;
/// Guest physical address of its first page.
pub(super) const GUEST: u64 = 0x4000_0000;
/// Guest physical address of the second mapping.
const SECOND: u64 = GUEST + 0x10_0000;
/// Pages of the guest's memory, both mappings.
pub(super) const PAGES: u64 = 14;

/// One of the two mappings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// Guest physical address.
    pub(super) iova: u64,
    /// First page of the process's memory behind it.
    pub(super) first: u64,
    /// Pages.
    pub(super) pages: u64,
}

/// The first has the guest's tables and pages A and B, the second two pages of data.
pub(super) const RANGES: [Range; 2] = [
    Range {
        iova: GUEST,
        first: 0,
        pages: 12,
    },
    Range {
        iova: SECOND,
        first: 12,
        pages: 2,
    },
];

/// Device addresses that are tried: one that each table leads elsewhere, one in the second mapping
/// that tables leave where it is.
pub(super) const PROBES: [u64; 2] = [GUEST, SECOND];

/// Pages of the guest, by the order of their frames.
const PAGE_A: u64 = 1;
const PAGE_B: u64 = 2;
const CDS: u64 = 3;
const TABLES: [u64; 2] = [4, 7];
const ASIDS: [u16; 2] = [5, 6];

/// What the guest tags its two tables with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asids {
    /// The same ASID, as two tables that follow each other in one device may have.
    One,
    /// An ASID each, as one guest gives to two address spaces in use.
    Each,
}

impl Table {
    /// Guest physical address of its context descriptor.
    pub(super) const fn base_ptr(self) -> u64 {
        let index = match self {
            Self::T => 0,
            Self::U => 1,
        };
        GUEST + CDS * PAGE + 64 * index
    }
}

/// What a stage 1 looks like in SET_PASID_TABLE.
pub(super) fn config(stage1: Stage1) -> PasidTableConfig {
    match stage1 {
        Stage1::Table(table) => PasidTableConfig::translate(table.base_ptr()),
        Stage1::Bypass => PasidTableConfig::bypass(),
        Stage1::Abort => PasidTableConfig::abort(),
    }
}

/// What the page behind the first probe is called, by its place in the guest's memory.
pub(super) fn page_name(page: u64) -> String {
    match page {
        0 => "the page itself".to_owned(),
        PAGE_A => "page A, by T".to_owned(),
        PAGE_B => "page B, by U".to_owned(),
        12.. => "the page itself".to_owned(),
        other => format!("guest page {other}"),
    }
}

/// The guest writes its tables: 39-bit addresses, 4 KiB pages, three levels each.
pub(super) fn write_tables(frames: &[Paddr], asids: Asids, memory: &mut impl PhysMem) {
    let mut word = |page: u64, offset: u64, value: u64| {
        let pa = Pa::new(frames[page as usize].0 + offset);
        // The frames are RAM of the board.
        let _written = memory.write64(pa, value, AccessClass::Stage1);
    };
    let ipa = |page: u64| GUEST + page * PAGE;
    for (index, target) in (0..).zip([PAGE_A, PAGE_B]) {
        let first = TABLES[index as usize];
        let asid = match asids {
            Asids::One => ASIDS[0],
            Asids::Each => ASIDS[index as usize],
        };
        for (offset, value) in (0..).step_by(8).zip(descriptor(ipa(first), asid)) {
            word(CDS, 64 * index + offset, value);
        }
        word(first, (GUEST >> 30) * 8, ipa(first + 1) | 3);
        word(first + 1, (GUEST >> 21 & 0x1ff) * 8, ipa(first + 2) | 3);
        let leaf = |address: u64| (address >> 12 & 0x1ff) * 8;
        // Access flag, inner shareable, accessible to EL0, not global.
        word(first + 2, leaf(GUEST), ipa(target) | 0xf43);
        word(first + 2, leaf(SECOND), SECOND | 0xf43);
    }
}

fn descriptor(ttb0: u64, asid: u16) -> [u64; 8] {
    let dw0 = CdDw0::new()
        .with_t0sz(25)
        .with_tg0(Tg0::K4)
        .with_epd1(true)
        .with_v(true)
        .with_ips(Ps::Bits44)
        .with_aa64(true)
        .with_r(true)
        .with_a(true)
        .with_aset(true)
        .with_asid(asid);
    Cd {
        dw0,
        dw1: CdDw1::new().with_ttb0(ttb0 >> 4),
        ..Cd::default()
    }
    .words()
}
