//! Overrides of incoming attributes by an STE or by GBPA.

use super::stage2::{NoTagAccess, Stage2Type};
use super::{Attributes, Cacheability, MemoryType, Policy, Shareability};

/// Overrides of incoming attributes by an STE or by GBPA (IHI 0070 §13.1.2). A field the part does
/// not implement (IDR1.ATTR_TYPES_OVR) is `None`, which means "use incoming".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overrides {
    /// MTCFG=1: MemAttr.
    pub memory: Option<MemoryType>,
    /// SHCFG other than "incoming".
    pub shareability: Option<Shareability>,
    /// ALLOCCFG=0b1RWT: the hints of this value, whose policy means nothing.
    pub hints: Option<Cacheability>,
}

impl Overrides {
    /// Whether all attributes are used as they come in.
    #[inline]
    pub fn is_neutral(&self) -> bool {
        self.memory.is_none() && self.shareability.is_none() && self.hints.is_none()
    }

    /// Overrides from the raw fields MTCFG, MemAttr, SHCFG and ALLOCCFG.
    pub fn from_fields(mtcfg: bool, memattr: u64, shcfg: u64, alloccfg: u64) -> Self {
        Self {
            memory: mtcfg.then(|| from_memattr(memattr)),
            shareability: (shcfg != 1).then(|| Shareability::from_bits(shcfg)),
            hints: (alloccfg & 8 != 0).then(|| {
                Cacheability::hints(alloccfg & 4 != 0, alloccfg & 2 != 0, alloccfg & 1 != 0)
            }),
        }
    }

    /// The attributes a transaction has after the override.
    #[inline]
    pub fn apply(&self, input: Attributes) -> Attributes {
        if self.is_neutral() {
            return input;
        }
        let mut memory = match self.memory {
            None => input.memory,
            // A new type keeps the incoming hints of levels that were cacheable before.
            Some(memory) => memory.map_with(input.memory, |level, old| {
                if old.is_cacheable() {
                    level.with_hints_of(old)
                } else {
                    level
                }
            }),
        };
        // ALLOCCFG and SHCFG have no effect on Device and Non-cacheable memory.
        if let Some(hints) = self.hints {
            memory = memory.map(|level| {
                if level.is_cacheable() {
                    level.with_hints_of(hints)
                } else {
                    level
                }
            });
        }
        let shareability = match self.shareability {
            Some(shareability) if memory.is_cacheable() => shareability,
            _ => input.shareability,
        };
        Attributes {
            memory,
            shareability,
        }
    }
}

/// STE.MemAttr and GBPA.MemAttr, in the stage-2 encoding, with all hints set.
fn from_memattr(memattr: u64) -> MemoryType {
    let level = |bits| Cacheability::allocating(Policy::from_memattr(bits));
    match Stage2Type::from_memattr(memattr, NoTagAccess::Absent) {
        Stage2Type::Device(device) => MemoryType::device(device),
        Stage2Type::Normal { .. } => MemoryType::normal(level(memattr), level(memattr >> 2)),
    }
}
