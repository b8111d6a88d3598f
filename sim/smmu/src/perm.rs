//! Permissions: what descriptors grant, and whether that suffices. Pure functions.

use crate::transaction::{AccessKind, InstructionOrData, Privilege};

/// How a page may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Writable {
    /// Not at all.
    No,
    /// After hardware marks the descriptor dirty (writable-clean, DDI 0487 §D8.5.4).
    Clean,
    /// At once.
    Dirty,
}

/// What one stage grants to one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rights {
    /// Data reads.
    pub read: bool,
    /// Writes.
    pub write: Writable,
    /// Instruction reads.
    pub execute: bool,
}

/// What a stage checks a transaction for. InD and PnU are those after INSTCFG and PRIVCFG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// What it does.
    pub kind: AccessKind,
    /// Instruction or data.
    pub ind: InstructionOrData,
    /// Privileged or unprivileged.
    pub pnu: Privilege,
}

impl Request {
    /// The SMMU's own read of a CD or descriptor through stage 2.
    pub const TABLE_READ: Self = Self {
        kind: AccessKind::Read,
        ind: InstructionOrData::Data,
        pnu: Privilege::Privileged,
    };
    /// The SMMU's own update of a stage-1 descriptor through stage 2.
    pub const TABLE_WRITE: Self = Self {
        kind: AccessKind::Write,
        ind: InstructionOrData::Data,
        pnu: Privilege::Privileged,
    };
}

/// Whether an access may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// As `kind`, which may be weaker than what was asked for.
    Granted {
        /// What is carried out.
        kind: AccessKind,
        /// The descriptor must first be marked dirty.
        mark_dirty: bool,
    },
    /// F_PERMISSION; RnW of the event is 1 if a read was missing.
    Refused {
        /// Whether the missing permission is that to read.
        missing_read: bool,
    },
}

impl Rights {
    /// Checks `request` against these rights (IHI 0070 §3.13, §13.1.4).
    #[inline]
    pub fn check(self, request: Request) -> Verdict {
        let readable = match request.ind {
            InstructionOrData::Data => self.read,
            InstructionOrData::Instruction => self.execute,
        };
        match request.kind {
            AccessKind::Read if readable => {
                Verdict::Granted { kind: AccessKind::Read, mark_dirty: false }
            }
            AccessKind::Write if self.write != Writable::No => Verdict::Granted {
                kind: AccessKind::Write,
                mark_dirty: self.write == Writable::Clean,
            },
            AccessKind::Read => Verdict::Refused { missing_read: true },
            AccessKind::Write => Verdict::Refused { missing_read: false },
            _ => self.check_special(request.kind),
        }
    }

    fn check_special(self, kind: AccessKind) -> Verdict {
        let mark_dirty = self.write == Writable::Clean;
        let granted = |kind| Verdict::Granted { kind, mark_dirty: false };
        let seen = self.read || self.execute;
        match kind {
            AccessKind::Atomic if self.write == Writable::No => {
                Verdict::Refused { missing_read: false }
            }
            AccessKind::Atomic if !self.read => Verdict::Refused { missing_read: true },
            AccessKind::WriteDcp if self.write == Writable::No => {
                Verdict::Refused { missing_read: false }
            }
            AccessKind::Atomic | AccessKind::WriteDcp => Verdict::Granted { kind, mark_dirty },
            AccessKind::NoWriteDcp if seen || self.write != Writable::No => granted(kind),
            AccessKind::DestructiveHint if seen && self.write == Writable::Dirty => granted(kind),
            AccessKind::DestructiveRead if seen && self.write != Writable::Dirty => {
                granted(AccessKind::Read)
            }
            AccessKind::Invalidate if seen && self.write != Writable::Dirty => {
                granted(AccessKind::Clean)
            }
            AccessKind::Clean | AccessKind::DestructiveRead | AccessKind::Invalidate if seen => {
                granted(kind)
            }
            _ => Verdict::Refused { missing_read: true },
        }
    }
}

/// Rights of a whole stage-1 regime, from CD and STE: what does not depend on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stage1Regime {
    /// Whether the regime distinguishes privileged from unprivileged accesses: not in any-EL2.
    pub has_unprivileged: bool,
    /// CD.WXN.
    pub wxn: bool,
    /// CD.PAN.
    pub pan: bool,
    /// CD.EPAN, where IDR3.EPAN.
    pub epan: bool,
    /// CD.HA and CD.HD: writable-clean pages exist.
    pub dirty_state: bool,
}

/// Restrictions collected from Table descriptors: bits of `PXNTable`, `UXNTable`, `APTable` where
/// the descriptor has them ([62:59]).
pub const HIERARCHICAL_MASK: u64 = 0xf << 59;

const PXN_TABLE: u64 = 1 << 59;
const UXN_TABLE: u64 = 1 << 60;
const AP_TABLE_NO_UNPRIVILEGED: u64 = 1 << 61;
const AP_TABLE_READ_ONLY: u64 = 1 << 62;

const AP_UNPRIVILEGED: u64 = 1 << 6;
const AP_READ_ONLY: u64 = 1 << 7;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;
const DBM: u64 = 1 << 51;

const S2AP_READ: u64 = 1 << 6;
const S2AP_WRITE: u64 = 1 << 7;

/// Stage-1 rights of a page for a request (IHI 0070 §3.13.4; DDI 0487 §D8.4).
/// `tables` holds the union of [`HIERARCHICAL_MASK`] bits of the Table descriptors passed, none if
/// CD.HADx.
#[inline]
pub fn stage1_rights(leaf: u64, tables: u64, regime: Stage1Regime, request: Request) -> Rights {
    // A writable-clean descriptor has DBM=1 and AP[2]=1, and counts as writable in every rule.
    let clean = regime.dirty_state && leaf & (DBM | AP_READ_ONLY) == DBM | AP_READ_ONLY;
    let write = (leaf & AP_READ_ONLY == 0 || clean) && tables & AP_TABLE_READ_ONLY == 0;
    let writable = |granted: bool| match (granted, clean) {
        (false, _) => Writable::No,
        (true, true) => Writable::Clean,
        (true, false) => Writable::Dirty,
    };
    if !regime.has_unprivileged {
        let xn = leaf & UXN != 0 || tables & UXN_TABLE != 0;
        let execute = !xn && !(regime.wxn && write);
        return Rights { read: true, write: writable(write), execute };
    }

    let unprivileged = leaf & AP_UNPRIVILEGED != 0 && tables & AP_TABLE_NO_UNPRIVILEGED == 0;
    let unprivileged_write = unprivileged && write;
    let unprivileged_execute = leaf & UXN == 0 && tables & UXN_TABLE == 0;
    if request.pnu == Privilege::Unprivileged {
        let execute = unprivileged_execute && !(regime.wxn && unprivileged_write);
        return Rights { read: unprivileged, write: writable(unprivileged_write), execute };
    }

    let privileged_execute = leaf & PXN == 0 && tables & PXN_TABLE == 0 && !unprivileged_write;
    let execute = privileged_execute && !(regime.wxn && write);
    let pan = regime.pan
        && request.ind == InstructionOrData::Data
        && (unprivileged || (regime.epan && unprivileged_execute));
    Rights { read: !pan, write: writable(write && !pan), execute }
}

/// How stage 2 reads XN (IDR3.XNX).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecuteNever {
    /// Bit 54 alone.
    OneBit,
    /// Bits [54:53], by privilege.
    ByPrivilege,
}

/// Stage-2 rights of a page for a request (IHI 0070 §3.13.5; DDI 0487 §D8.4.4).
/// `dirty_state` is STE.S2HA and S2HD.
#[inline]
pub fn stage2_rights(leaf: u64, xn: ExecuteNever, dirty_state: DirtyState, pnu: Privilege) -> Rights {
    let write = if leaf & S2AP_WRITE != 0 {
        Writable::Dirty
    } else if dirty_state == DirtyState::Managed && leaf & DBM != 0 {
        Writable::Clean
    } else {
        Writable::No
    };
    let execute = match xn {
        ExecuteNever::OneBit => leaf & UXN == 0,
        ExecuteNever::ByPrivilege => match (leaf >> 53 & 3, pnu) {
            (0, _) | (1, Privilege::Unprivileged) | (3, Privilege::Privileged) => true,
            _ => false,
        },
    };
    Rights { read: leaf & S2AP_READ != 0, write, execute }
}

/// Whether hardware manages dirty state at a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DirtyState {
    /// DBM has no meaning.
    Ignored,
    /// DBM marks a page as writable-clean.
    Managed,
}

/// The descriptor after an update: Access flag set, and dirty if `mark_dirty`.
#[inline]
pub fn updated_stage1(leaf: u64, mark_dirty: bool) -> u64 {
    let leaf = leaf | ACCESS_FLAG;
    if mark_dirty { leaf & !AP_READ_ONLY } else { leaf }
}

/// The stage-2 descriptor after an update: Access flag set, and dirty if `mark_dirty`.
#[inline]
pub fn updated_stage2(leaf: u64, mark_dirty: bool) -> u64 {
    let leaf = leaf | ACCESS_FLAG;
    if mark_dirty { leaf | S2AP_WRITE } else { leaf }
}

/// AF, of leaf descriptors and, with HAFT, of Table descriptors.
pub const ACCESS_FLAG: u64 = 1 << 10;
