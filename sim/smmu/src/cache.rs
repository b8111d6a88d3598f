//! The caches: what they hold, who finds it, and what commands remove.
//!
//! [`CacheConfig`] says which caches a part has. Entries are tagged as IHI 0070 §3.17 demands:
//! StreamWorld, VMID, ASID or global, never the StreamID. Invalidation removes exactly what a
//! command names. What is never cached: anything that faulted but for permission, and descriptors
//! whose Access flag is clear.

mod array;
mod atc;
mod config;
mod configuration;
mod context;
mod entry;
mod listing;
mod recent;
mod replace;
mod ste;
mod tlb;
mod view;

pub use config::{
    CacheConfig, CacheError, ContiguousHint, GROWTH_LIMIT, Geometry, Indexing, LEVELS, Replacement,
    TlbStructure, WalkCacheConfig,
};
pub use listing::{
    Cached, CachedConfiguration, CachedEntry, CachedSte, CachedStream, CachedTable,
    CachedTranslation,
};

pub(crate) use atc::AtcArray;
pub(crate) use configuration::{By, ConfigurationCache, ConfigurationEntry};
pub(crate) use context::Context;
pub(crate) use entry::{Granted, IpaEntry, Stage1Part, VaEntry, WalkEntry};
pub(crate) use recent::{Given, Held, Slot};
pub(crate) use ste::{Ste, SteCache};
pub(crate) use tlb::{Place, Tlb, tag_of};
pub(crate) use view::{CacheView, entry_log2, ipa_entry, stage2_part};

use crate::command::{Command, InvalidationScope, TlbTag, TlbiAddress};
use crate::ids::{StreamId, SubstreamId};
use crate::observe::CacheKind;
use recent::Recent;

/// All caches of one SMMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caches {
    pub(crate) config: CacheConfig,
    pub(crate) configuration: ConfigurationCache,
    pub(crate) stes: SteCache,
    pub(crate) tlb: Tlb<VaEntry>,
    pub(crate) stage2: Tlb<IpaEntry>,
    pub(crate) walk: WalkCaches,
    recent: Recent,
    are_off: bool,
}

/// Caches of Table descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WalkCaches {
    caches: Vec<Tlb<WalkEntry>>,
    /// Which of them holds descriptors of each level, from −1 up; stage 1, then stage 2.
    by_level: [[usize; LEVELS]; 2],
}

impl WalkCaches {
    fn new(config: &WalkCacheConfig) -> Self {
        match config {
            WalkCacheConfig::Unified(geometry) => Self {
                caches: vec![Tlb::new(geometry)],
                by_level: [[0; LEVELS]; 2],
            },
            WalkCacheConfig::PerLevel { stage1, stage2 } => Self {
                caches: stage1.iter().chain(stage2).map(Tlb::new).collect(),
                by_level: [[0, 1, 2, 3], [4, 5, 6, 7]],
            },
        }
    }

    /// Whether tables of a stage (0 or 1) are cached at any level.
    pub(crate) fn is_on(&self, stage: usize) -> bool {
        self.by_level[stage]
            .iter()
            .any(|&index| !self.caches[index].is_off())
    }

    /// How many caches are looked into, deepest level first, until the table at level `found` is.
    pub(crate) fn looks(&self, stage: usize, found: Option<i8>) -> u32 {
        let until = found.map_or(0, |level| (level + 1) as usize);
        let mut last = None;
        let mut looks = 0;
        for &index in self.by_level[stage][until..].iter().rev() {
            if last != Some(index) && !self.caches[index].is_off() {
                looks += 1;
            }
            last = Some(index);
        }
        looks
    }

    /// Puts a Table descriptor in. Gives back what had to leave.
    pub(crate) fn insert(
        &mut self,
        stage: usize,
        (context, input): (Context, u64),
        entry: WalkEntry,
    ) -> Option<TlbTag> {
        let index = self.by_level[stage][(entry.level + 1) as usize];
        self.caches[index].insert(context, input, entry.lsb, entry)
    }
}

impl Caches {
    pub(crate) fn new(config: &CacheConfig) -> Self {
        let configuration = ConfigurationCache::new(&config.configuration);
        let stes = SteCache::new(&config.ste);
        let (tlb, stage2) = (Tlb::new(&config.tlb), Tlb::new(&config.stage2_tlb));
        let walk = WalkCaches::new(&config.walk);
        let tlbs_are_off = tlb.is_off() && stage2.is_off();
        let walk_caches_are_off = !walk.is_on(0) && !walk.is_on(1);
        Self {
            config: *config,
            recent: Recent::new(tlbs_are_off),
            are_off: tlbs_are_off && walk_caches_are_off && configuration.is_off() && stes.is_off(),
            configuration,
            stes,
            tlb,
            stage2,
            walk,
        }
    }

    /// Whether there are none: every transaction goes by what memory says.
    pub(crate) fn are_off(&self) -> bool {
        self.are_off
    }

    /// The last hit of a page, if the caches would find it again; it counts as a use of them.
    #[inline(always)]
    pub(crate) fn recent_hit(
        &mut self,
        stream: StreamId,
        substream: Option<SubstreamId>,
        input: u64,
    ) -> Option<&Slot> {
        let slot = self.recent.find(stream, substream, input)?;
        self.configuration.touch(slot.configuration);
        match slot.held {
            Held::ByVa if self.tlb.still_holds(slot.place, slot.stamp) => {
                self.tlb.touch(slot.place);
            }
            Held::ByIpa if self.stage2.still_holds(slot.place, slot.stamp) => {
                self.stage2.touch(slot.place);
            }
            Held::ByVa | Held::ByIpa => return None,
        }
        Some(slot)
    }

    /// Remembers a hit.
    pub(crate) fn note_hit(
        &mut self,
        (stream, substream, input): (StreamId, Option<SubstreamId>, u64),
        held: Held,
        place: Place,
        given: &Given,
    ) {
        let (place, stamp) = match held {
            Held::ByVa => self.tlb.locate(place),
            Held::ByIpa => self.stage2.locate(place),
        };
        if let Some(configuration) = self.configuration.locate(stream, substream) {
            let whose = (stream, substream, input);
            self.recent
                .note(whose, (configuration, place), held, stamp, given);
        }
    }

    /// Forgets recent hits: something changed that tags do not tell.
    pub(crate) fn forget_recent(&mut self) {
        self.recent.clear();
    }

    /// Carries out an invalidation command; other commands do nothing. Gives the number of entries
    /// removed.
    pub(crate) fn invalidate(&mut self, command: &Command, scope: InvalidationScope) -> u64 {
        match command {
            Command::CfgiSte { .. }
            | Command::CfgiSteRange { .. }
            | Command::CfgiCd { .. }
            | Command::CfgiCdAll { .. } => {
                self.recent.clear();
                self.configuration.invalidate(command) + self.stes.invalidate(command)
            }
            Command::Tlbi(tlbi) => {
                // Entries of a whole world may go without their places being touched.
                if tlbi.address == TlbiAddress::All {
                    self.recent.clear();
                }
                let walk = self.walk.caches.iter_mut();
                self.tlb.invalidate(tlbi, scope)
                    + self.stage2.invalidate(tlbi, scope)
                    + walk.map(|cache| cache.invalidate(tlbi, scope)).sum::<u64>()
            }
            _ => 0,
        }
    }

    /// Every translation and table held: which cache, and its tag.
    pub(crate) fn translations(&self) -> impl Iterator<Item = (CacheKind, TlbTag)> {
        let tlb = self.tlb.iter().map(|(tag, _)| (CacheKind::Tlb, tag));
        let stage2 = self
            .stage2
            .iter()
            .map(|(tag, _)| (CacheKind::Stage2Tlb, tag));
        let walk = self.walk.caches.iter().flat_map(Tlb::iter).map(|(tag, _)| {
            let kind = if tag.is_ipa {
                CacheKind::Stage2Walk
            } else {
                CacheKind::Stage1Walk
            };
            (kind, tag)
        });
        tlb.chain(stage2).chain(walk)
    }

    /// Every configuration held.
    pub(crate) fn configurations(
        &self,
    ) -> impl Iterator<Item = (StreamId, Option<SubstreamId>)> + '_ {
        let entries = self.configuration.entries();
        entries.map(|(stream, substream, _)| (stream, substream))
    }
}
