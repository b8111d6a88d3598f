//! Sizes and policies of the caches, and the rules they obey.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Which entry of a full set makes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Replacement {
    /// Each set in turn.
    RoundRobin,
    /// The entry least recently used.
    Lru,
    /// Tree pseudo-LRU; the number of ways must be a power of two, at most 64.
    PseudoLru,
    /// A random way, from a generator with this seed.
    Random {
        /// Start of the generator.
        seed: u64,
    },
    /// None: the cache grows until it has [`GROWTH_LIMIT`] entries, and goes round robin from then
    /// on. `entries` is its size to begin with.
    Infinite,
}

/// Entries beyond which [`Replacement::Infinite`] evicts after all.
pub const GROWTH_LIMIT: u32 = 1 << 24;

/// How a set is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Indexing {
    /// By a hash of the whole address: strides do not collide.
    #[default]
    Hashed,
    /// By the low bits of the page number.
    LowBits,
}

/// Shape of one cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Geometry {
    /// Number of entries; 0 switches the cache off.
    pub entries: u32,
    /// Entries of a set; 0 makes the cache fully associative.
    pub ways: u32,
    /// What makes room in a full set.
    pub replacement: Replacement,
    /// How the set is chosen.
    #[serde(default)]
    pub indexing: Indexing,
}

impl Geometry {
    /// No cache.
    pub const OFF: Self = Self {
        entries: 0,
        ways: 0,
        replacement: Replacement::RoundRobin,
        indexing: Indexing::Hashed,
    };

    const fn off() -> Self {
        Self::OFF
    }

    /// A cache that never evicts (but see [`GROWTH_LIMIT`]).
    pub const INFINITE: Self = Self {
        entries: 1024,
        ways: 4,
        replacement: Replacement::Infinite,
        indexing: Indexing::Hashed,
    };

    /// `entries` in sets of `ways`, hashed.
    pub const fn new(entries: u32, ways: u32, replacement: Replacement) -> Self {
        Self {
            entries,
            ways,
            replacement,
            indexing: Indexing::Hashed,
        }
    }

    /// Entries of a set; 0 in a cache that is off.
    pub(super) fn set_size(&self) -> u32 {
        if self.ways == 0 || self.entries == 0 {
            self.entries
        } else {
            self.ways
        }
    }

    pub(crate) fn validate(&self, cache: &'static str) -> Result<(), CacheError> {
        let Self {
            entries,
            ways,
            replacement,
            ..
        } = *self;
        let set_size = self.set_size();
        if entries == 0 {
            return Ok(());
        }
        if entries > GROWTH_LIMIT {
            return Err(CacheError::Entries { cache, entries });
        }
        if entries % set_size != 0 || !(entries / set_size).is_power_of_two() {
            return Err(CacheError::Sets {
                cache,
                entries,
                ways,
            });
        }
        if replacement == Replacement::Infinite && self.indexing == Indexing::LowBits {
            return Err(CacheError::Growth { cache });
        }
        let is_tree = replacement == Replacement::PseudoLru;
        if is_tree && !(set_size.is_power_of_two() && set_size <= 64) {
            return Err(CacheError::PseudoLru {
                cache,
                ways: set_size,
            });
        }
        Ok(())
    }
}

/// What one TLB entry for an address translated by both stages holds (IHI 0070 §3.17.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TlbStructure {
    /// VA to PA: `TLBI_S2_IPA` need not find it.
    Combined,
    /// VA to IPA; the IPA is looked up in turn among the stage-2 entries.
    Separate,
}

/// Walk caches: Table descriptors that walks passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::large_enum_variant,
    reason = "one a part, copied when the part is made"
)]
pub enum WalkCacheConfig {
    /// One cache for each stage and level, from level −1 to level 2.
    PerLevel {
        /// Stage 1.
        stage1: [Geometry; LEVELS],
        /// Stage 2.
        stage2: [Geometry; LEVELS],
    },
    /// One cache for all.
    Unified(Geometry),
}

/// Levels with Table descriptors: −1, 0, 1 and 2.
pub const LEVELS: usize = 4;

/// All caches of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CacheConfig {
    /// Configuration cache: one entry holds STE and CD of a (StreamID, SubstreamID).
    pub configuration: Geometry,
    /// STEs alone, by StreamID, asked when the configuration cache has no entry: with it, `CFGI_CD`
    /// leaves an STE cached, as in a part that caches STEs and CDs apart.
    #[serde(default = "Geometry::off")]
    pub ste: Geometry,
    /// What TLB entries of nested translations hold.
    pub structure: TlbStructure,
    /// Entries looked up by VA.
    pub tlb: Geometry,
    /// Entries looked up by IPA: stage-2-only streams, tables, and everything under
    /// [`TlbStructure::Separate`].
    pub stage2_tlb: Geometry,
    /// Table descriptors.
    pub walk: WalkCacheConfig,
    /// Whether a page with the Contiguous bit is cached as its whole region.
    pub contiguous: ContiguousHint,
}

/// What the Contiguous bit of a leaf does to its TLB entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ContiguousHint {
    /// Nothing.
    Ignored,
    /// The entry covers the whole contiguous region.
    Used,
}

impl CacheConfig {
    /// No caches: every transaction reads its configuration and walks its tables.
    pub const OFF: Self = Self {
        configuration: Geometry::OFF,
        ste: Geometry::OFF,
        structure: TlbStructure::Combined,
        tlb: Geometry::OFF,
        stage2_tlb: Geometry::OFF,
        walk: WalkCacheConfig::Unified(Geometry::OFF),
        contiguous: ContiguousHint::Ignored,
    };

    /// Everything is remembered until invalidated: what a driver's invalidation is judged by.
    pub const INFINITE: Self = Self {
        configuration: Geometry::INFINITE,
        ste: Geometry::INFINITE,
        structure: TlbStructure::Combined,
        tlb: Geometry::INFINITE,
        stage2_tlb: Geometry::INFINITE,
        walk: WalkCacheConfig::Unified(Geometry::INFINITE),
        contiguous: ContiguousHint::Used,
    };

    /// A few entries of everything: evictions all the time.
    pub const SMALL: Self = Self {
        configuration: Geometry::new(4, 2, Replacement::RoundRobin),
        ste: Geometry::new(2, 2, Replacement::RoundRobin),
        structure: TlbStructure::Combined,
        tlb: Geometry::new(16, 2, Replacement::RoundRobin),
        stage2_tlb: Geometry::new(8, 2, Replacement::RoundRobin),
        walk: WalkCacheConfig::Unified(Geometry::new(8, 2, Replacement::RoundRobin)),
        contiguous: ContiguousHint::Used,
    };

    /// Whether every cache has a possible shape.
    ///
    /// # Errors
    /// [`CacheError`] naming the cache.
    pub fn validate(&self) -> Result<(), CacheError> {
        self.configuration.validate("configuration")?;
        self.ste.validate("ste")?;
        self.tlb.validate("tlb")?;
        self.stage2_tlb.validate("stage2_tlb")?;
        match &self.walk {
            WalkCacheConfig::Unified(all) => all.validate("walk"),
            WalkCacheConfig::PerLevel { stage1, stage2 } => {
                stage1.iter().try_for_each(|g| g.validate("walk.stage1"))?;
                stage2.iter().try_for_each(|g| g.validate("walk.stage2"))
            }
        }
    }
}

/// A cache that cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Too large.
    #[error("{cache}: {entries} entries are more than {GROWTH_LIMIT}")]
    Entries {
        /// Which cache.
        cache: &'static str,
        /// As asked.
        entries: u32,
    },
    /// Sets must be a power of two.
    #[error("{cache}: {entries} entries in {ways} ways do not make a power of two of whole sets")]
    Sets {
        /// Which cache.
        cache: &'static str,
        /// As asked.
        entries: u32,
        /// As asked.
        ways: u32,
    },
    /// Growth separates colliding entries by hash.
    #[error("{cache}: a cache that grows is indexed by hash, not by low bits")]
    Growth {
        /// Which cache.
        cache: &'static str,
    },
    /// Tree pseudo-LRU needs a tree.
    #[error("{cache}: pseudo-LRU needs 1, 2, 4 … 64 ways, not {ways}")]
    PseudoLru {
        /// Which cache.
        cache: &'static str,
        /// As asked.
        ways: u32,
    },
}
