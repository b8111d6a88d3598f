//! One walker, many eyes: an [`Observer`] sees every memory access of a translation as it is made.
//!
//! `()` observes nothing and costs nothing. Explanations, counters, timing and tests are observers.

use crate::addr::{Ipa, Pa};
use crate::command::TlbTag;
use crate::ids::{StreamId, SubstreamId};
use crate::mem::AccessClass;

/// Which structure an access reads or updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Structure {
    /// Level-1 stream table descriptor.
    L1Std,
    /// Stream table entry.
    Ste,
    /// Level-1 context descriptor.
    L1Cd,
    /// Context descriptor.
    Cd,
    /// Stage-1 descriptor at this level, −1 to 3.
    Stage1(i8),
    /// Stage-2 descriptor at this level, −1 to 3.
    Stage2(i8),
}

impl Structure {
    /// The class memory sees.
    #[inline]
    pub fn class(self) -> AccessClass {
        match self {
            Self::L1Std => AccessClass::L1Std,
            Self::Ste => AccessClass::Ste,
            Self::L1Cd => AccessClass::L1Cd,
            Self::Cd => AccessClass::Cd,
            Self::Stage1(_) => AccessClass::Stage1,
            Self::Stage2(_) => AccessClass::Stage2,
        }
    }
}

/// What an access is on the way to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Finding the stream's configuration: L1STD, STE, L1CD and CD themselves.
    Configuration,
    /// Stage 2 of the address of an L1CD.
    L1Cd,
    /// Stage 2 of the address of a CD.
    Cd,
    /// Stage 2 of the address of the stage-1 descriptor at this level.
    Stage1Descriptor(i8),
    /// The transaction's own address: its stage-1 descriptors, and stage 2 of the final IPA.
    Input,
}

/// What was read, or done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// A 64-bit read. Descriptors are shown in the order the walker interprets them, that is
    /// after any big-endian swap.
    Read(u64),
    /// A read of a 64-byte structure.
    ReadStructure(&'a [u64; 8]),
    /// A compare-and-swap of `old` by `new`, which found `found`; same byte order as reads.
    Update {
        /// Descriptor expected.
        old: u64,
        /// Descriptor wanted.
        new: u64,
        /// Descriptor found: `old` if the update took effect.
        found: u64,
    },
    /// A read that memory aborted.
    AbortedRead,
    /// An update that memory aborted.
    AbortedUpdate,
}

/// One access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access<'a> {
    /// The structure accessed.
    pub structure: Structure,
    /// Why.
    pub purpose: Purpose,
    /// Its intermediate address, where it has one: CDs and stage-1 descriptors under stage 2.
    pub ipa: Option<Ipa>,
    /// Where it went.
    pub pa: Pa,
    /// What happened.
    pub action: Action<'a>,
}

/// One of the SMMU's caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheKind {
    /// STE and CD by (StreamID, SubstreamID).
    Configuration,
    /// STEs alone, by StreamID.
    Ste,
    /// Translations by VA.
    Tlb,
    /// Translations by IPA.
    Stage2Tlb,
    /// Stage-1 Table descriptors.
    Stage1Walk,
    /// Stage-2 Table descriptors.
    Stage2Walk,
}

/// What a cache entry is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheTag {
    /// An entry of the configuration cache.
    Configuration {
        /// Whose.
        stream: StreamId,
        /// For transactions with this SubstreamID, or without one.
        substream: Option<SubstreamId>,
    },
    /// An entry of the cache of STEs.
    Ste {
        /// Whose.
        stream: StreamId,
    },
    /// An entry of any other cache.
    Translation(TlbTag),
}

/// What a cache did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheEvent {
    /// It knew the answer.
    Hit {
        /// Which cache.
        cache: CacheKind,
        /// By this entry.
        entry: CacheTag,
    },
    /// It did not.
    Miss {
        /// Which cache.
        cache: CacheKind,
    },
    /// It learned an answer.
    Fill {
        /// Which cache.
        cache: CacheKind,
        /// The new entry.
        entry: CacheTag,
        /// The entry that made room.
        evicted: Option<CacheTag>,
    },
}

/// Sees each access of a translation, in the order made.
pub trait Observer {
    /// Called after each access.
    fn access(&mut self, access: &Access<'_>);

    /// Whether [`Self::cache`] wants to be called: descriptions of entries cost time.
    #[inline(always)]
    fn watches_caches(&self) -> bool {
        false
    }

    /// Called after each look into a cache that is not switched off, and after each fill.
    #[inline(always)]
    fn cache(&mut self, _event: &CacheEvent) {}
}

/// Sees nothing; compiles to nothing.
impl Observer for () {
    #[inline(always)]
    fn access(&mut self, _access: &Access<'_>) {}
}

impl<O: Observer + ?Sized> Observer for &mut O {
    #[inline]
    fn access(&mut self, access: &Access<'_>) {
        (**self).access(access);
    }

    #[inline]
    fn watches_caches(&self) -> bool {
        (**self).watches_caches()
    }

    #[inline]
    fn cache(&mut self, event: &CacheEvent) {
        (**self).cache(event);
    }
}

/// Both see everything, the first one first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    #[inline]
    fn access(&mut self, access: &Access<'_>) {
        self.0.access(access);
        self.1.access(access);
    }

    #[inline]
    fn watches_caches(&self) -> bool {
        self.0.watches_caches() || self.1.watches_caches()
    }

    #[inline]
    fn cache(&mut self, event: &CacheEvent) {
        self.0.cache(event);
        self.1.cache(event);
    }
}

/// Accesses of one translation, counted by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccessCounts {
    /// L1STD, STE, L1CD and CD reads.
    pub configuration: u64,
    /// Stage-2 descriptor reads on the way to an L1CD or CD.
    pub configuration_stage2: u64,
    /// Stage-1 descriptor reads.
    pub stage1: u64,
    /// Stage-2 descriptor reads on the way to stage-1 descriptors and to the final address.
    pub stage2: u64,
    /// Hardware updates attempted, at either stage.
    pub updates: u64,
}

impl AccessCounts {
    /// Descriptor reads of the walk proper: 24 for a cold nested walk of 4 by 4 levels.
    pub fn walk(&self) -> u64 {
        self.stage1 + self.stage2
    }
}

impl Observer for AccessCounts {
    #[inline]
    fn access(&mut self, access: &Access<'_>) {
        let counter = match (access.action, access.structure, access.purpose) {
            (Action::Update { .. } | Action::AbortedUpdate, ..) => &mut self.updates,
            (_, Structure::Stage1(_), _) => &mut self.stage1,
            (_, Structure::Stage2(_), Purpose::L1Cd | Purpose::Cd) => {
                &mut self.configuration_stage2
            }
            (_, Structure::Stage2(_), _) => &mut self.stage2,
            _ => &mut self.configuration,
        };
        *counter += 1;
    }
}
