//! Where the SMMUv3 driver's versions differ.

use super::Kernel;
use crate::Errno;

/// What attach does first (P107).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachOrder {
    /// Detaches the device from its old domain, then checks the new one: failure leaves it
    /// detached (5.10, 6.1).
    DetachFirst,
    /// Checks and prepares, then changes hardware: failure leaves the old attachment (6.12, 7.2).
    PrepareCommit,
}

/// How a live STE or CD is changed (P24, P111, P112).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryWriter {
    /// First doubleword zero, then the rest, then the first: a window with V=0 (series on 5.10;
    /// mainline asserts that it never happens).
    BreakFirst,
    /// Unused bits first, then one critical doubleword if one suffices (6.9 and later).
    Hitless,
    /// The same, with bits that may change at any time: MEV, and EATS where harmless (7.2).
    HitlessSafeBits,
}

/// Unmapping part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockSplit {
    /// Replaces the block by a table without that part (up to 6.12).
    Split,
    /// Refuses: nothing is unmapped, with a warning (7.2).
    Refuse,
}

/// Two masters with one StreamID (P117).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidConflict {
    /// Not noticed at probe; the second STE write hits an assertion (5.10).
    Unchecked,
    /// Probe of the second fails with this error.
    Refuse(Errno),
}

/// Range invalidation commands (P113).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidationRange {
    /// TTL always (5.10).
    TtlAlways,
    /// TTL for leaf entries only; one page more for non-leaf ranges of 32k+1 pages (later).
    TtlLeafOnly,
}

/// What an invalidation of zero bytes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroSize {
    /// Nothing.
    Nothing,
    /// Everything (7.2).
    Everything,
}

/// Whom an invalidation reaches (P115).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalidation {
    /// The domain's tag, then the ATCs of its devices (up to 6.12).
    DomainTag,
    /// What the domain's array of invalidations lists; nothing while no device is attached (7.2).
    Array,
}

/// Unmapping an entry below which there is a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreedTable {
    /// Walks are flushed at once, and that is all (up to 6.12).
    Flush,
    /// The entry is gathered like a leaf as well (7.2).
    FlushAndGather,
}

/// Mapping without READ and WRITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAccess {
    /// Success; nothing is mapped (5.10, 6.1).
    Ignore,
    /// EINVAL.
    Refuse,
}

/// When a stage-2 start table is made of several concatenated tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concatenation {
    /// Whenever level 0 has at most 16 entries (up to 6.12).
    WherePossible,
    /// Where the architecture leaves no choice (7.2).
    WhereMandatory,
}

/// Which events reach a fault handler, before the series (`arm_smmu_handle_event`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventReports {
    /// None: events are printed (5.10).
    Print,
    /// Stage-1 translation, address size, access flag and permission faults (6.1).
    TranslationFaults,
    /// Stalled ones only; the rest is printed (6.12, 7.2).
    StalledFaults,
}

/// Rules of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverRules {
    /// Order within attach.
    pub attach_order: AttachOrder,
    /// Attach to a domain of another SMMU instance.
    pub other_smmu: Errno,
    /// Changing entries.
    pub entry_writer: EntryWriter,
    /// Unmapping part of a block.
    pub block_split: BlockSplit,
    /// StreamID shared by two masters.
    pub sid_conflict: SidConflict,
    /// Range invalidation.
    pub invalidation_range: InvalidationRange,
    /// Invalidation of nothing.
    pub zero_size: ZeroSize,
    /// Whom an invalidation reaches.
    pub invalidation: Invalidation,
    /// Unmapping a whole table.
    pub freed_table: FreedTable,
    /// Mapping without access.
    pub no_access: NoAccess,
    /// Concatenated start tables.
    pub concatenation: Concatenation,
    /// Events that reach a fault handler.
    pub event_reports: EventReports,
}

impl DriverRules {
    /// As released.
    pub const fn kernel(kernel: Kernel) -> Self {
        let old = matches!(kernel, Kernel::V5_10 | Kernel::V6_1);
        Self {
            attach_order: if old {
                AttachOrder::DetachFirst
            } else {
                AttachOrder::PrepareCommit
            },
            other_smmu: if old { Errno::ENXIO } else { Errno::EINVAL },
            entry_writer: match kernel {
                Kernel::V5_10 | Kernel::V6_1 => EntryWriter::BreakFirst,
                Kernel::V6_12 => EntryWriter::Hitless,
                Kernel::V7_2 => EntryWriter::HitlessSafeBits,
            },
            block_split: match kernel {
                Kernel::V7_2 => BlockSplit::Refuse,
                Kernel::V5_10 | Kernel::V6_1 | Kernel::V6_12 => BlockSplit::Split,
            },
            sid_conflict: match kernel {
                Kernel::V5_10 => SidConflict::Unchecked,
                Kernel::V6_1 | Kernel::V6_12 => SidConflict::Refuse(Errno::EINVAL),
                Kernel::V7_2 => SidConflict::Refuse(Errno::ENODEV),
            },
            invalidation_range: match kernel {
                Kernel::V5_10 => InvalidationRange::TtlAlways,
                Kernel::V6_1 | Kernel::V6_12 | Kernel::V7_2 => InvalidationRange::TtlLeafOnly,
            },
            zero_size: match kernel {
                Kernel::V7_2 => ZeroSize::Everything,
                Kernel::V5_10 | Kernel::V6_1 | Kernel::V6_12 => ZeroSize::Nothing,
            },
            invalidation: match kernel {
                Kernel::V7_2 => Invalidation::Array,
                Kernel::V5_10 | Kernel::V6_1 | Kernel::V6_12 => Invalidation::DomainTag,
            },
            freed_table: match kernel {
                Kernel::V7_2 => FreedTable::FlushAndGather,
                Kernel::V5_10 | Kernel::V6_1 | Kernel::V6_12 => FreedTable::Flush,
            },
            no_access: if old {
                NoAccess::Ignore
            } else {
                NoAccess::Refuse
            },
            concatenation: match kernel {
                Kernel::V7_2 => Concatenation::WhereMandatory,
                Kernel::V5_10 | Kernel::V6_1 | Kernel::V6_12 => Concatenation::WherePossible,
            },
            event_reports: match kernel {
                Kernel::V5_10 => EventReports::Print,
                Kernel::V6_1 => EventReports::TranslationFaults,
                Kernel::V6_12 | Kernel::V7_2 => EventReports::StalledFaults,
            },
        }
    }

    /// 5.10 with attach that leaves the old attachment on failure and entries changed hitlessly.
    /// Blocks are not split: the TLB entry of a block outlives the unmap of a part of it.
    pub const fn fixed() -> Self {
        Self {
            attach_order: AttachOrder::PrepareCommit,
            entry_writer: EntryWriter::HitlessSafeBits,
            block_split: BlockSplit::Refuse,
            sid_conflict: SidConflict::Refuse(Errno::EINVAL),
            ..Self::kernel(Kernel::V5_10)
        }
    }
}
