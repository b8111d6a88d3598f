//! What the sanitizer reports: one value for each mistake.

use crate::addr::Pa;
use crate::command::Command;
use crate::observe::{CacheKind, CacheTag, Structure};
use crate::transaction::{Outcome, Transaction};

/// How memory differs from a translation that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Staleness {
    /// Memory has no translation.
    Unmapped,
    /// Memory has a translation to another address.
    Remapped,
    /// Memory allows less.
    PermissionReduced,
    /// Memory allows more: the fault was spurious.
    PermissionExtended,
    /// Memory has other attributes.
    Attributes,
    /// Memory has a clear Access flag, which faults.
    AccessFlag,
    /// Memory says clean, and a write left no mark. Harmless if software still invalidates the
    /// entry before it trusts what it read.
    DirtyState,
}

/// What may not change in a live translation, IDR3.BBML considered (DDI 0487 §D8.16.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BrokenRule {
    /// The size of the block or page.
    Size,
    /// The output address, where one of both is writable.
    OutputAddress,
    /// Memory type or cacheability.
    Attributes,
    /// Global or not.
    Global,
}

/// What kind of mistake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// STE or CD in use are not those in memory.
    StaleConfiguration,
    /// A translation in use is not that in memory.
    StaleTranslation(Staleness),
    /// An entry made from other stage-1 tables has the same ASID.
    AsidReused,
    /// An entry made from another stage 2, or none, has the same VMID.
    VmidReused,
    /// A live translation was replaced by a different one without having been invalid and
    /// invalidated in between.
    BreakBeforeMake(BrokenRule),
    /// An STE or CD changed while valid in such a way that a fetch could have met neither the old
    /// nor the new one.
    TornConfiguration,
    /// A transaction depends on an invalidation whose `CMD_SYNC` has not been consumed.
    UnsyncedInvalidation,
    /// An invalidation named nothing that had been used.
    NeedlessInvalidation,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A remark: correct drivers may do it.
    Hint,
    /// A mistake.
    Error,
}

impl Kind {
    /// The stable names of all kinds.
    pub const NAMES: [&'static str; 8] = [
        "stale-configuration",
        "stale-translation",
        "asid-reused",
        "vmid-reused",
        "break-before-make",
        "torn-configuration",
        "unsynced-invalidation",
        "needless-invalidation",
    ];

    /// The stable name, which is also that of the page about it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StaleConfiguration => "stale-configuration",
            Self::StaleTranslation(_) => "stale-translation",
            Self::AsidReused => "asid-reused",
            Self::VmidReused => "vmid-reused",
            Self::BreakBeforeMake(_) => "break-before-make",
            Self::TornConfiguration => "torn-configuration",
            Self::UnsyncedInvalidation => "unsynced-invalidation",
            Self::NeedlessInvalidation => "needless-invalidation",
        }
    }

    /// The stable name of what exactly, for kinds that are several.
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::StaleTranslation(staleness) => Some(match staleness {
                Staleness::Unmapped => "unmapped",
                Staleness::Remapped => "remapped",
                Staleness::PermissionReduced => "permission-reduced",
                Staleness::PermissionExtended => "permission-extended",
                Staleness::Attributes => "attributes",
                Staleness::AccessFlag => "access-flag",
                Staleness::DirtyState => "dirty-state",
            }),
            Self::BreakBeforeMake(rule) => Some(match rule {
                BrokenRule::Size => "size",
                BrokenRule::OutputAddress => "output-address",
                BrokenRule::Attributes => "attributes",
                BrokenRule::Global => "global",
            }),
            _ => None,
        }
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::NeedlessInvalidation | Self::StaleTranslation(Staleness::DirtyState) => {
                Severity::Hint
            }
            _ => Severity::Error,
        }
    }
}

/// Who goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exposure {
    /// This device: it answered otherwise than memory says.
    Device,
    /// An SMMU with larger or slower caches that the architecture allows.
    Possible,
}

/// A command and when it was consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// Its number among transactions and commands, from 1.
    pub moment: u64,
    /// The command.
    pub command: Command,
    /// Entries that it removed from the device's caches.
    pub removed: u64,
}

/// The transaction that made an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Creator {
    /// Its number among transactions and commands, from 1.
    pub moment: u64,
    /// The transaction.
    pub transaction: Transaction,
}

/// A word of a structure or descriptor that is no longer what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Part of what.
    pub structure: Structure,
    /// Where.
    pub pa: Pa,
    /// As read when the entry was made, or when it was last looked at.
    pub was: u64,
    /// As memory has it now; `None` if it aborts.
    pub is: Option<u64>,
}

/// One mistake of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of mistake.
    pub kind: Kind,
    /// Whether this device went wrong.
    pub exposure: Exposure,
    /// When it was found: a number among transactions and commands, from 1.
    pub moment: u64,
    /// The transaction that met it, if one did.
    pub transaction: Option<Transaction>,
    /// The command that met it, if one did.
    pub command: Option<Command>,
    /// The entry.
    pub entry: Option<(CacheKind, CacheTag)>,
    /// What made the entry; `None` if the sanitizer did not see it.
    pub creator: Option<Creator>,
    /// What an SMMU answers by the entry.
    pub answer: Option<Outcome>,
    /// What memory says.
    pub memory_says: Option<Outcome>,
    /// Words the entry was made from that have changed, software's and hardware's own bits aside.
    pub changes: Vec<Change>,
    /// Commands consumed since the entry was made, oldest first, as far as the history goes.
    pub commands: Vec<Issued>,
    /// How many of them are beyond the history.
    pub forgotten: u64,
}
