//! Memory attributes: decoding, overriding and combining them. Pure functions (IHI 0070 §13).

mod memory;
mod overrides;
mod stage2;

pub use memory::{Cacheability, Device, MemoryKind, MemoryType, Policy};
pub use overrides::Overrides;
pub use stage2::{ForcedType, NoTagAccess, Stage2Attributes, Stage2Memory, Stage2Type};

/// Shareability domain, from the narrowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shareability {
    /// Non-shareable.
    NonShareable,
    /// Inner Shareable.
    InnerShareable,
    /// Outer Shareable.
    OuterShareable,
}

impl Shareability {
    /// The two-bit SH encoding of descriptors, CDs and STEs; the reserved value 1 acts as
    /// Non-shareable (deviations.md D3).
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            2 => Self::OuterShareable,
            3 => Self::InnerShareable,
            _ => Self::NonShareable,
        }
    }
}

/// Memory type and shareability of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// Memory type with cacheability.
    pub memory: MemoryType,
    /// Shareability domain.
    pub shareability: Shareability,
}

impl Default for Attributes {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Attributes {
    /// What an interface that carries no attributes supplies: Normal, inner and outer write-back,
    /// read and write allocate, Non-shareable (IHI 0070 §13.1.1).
    pub const DEFAULT: Self = Self {
        memory: MemoryType::WRITE_BACK,
        shareability: Shareability::NonShareable,
    };

    /// The last step: hints that mean nothing are dropped, and Device and fully Non-cacheable
    /// memory is Outer Shareable (IHI 0070 §13.1.7).
    #[inline]
    #[must_use]
    pub fn consistent(self) -> Self {
        // The usual type has nothing to drop.
        let memory = if self.memory == MemoryType::WRITE_BACK {
            self.memory
        } else {
            self.memory.map(Cacheability::consistent)
        };
        let shareability = if memory.is_cacheable() {
            self.shareability
        } else {
            Shareability::OuterShareable
        };
        Self {
            memory,
            shareability,
        }
    }

    /// Stage-1 output: `self` from the descriptor, its hints met by those of a cacheable `input`.
    #[inline]
    #[must_use]
    pub fn with_input_hints(self, input: Self) -> Self {
        // Hints that all allocate take nothing away.
        if input.memory == MemoryType::WRITE_BACK {
            return self;
        }
        Self {
            memory: self.memory.map_with(input.memory, Cacheability::meet_hints),
            shareability: self.shareability,
        }
    }

    /// Stage-1 attributes (or the input's, if stage 1 is bypassed) combined with stage 2's
    /// (IHI 0070 §13.1.5; DDI 0487 §D8.6).
    #[inline]
    #[must_use]
    pub fn combine_stage2(self, stage2: Stage2Attributes) -> Self {
        Self {
            memory: stage2.memory.apply(self.memory),
            shareability: self.shareability.max(stage2.shareability),
        }
    }
}
