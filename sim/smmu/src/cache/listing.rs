//! What the caches hold, listed: plain data for reports and tests.

use super::Caches;
use super::tlb::Tlb;
use crate::command::TlbTag;
use crate::fetch::{Stage1Use, StreamAction, StreamContext};
use crate::ids::{Asid, StreamId, SubstreamId, Vmid};
use crate::observe::{CacheKind, CacheTag};

/// Everything that the caches of an SMMU hold at one moment, each cache in the order of its sets and
/// ways; walk caches from the smallest level up, stage 1 first.
///
/// Two listings are equal if the same entries are at the same places. [`Smmu::cached`] makes one.
///
/// [`Smmu::cached`]: crate::Smmu::cached
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cached {
    /// The configuration cache: STEs and CDs.
    pub configurations: Vec<CachedConfiguration>,
    /// The cache of STEs.
    pub stes: Vec<CachedSte>,
    /// TLB, then stage-2 TLB: leaves.
    pub translations: Vec<CachedTranslation>,
    /// Walk caches: Table descriptors.
    pub tables: Vec<CachedTable>,
}

/// An entry of the configuration cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedConfiguration {
    /// Whose.
    pub stream: StreamId,
    /// For transactions with this SubstreamID, or without one.
    pub substream: Option<SubstreamId>,
    /// What STE and CD come to.
    pub says: CachedStream,
}

/// An entry of the cache of STEs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedSte {
    /// Whose.
    pub stream: StreamId,
    /// Whether it says that transactions translate, bypass, abort or, being illegal, fault. No ASID:
    /// CDs have it.
    pub says: CachedStream,
}

/// What a cached STE and CD come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CachedStream {
    /// STE or CD is illegal, and the entry says so: transactions fault.
    Illegal,
    /// Transactions abort.
    Abort,
    /// No stage translates.
    Bypass,
    /// One stage or both translate.
    Translates {
        /// ASID of the CD, where stage 1 translates.
        asid: Option<Asid>,
        /// VMID of the STE, where stage 2 translates.
        vmid: Option<Vmid>,
    },
}

/// An entry of a TLB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedTranslation {
    /// Which TLB: [`CacheKind::Tlb`] or [`CacheKind::Stage2Tlb`].
    pub cache: CacheKind,
    /// What the entry is known by.
    pub tag: TlbTag,
    /// First output address: a PA; an IPA where an entry holds stage 1 alone and stage 2 follows.
    pub output: u64,
    /// The leaf descriptor: of stage 1 in the TLB, of stage 2 in the stage-2 TLB.
    pub descriptor: u64,
    /// The stage-2 leaf descriptor, where an entry holds both stages.
    pub stage2_descriptor: Option<u64>,
}

/// An entry of a walk cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedTable {
    /// Which stage: [`CacheKind::Stage1Walk`] or [`CacheKind::Stage2Walk`].
    pub cache: CacheKind,
    /// What the entry is known by.
    pub tag: TlbTag,
    /// Address of the next table: a PA; an IPA for tables of a stage 1 that stage 2 follows.
    pub next: u64,
}

/// One entry of any cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CachedEntry {
    /// Of the configuration cache.
    Configuration(CachedConfiguration),
    /// Of the cache of STEs.
    Ste(CachedSte),
    /// Of a TLB.
    Translation(CachedTranslation),
    /// Of a walk cache.
    Table(CachedTable),
}

impl CachedEntry {
    /// Which cache it is in.
    pub fn cache(&self) -> CacheKind {
        match self {
            Self::Configuration(_) => CacheKind::Configuration,
            Self::Ste(_) => CacheKind::Ste,
            Self::Translation(entry) => entry.cache,
            Self::Table(entry) => entry.cache,
        }
    }

    /// What it is known by, as observers and the sanitizer are told.
    pub fn tag(&self) -> CacheTag {
        match self {
            Self::Configuration(entry) => CacheTag::Configuration {
                stream: entry.stream,
                substream: entry.substream,
            },
            Self::Ste(entry) => CacheTag::Ste {
                stream: entry.stream,
            },
            Self::Translation(entry) => CacheTag::Translation(entry.tag),
            Self::Table(entry) => CacheTag::Translation(entry.tag),
        }
    }
}

impl Cached {
    /// Every entry: configurations, STEs, translations, tables.
    pub fn entries(&self) -> impl Iterator<Item = CachedEntry> + '_ {
        let configurations = self.configurations.iter().copied();
        let stes = self.stes.iter().copied();
        let translations = self.translations.iter().copied();
        let tables = self.tables.iter().copied();
        configurations
            .map(CachedEntry::Configuration)
            .chain(stes.map(CachedEntry::Ste))
            .chain(translations.map(CachedEntry::Translation))
            .chain(tables.map(CachedEntry::Table))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.configurations.len() + self.stes.len() + self.translations.len() + self.tables.len()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn says(stream: &StreamContext, stage1: &Stage1Use) -> CachedStream {
    if stream.action == StreamAction::Abort {
        return CachedStream::Abort;
    }
    let asid = match stage1 {
        Stage1Use::Translates(s1) => Some(s1.asid),
        _ => None,
    };
    let vmid = stream.s2.as_ref().map(|s2| s2.vmid);
    if asid.is_none() && vmid.is_none() {
        return CachedStream::Bypass;
    }
    CachedStream::Translates { asid, vmid }
}

/// What an STE says by itself.
fn of_ste(stream: &StreamContext) -> CachedStream {
    match stream.action {
        StreamAction::Abort => CachedStream::Abort,
        StreamAction::Bypass => CachedStream::Bypass,
        StreamAction::Translate => CachedStream::Translates {
            asid: None,
            vmid: stream.s2.as_ref().map(|s2| s2.vmid),
        },
    }
}

impl Caches {
    /// Everything they hold.
    pub(crate) fn listing(&self) -> Cached {
        let configurations = self.configuration.entries();
        let by_va = self.tlb.iter().map(|(tag, entry)| CachedTranslation {
            cache: CacheKind::Tlb,
            tag,
            output: entry.output,
            descriptor: entry.stage1.descriptor,
            stage2_descriptor: entry.stage2.map(|part| part.descriptor),
        });
        let by_ipa = self.stage2.iter().map(|(tag, entry)| CachedTranslation {
            cache: CacheKind::Stage2Tlb,
            tag,
            output: entry.output,
            descriptor: entry.stage2.descriptor,
            stage2_descriptor: None,
        });
        let tables = self.walk.caches.iter().flat_map(Tlb::iter);
        Cached {
            configurations: configurations
                .map(|(stream, substream, entry)| CachedConfiguration {
                    stream,
                    substream,
                    says: match (&entry.stream, &entry.stage1) {
                        (Ok(stream), Ok(stage1)) => says(stream, stage1),
                        _ => CachedStream::Illegal,
                    },
                })
                .collect(),
            stes: self
                .stes
                .entries()
                .map(|(stream, ste)| CachedSte {
                    stream,
                    says: ste.as_ref().map_or(CachedStream::Illegal, of_ste),
                })
                .collect(),
            translations: by_va.chain(by_ipa).collect(),
            tables: tables
                .map(|(tag, entry)| CachedTable {
                    cache: if tag.is_ipa {
                        CacheKind::Stage2Walk
                    } else {
                        CacheKind::Stage1Walk
                    },
                    tag,
                    next: entry.next,
                })
                .collect(),
        }
    }
}
