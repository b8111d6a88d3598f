//! The shape of page tables: levels, start table, page sizes, and the bits of an entry.

use iommu_core::ops::Prot;
use iommu_core::semantics::{Concatenation, DriverRules};
use smmu::addr::Pa;
use smmu::spec::attrs::Sh;
use smmu::spec::desc::{Stage1Leaf, Stage2Leaf};
use thiserror::Error;

use super::{LAST_LEVEL, TYPE_BLOCK, TYPE_PAGE, TYPE_TABLE};

/// Which stage the tables are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `ARM_64_LPAE_S1`.
    Stage1,
    /// `ARM_64_LPAE_S2`; stage 2 may force write-back (`IO_PGTABLE_QUIRK_ARM_S2FWB`).
    Stage2 {
        /// Memory types are those of STE.S2FWB=1.
        fwb: bool,
    },
}

/// Why no tables can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FormatError {
    /// No page size is left, or an address size is none the tables express.
    #[error("no page table format for this page size and address size")]
    Unsupported,
}

/// Largest number of concatenated start tables (`ARM_LPAE_S2_MAX_CONCAT_PAGES`).
const MAX_CONCATENATED: u64 = 16;

/// Marks a Table descriptor as written back, where walks do not snoop (`ARM_LPAE_PTE_SW_SYNC`).
pub(super) const SW_SYNC: u64 = 1 << 55;

/// Indices into MAIR (`ARM_LPAE_MAIR_ATTR_IDX_*`).
const ATTR_NC: u8 = 0;
const ATTR_CACHE: u8 = 1;
const ATTR_DEV: u8 = 2;

/// MAIR of stage 1: Non-cacheable, Write-Back, Device-nGnRE, inner Non-cacheable outer Write-Back.
/// The kernel shifts the last one as an `int` into its sign, so that the upper half is all ones.
pub const MAIR: u64 = 0xffff_ffff_f404_ff44;

/// Shape, sizes and rules of a set of page tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    stage: Stage,
    granule_log2: u32,
    pgsize_bitmap: u64,
    ias: u32,
    oas: u32,
    start_level: u8,
    /// log2 of the entries of the start table.
    start_bits: u32,
    coherent: bool,
    rules: DriverRules,
}

impl Format {
    /// The format io-pgtable chooses (`arm_lpae_alloc_pgtable`, `arm_64_lpae_alloc_pgtable_s2`).
    /// `cpu_page` is the CPU's page size in bytes: tables use it if the SMMU can.
    ///
    /// # Errors
    /// [`FormatError`] if nothing fits.
    pub fn new(
        stage: Stage,
        pgsize_bitmap: u64,
        cpu_page: u64,
        (ias, oas): (u32, u32),
        coherent: bool,
        rules: DriverRules,
    ) -> Result<Self, FormatError> {
        let granule_log2 = granule(pgsize_bitmap, cpu_page).ok_or(FormatError::Unsupported)?;
        let (sizes, most) = match granule_log2 {
            12 => (1 << 12 | 1 << 21 | 1 << 30, 48),
            14 => (1 << 14 | 1 << 25, 48),
            16 if oas > 48 => (1 << 16 | 1 << 29 | 1 << 42, 52),
            16 => (1 << 16 | 1 << 29, 52),
            _ => return Err(FormatError::Unsupported),
        };
        let (ias, oas) = (ias.min(most), oas.min(most));
        if ias <= granule_log2 || ![32, 36, 40, 42, 44, 48, 52].contains(&oas) {
            return Err(FormatError::Unsupported);
        }
        let bits_per_level = granule_log2 - 3;
        let levels = (ias - granule_log2).div_ceil(bits_per_level);
        let mut format = Self {
            stage,
            granule_log2,
            pgsize_bitmap: pgsize_bitmap & sizes,
            ias,
            oas,
            start_level: LAST_LEVEL + 1 - levels as u8,
            start_bits: ias - granule_log2 - bits_per_level * (levels - 1),
            coherent,
            rules,
        };
        if matches!(stage, Stage::Stage2 { .. }) && format.concatenates() {
            format.start_bits += bits_per_level;
            format.start_level += 1;
        }
        Ok(format)
    }

    fn concatenates(&self) -> bool {
        if self.rules.concatenation == Concatenation::WherePossible {
            return self.start_level == 0 && 1u64 << self.start_bits <= MAX_CONCATENATED;
        }
        // DDI 0487 R_DXBSH, R_SRKBC.
        match (self.granule_log2, self.start_level) {
            (12, 0) => matches!(self.oas, 40 | 42),
            (14, 0) => self.oas == 48 || self.ias == 48,
            (14, 1) => self.oas == 40,
            _ => false,
        }
    }

    /// Which stage.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Bytes of the smallest page, as a power of two.
    pub fn granule_log2(&self) -> u32 {
        self.granule_log2
    }

    /// Page sizes, one bit a size in bytes.
    pub fn pgsize_bitmap(&self) -> u64 {
        self.pgsize_bitmap
    }

    /// Bits of an input address.
    pub fn ias(&self) -> u32 {
        self.ias
    }

    /// Bits of an output address.
    pub fn oas(&self) -> u32 {
        self.oas
    }

    /// Level of the start table.
    pub fn start_level(&self) -> u8 {
        self.start_level
    }

    pub(super) fn rules(&self) -> DriverRules {
        self.rules
    }

    pub(crate) fn coherent(&self) -> bool {
        self.coherent
    }

    /// Bytes of the start table, all concatenated tables together.
    pub fn start_table_bytes(&self) -> u64 {
        8 << self.start_bits
    }

    /// Bytes of a table at `level`.
    pub(super) fn table_bytes(&self, level: u8) -> u64 {
        if level == self.start_level {
            self.start_table_bytes()
        } else {
            1 << self.granule_log2
        }
    }

    /// What one entry at `level` spans, as a power of two of bytes.
    #[inline]
    pub(super) fn span_log2(&self, level: u8) -> u32 {
        self.granule_log2 + (self.granule_log2 - 3) * u32::from(LAST_LEVEL - level)
    }

    fn index_bits(&self, level: u8) -> u32 {
        if level == self.start_level {
            self.start_bits
        } else {
            self.granule_log2 - 3
        }
    }

    /// Index of `iova` in its table at `level`.
    #[inline]
    pub(super) fn index(&self, iova: u64, level: u8) -> u64 {
        iova >> self.span_log2(level) & ((1 << self.index_bits(level)) - 1)
    }

    /// Entries from that of `iova` to the end of its table at `level`.
    #[inline]
    pub(super) fn entries_left(&self, iova: u64, level: u8) -> u64 {
        (1 << self.index_bits(level)) - self.index(iova, level)
    }

    /// Where the entry of `iova` is in `table` at `level`.
    #[inline]
    pub(super) fn entry(&self, table: Pa, iova: u64, level: u8) -> Pa {
        table.add(self.index(iova, level) * 8)
    }

    /// The address an entry holds (`iopte_to_paddr`).
    #[inline]
    pub(super) fn address(&self, pte: u64) -> Pa {
        let low = pte & 0x0000_ffff_ffff_f000;
        if self.granule_log2 < 16 {
            Pa::new(low)
        } else {
            // 64 KiB tables keep address bits [51:48] in bits [15:12].
            Pa::new((low | low << 36) & 0x000f_ffff_ffff_0000)
        }
    }

    /// An address as an entry holds it (`paddr_to_iopte`).
    #[inline]
    pub(super) fn address_bits(pa: u64) -> u64 {
        (pa | pa >> 36) & 0x0000_ffff_ffff_f000
    }

    /// A Table descriptor.
    pub(super) fn table_entry(table: Pa) -> u64 {
        Self::address_bits(table.get()) | TYPE_TABLE
    }

    /// What a leaf for `prot` at `level` holds besides its address (`arm_lpae_prot_to_pte`).
    #[inline]
    pub(super) fn leaf_bits(&self, prot: Prot, level: u8) -> u64 {
        let kind = if level == LAST_LEVEL {
            TYPE_PAGE
        } else {
            TYPE_BLOCK
        } as u8;
        let sh = if prot.contains(Prot::CACHE) {
            Sh::InnerShareable
        } else {
            Sh::OuterShareable
        };
        let noexec = prot.contains(Prot::NOEXEC);
        match self.stage {
            Stage::Stage1 => {
                let read_only = !prot.contains(Prot::WRITE) && prot.contains(Prot::READ);
                let unprivileged = !prot.contains(Prot::PRIV);
                let attrindx = if prot.contains(Prot::MMIO) {
                    ATTR_DEV
                } else if prot.contains(Prot::CACHE) {
                    ATTR_CACHE
                } else {
                    ATTR_NC
                };
                Stage1Leaf::new()
                    .with_type(kind)
                    .with_attrindx(attrindx)
                    .with_ap(u8::from(read_only) << 1 | u8::from(unprivileged))
                    .with_sh(sh)
                    .with_af(true)
                    .with_ng(true)
                    .with_pxn(noexec)
                    .with_uxn(noexec)
                    .into()
            }
            Stage::Stage2 { fwb } => {
                let memattr = if prot.contains(Prot::MMIO) {
                    1
                } else if prot.contains(Prot::CACHE) {
                    if fwb { 6 } else { 0xf }
                } else {
                    5
                };
                let s2ap =
                    u8::from(prot.contains(Prot::READ)) | u8::from(prot.contains(Prot::WRITE)) << 1;
                Stage2Leaf::new()
                    .with_type(kind)
                    .with_memattr(memattr)
                    .with_s2ap(s2ap)
                    .with_sh(sh)
                    .with_af(true)
                    // The kernel sets both XN bits, which encode "privileged only"; bit 53 is
                    // ignored without XNX.
                    .with_xn(if noexec { 3 } else { 0 })
                    .into()
            }
        }
    }

    /// Bits of a leaf that are not its address (`iopte_prot`).
    pub(super) fn leaf_bits_of(&self, pte: u64) -> u64 {
        pte & !Self::address_bits(self.address(pte).get())
    }
}

/// Table granule: the CPU's page if the SMMU has it, else the largest below, else the smallest
/// (`arm_lpae_restrict_pgsizes`). Power of two of bytes.
fn granule(pgsize_bitmap: u64, cpu_page: u64) -> Option<u32> {
    if pgsize_bitmap & cpu_page != 0 {
        return Some(cpu_page.trailing_zeros());
    }
    let below = pgsize_bitmap & (cpu_page - 1);
    if below != 0 {
        return Some(below.ilog2());
    }
    (pgsize_bitmap != 0).then(|| pgsize_bitmap.trailing_zeros())
}
