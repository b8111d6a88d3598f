//! Stage-2 memory attributes, and what they make of those of stage 1 (IHI 0070 §13.1.5;
//! DDI 0487 §D8.6).

use super::{Cacheability, Device, MemoryKind, MemoryType, Policy, Shareability};

/// Stage-2 memory type: no hints, they come from stage 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage2Type {
    /// Device memory.
    Device(Device),
    /// Normal memory.
    Normal {
        /// Inner policy.
        inner: Policy,
        /// Outer policy.
        outer: Policy,
    },
}

/// Whether stage-2 MemAttr has NoTagAccess encodings (IDR3.MTEPERM).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoTagAccess {
    /// They are reserved.
    Absent,
    /// They mean Normal write-back without tag access.
    Present,
}

impl Stage2Type {
    /// Inner and outer write-back, which leaves the type to stage 1.
    pub const WRITE_BACK: Self = Self::Normal {
        inner: Policy::WriteBack,
        outer: Policy::WriteBack,
    };

    /// MemAttr\[3:0\] of a stage-2 descriptor without S2FWB. Reserved values act as Device-nGnRnE.
    #[inline]
    pub fn from_memattr(memattr: u64, tags: NoTagAccess) -> Self {
        match memattr & 0xf {
            0xf => Self::WRITE_BACK,
            bits @ 0..4 => Self::Device(Device::from_bits(bits)),
            4 if tags == NoTagAccess::Present => Self::WRITE_BACK,
            4 | 8 | 12 => Self::Device(Device::NGnRnE),
            bits => Self::Normal {
                inner: Policy::from_memattr(bits),
                outer: Policy::from_memattr(bits >> 2),
            },
        }
    }
}

/// MemAttr of a stage-2 descriptor under STE.S2FWB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForcedType {
    /// Device of at least this strength.
    Device(Device),
    /// Normal Non-cacheable, unless stage 1 says Device.
    NonCacheable,
    /// Normal write-back, whatever stage 1 says.
    WriteBack,
    /// Stage 1's attributes.
    Stage1,
}

impl ForcedType {
    /// MemAttr\[3:0\] with S2FWB=1: bit 3 is RES0 but for NoTagAccess. The reserved value 0b100 acts
    /// as Non-cacheable (deviations.md D4).
    #[inline]
    pub fn from_memattr(memattr: u64) -> Self {
        match memattr & 7 {
            bits @ 0..4 => Self::Device(Device::from_bits(bits)),
            4 | 5 => Self::NonCacheable,
            6 => Self::WriteBack,
            _ => Self::Stage1,
        }
    }

    #[inline]
    fn apply(self, stage1: MemoryType) -> MemoryType {
        match self {
            Self::Device(forced) => at_least(forced, stage1),
            Self::Stage1 => stage1,
            Self::NonCacheable if stage1.is_device() => stage1,
            Self::NonCacheable => MemoryType::NON_CACHEABLE,
            Self::WriteBack if stage1.is_device() => MemoryType::WRITE_BACK,
            Self::WriteBack => stage1.map(|level| {
                if level.is_cacheable() {
                    Cacheability::WRITE_BACK.with_hints_of(level)
                } else {
                    Cacheability::WRITE_BACK
                }
            }),
        }
    }
}

/// Device memory as strong as `device`, and as `stage1` if that is Device memory.
fn at_least(device: Device, stage1: MemoryType) -> MemoryType {
    match stage1.kind() {
        MemoryKind::Device(first) => MemoryType::device(device.min(first)),
        MemoryKind::Normal { .. } => MemoryType::device(device),
    }
}

/// How stage 2 acts on the memory type of stage 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage2Memory {
    /// The weaker of the two.
    Combine(Stage2Type),
    /// S2FWB: stage 2 decides.
    Force(ForcedType),
}

impl Stage2Memory {
    #[inline]
    pub(super) fn apply(self, stage1: MemoryType) -> MemoryType {
        match self {
            Self::Combine(Stage2Type::WRITE_BACK) => stage1,
            Self::Combine(Stage2Type::Device(device)) => at_least(device, stage1),
            Self::Combine(Stage2Type::Normal { inner, outer }) => match stage1.kind() {
                MemoryKind::Device(_) => stage1,
                MemoryKind::Normal {
                    inner: first_inner,
                    outer: first_outer,
                } => MemoryType::normal(first_inner.limit(inner), first_outer.limit(outer)),
            },
            Self::Force(forced) => forced.apply(stage1),
        }
    }
}

/// Attributes of a stage-2 leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stage2Attributes {
    /// Memory type.
    pub memory: Stage2Memory,
    /// Shareability.
    pub shareability: Shareability,
}

/// What leaves stage 1 as it is.
impl Default for Stage2Attributes {
    fn default() -> Self {
        Self {
            memory: Stage2Memory::Combine(Stage2Type::WRITE_BACK),
            shareability: Shareability::NonShareable,
        }
    }
}

impl Stage2Attributes {
    /// Whether the page is Device memory: such a page may not hold tables under STE.S2PTW.
    #[inline]
    pub fn is_device(&self) -> bool {
        matches!(
            self.memory,
            Stage2Memory::Combine(Stage2Type::Device(_))
                | Stage2Memory::Force(ForcedType::Device(_))
        )
    }
}
