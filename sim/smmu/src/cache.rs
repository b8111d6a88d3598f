//! The caches: what they hold, who finds it, and what commands remove.
//!
//! [`CacheConfig`] says which caches a part has. Entries are tagged as IHI 0070 §3.17 demands:
//! StreamWorld, VMID, ASID or global, never the StreamID. Invalidation removes exactly what a
//! command names. What is never cached: anything that faulted but for permission, and descriptors
//! whose Access flag is clear.

mod array;
mod config;
mod configuration;
mod context;
mod entry;
mod replace;
mod tlb;
mod view;

pub use config::{
    CacheConfig, CacheError, ContiguousHint, GROWTH_LIMIT, Geometry, Indexing, LEVELS, Replacement,
    TlbStructure, WalkCacheConfig,
};
pub(crate) use configuration::{ConfigurationCache, ConfigurationEntry};
pub(crate) use context::Context;
pub(crate) use entry::{IpaEntry, Stage1Part, VaEntry, WalkEntry};
pub(crate) use tlb::{Place, Tlb};
pub(crate) use view::{CacheView, entry_log2, stage2_part};

use crate::command::{Command, InvalidationScope, TlbTag};
use crate::ids::{StreamId, SubstreamId};
use crate::observe::CacheKind;

/// All caches of one SMMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caches {
    pub(crate) config: CacheConfig,
    pub(crate) configuration: ConfigurationCache,
    pub(crate) tlb: Tlb<VaEntry>,
    pub(crate) stage2: Tlb<IpaEntry>,
    pub(crate) walk: WalkCaches,
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
}

impl Caches {
    pub(crate) fn new(config: &CacheConfig) -> Self {
        Self {
            config: *config,
            configuration: ConfigurationCache::new(&config.configuration),
            tlb: Tlb::new(&config.tlb),
            stage2: Tlb::new(&config.stage2_tlb),
            walk: WalkCaches::new(&config.walk),
        }
    }

    /// Carries out an invalidation command; other commands do nothing. Gives the number of entries
    /// removed.
    pub(crate) fn invalidate(&mut self, command: &Command, scope: InvalidationScope) -> u64 {
        match command {
            Command::CfgiSte { .. }
            | Command::CfgiSteRange { .. }
            | Command::CfgiCd { .. }
            | Command::CfgiCdAll { .. } => self.configuration.invalidate(command),
            Command::Tlbi(tlbi) => {
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
        self.configuration.iter()
    }
}
