//! Permissions: what descriptors grant, and whether that suffices. Pure functions.

use crate::transaction::{AccessKind, InstructionOrData, Privilege, Transaction};

/// How a page may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Writable {
    /// Not at all.
    No,
    /// After hardware marks the descriptor dirty (writable-clean, DDI 0487 §D8.5.4).
    Clean,
    /// At once.
    Dirty,
}

/// What one stage grants to one transaction. Asked for only what a check needs.
pub(crate) trait Grants {
    /// Whether data may be read.
    fn read(&self) -> bool;
    /// How the page may be written.
    fn write(&self) -> Writable;
    /// Whether instructions may be read.
    fn execute(&self) -> bool;
}

/// What a stage checks a transaction for. InD and PnU are those after INSTCFG and PRIVCFG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    /// What it does.
    pub(crate) kind: AccessKind,
    /// Instruction or data.
    pub(crate) ind: InstructionOrData,
    /// Privileged or unprivileged.
    pub(crate) pnu: Privilege,
}

impl Request {
    /// What a transaction asks for as it comes in.
    #[inline(always)]
    pub(crate) fn of(transaction: &Transaction) -> Self {
        Self {
            kind: transaction.kind,
            ind: transaction.ind,
            pnu: transaction.pnu,
        }
    }

    /// The SMMU's own read of a CD or descriptor through stage 2.
    pub(crate) const TABLE_READ: Self = Self {
        kind: AccessKind::Read,
        ind: InstructionOrData::Data,
        pnu: Privilege::Privileged,
    };
    /// The SMMU's own update of a stage-1 descriptor through stage 2.
    pub(crate) const TABLE_WRITE: Self = Self {
        kind: AccessKind::Write,
        ind: InstructionOrData::Data,
        pnu: Privilege::Privileged,
    };
}

/// Whether an access may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
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

/// Checks `request` against what a page grants (IHI 0070 §3.13, §13.1.4).
#[inline(always)]
pub(crate) fn check(page: &impl Grants, request: Request) -> Verdict {
    let granted = |mark_dirty| Verdict::Granted {
        kind: request.kind,
        mark_dirty,
    };
    match request.kind {
        AccessKind::Read if readable(page, request) => granted(false),
        AccessKind::Read => Verdict::Refused { missing_read: true },
        AccessKind::Write => match page.write() {
            Writable::No => Verdict::Refused {
                missing_read: false,
            },
            write => granted(write == Writable::Clean),
        },
        _ => check_special(page, request),
    }
}

/// What a read needs: the right to read data or instructions, whichever it is after.
#[inline(always)]
fn readable(page: &impl Grants, request: Request) -> bool {
    match request.ind {
        InstructionOrData::Data => page.read(),
        InstructionOrData::Instruction => page.execute(),
    }
}

#[cold]
fn check_special(page: &impl Grants, request: Request) -> Verdict {
    let kind = request.kind;
    let (readable, write) = (readable(page, request), page.write());
    let any = page.read() || page.execute() || write != Writable::No;
    let dirty = write == Writable::Dirty;
    let granted = |kind| Verdict::Granted {
        kind,
        mark_dirty: false,
    };
    let granted_write = Verdict::Granted {
        kind,
        mark_dirty: write == Writable::Clean,
    };
    let refused = |missing_read| Verdict::Refused { missing_read };
    match kind {
        AccessKind::Atomic | AccessKind::WriteDcp if write == Writable::No => refused(false),
        AccessKind::Atomic if !page.read() => refused(true),
        AccessKind::Atomic | AccessKind::WriteDcp => granted_write,
        AccessKind::NoWriteDcp if any => granted(kind),
        AccessKind::DestructiveHint if readable && dirty => granted(kind),
        AccessKind::DestructiveRead if readable && !dirty => granted(AccessKind::Read),
        AccessKind::Invalidate if readable && !dirty => granted(AccessKind::Clean),
        AccessKind::Clean | AccessKind::DestructiveRead | AccessKind::Invalidate if readable => {
            granted(kind)
        }
        _ => refused(true),
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
/// the descriptor has them (\[62:59\]).
pub(crate) const HIERARCHICAL_MASK: u64 = 0xf << 59;

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

/// A stage-1 block or page as one request sees it (IHI 0070 §3.13.4; DDI 0487 §D8.4).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage1Page<'a> {
    /// The descriptor.
    pub(crate) leaf: u64,
    /// Union of the [`HIERARCHICAL_MASK`] bits of the Table descriptors passed; none if CD.HADx.
    pub(crate) tables: u64,
    /// The regime's rules.
    pub(crate) regime: &'a Stage1Regime,
    /// InD of the access.
    pub(crate) ind: InstructionOrData,
    /// PnU of the access.
    pub(crate) pnu: Privilege,
}

impl Stage1Page<'_> {
    /// A writable-clean descriptor has DBM=1 and AP\[2\]=1, and counts as writable in every rule.
    #[inline(always)]
    fn is_clean(&self) -> bool {
        self.regime.dirty_state && self.leaf & (DBM | AP_READ_ONLY) == DBM | AP_READ_ONLY
    }

    /// Writable by somebody.
    #[inline(always)]
    fn writable(&self) -> bool {
        self.tables & AP_TABLE_READ_ONLY == 0 && (self.leaf & AP_READ_ONLY == 0 || self.is_clean())
    }

    /// Readable by unprivileged accesses.
    #[inline(always)]
    fn unprivileged(&self) -> bool {
        self.leaf & AP_UNPRIVILEGED != 0 && self.tables & AP_TABLE_NO_UNPRIVILEGED == 0
    }

    #[inline(always)]
    fn unprivileged_execute(&self) -> bool {
        self.leaf & UXN == 0 && self.tables & UXN_TABLE == 0
    }

    /// PAN takes data reads and writes of pages that unprivileged accesses can use.
    #[inline(always)]
    fn pan(&self) -> bool {
        self.regime.pan
            && self.ind == InstructionOrData::Data
            && (self.unprivileged() || self.regime.epan && self.unprivileged_execute())
    }

    #[inline(always)]
    fn is_unprivileged(&self) -> bool {
        self.regime.has_unprivileged && self.pnu == Privilege::Unprivileged
    }

    #[inline(always)]
    fn is_privileged(&self) -> bool {
        self.regime.has_unprivileged && self.pnu == Privilege::Privileged
    }
}

impl Grants for Stage1Page<'_> {
    #[inline(always)]
    fn read(&self) -> bool {
        if self.is_unprivileged() {
            self.unprivileged()
        } else {
            !(self.is_privileged() && self.pan())
        }
    }

    #[inline(always)]
    fn write(&self) -> Writable {
        match (self.writable() && self.read(), self.is_clean()) {
            (false, _) => Writable::No,
            (true, true) => Writable::Clean,
            (true, false) => Writable::Dirty,
        }
    }

    #[inline(always)]
    fn execute(&self) -> bool {
        let never = if self.is_privileged() {
            let pxn = self.leaf & PXN != 0 || self.tables & PXN_TABLE != 0;
            pxn || self.writable() && self.unprivileged()
        } else {
            !self.unprivileged_execute()
        };
        // WXN looks at what is left of the right to write after PAN.
        let writable = || self.write() != Writable::No;
        !(never || self.regime.wxn && writable())
    }
}

/// How stage 2 reads XN (IDR3.XNX).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ExecuteNever {
    /// Bit 54 alone.
    OneBit,
    /// Bits \[54:53\], by privilege.
    ByPrivilege,
}

/// A stage-2 block or page as one request sees it (IHI 0070 §3.13.5; DDI 0487 §D8.4.4).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage2Page {
    /// The descriptor.
    pub(crate) leaf: u64,
    /// How XN is read.
    pub(crate) xn: ExecuteNever,
    /// Whether hardware manages dirty state: STE.S2HA and S2HD.
    pub(crate) dirty_state: DirtyState,
    /// PnU of the access.
    pub(crate) pnu: Privilege,
}

impl Grants for Stage2Page {
    #[inline(always)]
    fn read(&self) -> bool {
        self.leaf & S2AP_READ != 0
    }

    #[inline(always)]
    fn write(&self) -> Writable {
        if self.leaf & S2AP_WRITE != 0 {
            Writable::Dirty
        } else if self.dirty_state == DirtyState::Managed && self.leaf & DBM != 0 {
            Writable::Clean
        } else {
            Writable::No
        }
    }

    #[inline(always)]
    fn execute(&self) -> bool {
        match self.xn {
            ExecuteNever::OneBit => self.leaf & UXN == 0,
            ExecuteNever::ByPrivilege => matches!(
                (self.leaf >> 53 & 3, self.pnu),
                (0, _) | (1, Privilege::Unprivileged) | (3, Privilege::Privileged)
            ),
        }
    }
}

/// Whether hardware manages dirty state at a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum DirtyState {
    /// DBM has no meaning.
    Ignored,
    /// DBM marks a page as writable-clean.
    Managed,
}

/// The descriptor after an update: Access flag set, and dirty if `mark_dirty`.
#[inline]
pub(crate) fn updated_stage1(leaf: u64, mark_dirty: bool) -> u64 {
    let leaf = leaf | ACCESS_FLAG;
    if mark_dirty {
        leaf & !AP_READ_ONLY
    } else {
        leaf
    }
}

/// The stage-2 descriptor after an update: Access flag set, and dirty if `mark_dirty`.
#[inline]
pub(crate) fn updated_stage2(leaf: u64, mark_dirty: bool) -> u64 {
    let leaf = leaf | ACCESS_FLAG;
    if mark_dirty { leaf | S2AP_WRITE } else { leaf }
}

/// AF, of leaf descriptors and, with HAFT, of Table descriptors.
pub(crate) const ACCESS_FLAG: u64 = 1 << 10;
