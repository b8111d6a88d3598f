//! Memory attributes: decoding, overriding and combining them. Pure functions (IHI 0070 §13).

/// Device memory types, strongest first, so that the stronger of two is the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// No gathering, no reordering, no early write acknowledgement.
    NGnRnE,
    /// No gathering, no reordering.
    NGnRE,
    /// No gathering.
    NGRE,
    /// All three allowed.
    GRE,
}

impl Device {
    #[inline]
    const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::NGnRnE,
            1 => Self::NGnRE,
            2 => Self::NGRE,
            _ => Self::GRE,
        }
    }
}

/// Cache policy of one level, the less cacheable first, so that the weaker of two is the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Non-cacheable.
    NonCacheable,
    /// Write-through.
    WriteThrough,
    /// Write-back.
    WriteBack,
}

impl Policy {
    /// The two-bit form of stage-2 MemAttr: 1 NC, 2 WT, 3 WB.
    #[inline]
    const fn from_memattr(bits: u64) -> Self {
        match bits & 3 {
            2 => Self::WriteThrough,
            3 => Self::WriteBack,
            _ => Self::NonCacheable,
        }
    }
}

/// Allocation hints of one cacheable level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hints {
    /// Allocate on read.
    pub read_allocate: bool,
    /// Allocate on write.
    pub write_allocate: bool,
    /// Unlikely to be used again.
    pub transient: bool,
}

impl Hints {
    const ALLOCATE: Self = Self { read_allocate: true, write_allocate: true, transient: false };
    const NONE: Self = Self { read_allocate: false, write_allocate: false, transient: false };

    /// No-allocate beats allocate, transient beats non-transient.
    #[inline]
    fn combine(self, other: Self) -> Self {
        Self {
            read_allocate: self.read_allocate && other.read_allocate,
            write_allocate: self.write_allocate && other.write_allocate,
            transient: self.transient || other.transient,
        }
    }
}

/// Cacheability of one level of Normal memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cacheability {
    /// Policy.
    pub policy: Policy,
    /// Hints; all false when Non-cacheable.
    pub hints: Hints,
}

impl Cacheability {
    const NC: Self = Self { policy: Policy::NonCacheable, hints: Hints::NONE };
    const WB: Self = Self { policy: Policy::WriteBack, hints: Hints::ALLOCATE };

    /// One nibble of a MAIR attribute (DDI 0487, MAIR_ELx): 0b00RW and 0b01RW are transient.
    #[inline]
    fn from_mair_nibble(nibble: u64) -> Self {
        if nibble == 0b0100 {
            return Self::NC;
        }
        let policy =
            if nibble & 0b0100 == 0 { Policy::WriteThrough } else { Policy::WriteBack };
        Self {
            policy,
            hints: Hints {
                read_allocate: nibble & 2 != 0,
                write_allocate: nibble & 1 != 0,
                transient: nibble & 0b1000 == 0,
            },
        }
    }

    #[inline]
    fn is_cacheable(self) -> bool {
        self.policy != Policy::NonCacheable
    }

    /// The lesser policy of two, with the hints of `self`.
    #[inline]
    fn limit(self, policy: Policy) -> Self {
        Self { policy: self.policy.min(policy), hints: self.hints }
    }

    /// Hints that mean nothing are cleared (IHI 0070 §13.1.7).
    #[inline]
    fn consistent(self) -> Self {
        if !self.is_cacheable() {
            return Self::NC;
        }
        let Hints { read_allocate, write_allocate, transient } = self.hints;
        let transient = transient && (read_allocate || write_allocate);
        Self { policy: self.policy, hints: Hints { read_allocate, write_allocate, transient } }
    }
}

/// Memory type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemoryType {
    /// Device memory.
    Device(Device),
    /// Normal memory.
    Normal {
        /// Inner cacheability.
        inner: Cacheability,
        /// Outer cacheability.
        outer: Cacheability,
    },
}

impl MemoryType {
    /// One byte of CD.MAIR0/MAIR1. Encodings the PE gives to tagged memory and XS are reserved in
    /// an SMMU: the inner half then acts as write-through transient (IHI 0070 §5.4).
    #[inline]
    pub fn from_mair(byte: u64) -> Self {
        let (outer, inner) = (byte >> 4 & 0xf, byte & 0xf);
        if outer == 0 {
            return Self::Device(Device::from_bits(inner >> 2));
        }
        // Inner 0b0000 is reserved: write-through transient, allocate on both.
        let inner = if inner == 0 { 0b0011 } else { inner };
        Self::Normal {
            inner: Cacheability::from_mair_nibble(inner),
            outer: Cacheability::from_mair_nibble(outer),
        }
    }

    /// STE.MemAttr and GBPA.MemAttr, in the stage-2 encoding; hints are for the caller to supply.
    #[inline]
    pub fn from_memattr(memattr: u64) -> Self {
        let level = |bits| Cacheability {
            policy: Policy::from_memattr(bits),
            hints: Hints::ALLOCATE,
        };
        match Stage2Type::from_memattr(memattr, NoTagAccess::Absent) {
            Stage2Type::Device(device) => Self::Device(device),
            Stage2Type::Normal { .. } => {
                Self::Normal { inner: level(memattr), outer: level(memattr >> 2) }
            }
        }
    }
}

/// Shareability domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shareability {
    /// Non-shareable.
    NonShareable,
    /// Outer Shareable.
    OuterShareable,
    /// Inner Shareable.
    InnerShareable,
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

    /// The wider of two domains.
    #[inline]
    fn combine(self, other: Self) -> Self {
        match (self, other) {
            (Self::OuterShareable, _) | (_, Self::OuterShareable) => Self::OuterShareable,
            (Self::InnerShareable, _) | (_, Self::InnerShareable) => Self::InnerShareable,
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

impl Attributes {
    /// What an interface that carries no attributes supplies: Normal, inner and outer write-back,
    /// read and write allocate, Non-shareable (IHI 0070 §13.1.1).
    pub const DEFAULT: Self = Self {
        memory: MemoryType::Normal { inner: Cacheability::WB, outer: Cacheability::WB },
        shareability: Shareability::NonShareable,
    };

    /// The last step: hints that mean nothing are dropped, and Device and fully Non-cacheable
    /// memory is Outer Shareable (IHI 0070 §13.1.7).
    #[inline]
    #[must_use]
    pub fn consistent(self) -> Self {
        let memory = match self.memory {
            MemoryType::Device(_) => self.memory,
            MemoryType::Normal { inner, outer } => {
                MemoryType::Normal { inner: inner.consistent(), outer: outer.consistent() }
            }
        };
        let cached = match memory {
            MemoryType::Device(_) => false,
            MemoryType::Normal { inner, outer } => inner.is_cacheable() || outer.is_cacheable(),
        };
        let shareability =
            if cached { self.shareability } else { Shareability::OuterShareable };
        Self { memory, shareability }
    }

    /// Stage-1 output: `self` from the descriptor, its hints met by those of a cacheable `input`.
    #[inline]
    #[must_use]
    pub fn with_input_hints(self, input: Self) -> Self {
        let MemoryType::Normal { inner, outer } = self.memory else { return self };
        let MemoryType::Normal { inner: input_inner, outer: input_outer } = input.memory else {
            return self;
        };
        let meet = |level: Cacheability, input: Cacheability| {
            if level.is_cacheable() && input.is_cacheable() {
                Cacheability { policy: level.policy, hints: level.hints.combine(input.hints) }
            } else {
                level
            }
        };
        let memory = MemoryType::Normal {
            inner: meet(inner, input_inner),
            outer: meet(outer, input_outer),
        };
        Self { memory, shareability: self.shareability }
    }

    /// Stage-1 attributes (or the input's, if stage 1 is bypassed) combined with stage 2's
    /// (IHI 0070 §13.1.5; DDI 0487 §D8.6).
    #[inline]
    #[must_use]
    pub fn combine_stage2(self, stage2: Stage2Attributes) -> Self {
        let memory = match stage2.memory {
            Stage2Memory::Combine(memory) => combine_types(self.memory, memory),
            Stage2Memory::Force(forced) => forced.apply(self.memory),
        };
        Self { memory, shareability: self.shareability.combine(stage2.shareability) }
    }
}

#[inline]
fn combine_types(stage1: MemoryType, stage2: Stage2Type) -> MemoryType {
    match (stage1, stage2) {
        (MemoryType::Device(a), Stage2Type::Device(b)) => MemoryType::Device(a.min(b)),
        (MemoryType::Device(a), Stage2Type::Normal { .. }) => MemoryType::Device(a),
        (MemoryType::Normal { .. }, Stage2Type::Device(b)) => MemoryType::Device(b),
        (MemoryType::Normal { inner, outer }, Stage2Type::Normal { inner: i2, outer: o2 }) => {
            MemoryType::Normal { inner: inner.limit(i2), outer: outer.limit(o2) }
        }
    }
}

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
    /// MemAttr[3:0] of a stage-2 descriptor without S2FWB. Reserved values act as Device-nGnRnE.
    #[inline]
    pub fn from_memattr(memattr: u64, tags: NoTagAccess) -> Self {
        match memattr & 0xf {
            bits @ 0..4 => Self::Device(Device::from_bits(bits)),
            4 if tags == NoTagAccess::Present => {
                Self::Normal { inner: Policy::WriteBack, outer: Policy::WriteBack }
            }
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
    /// MemAttr[3:0] with S2FWB=1: bit 3 is RES0 but for NoTagAccess. The reserved value 0b100 acts
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
        match (self, stage1) {
            (Self::Device(forced), MemoryType::Device(device)) => {
                MemoryType::Device(forced.min(device))
            }
            (Self::Device(forced), MemoryType::Normal { .. }) => MemoryType::Device(forced),
            (Self::NonCacheable | Self::Stage1, MemoryType::Device(_))
            | (Self::Stage1, MemoryType::Normal { .. }) => stage1,
            (Self::NonCacheable, MemoryType::Normal { .. }) => {
                MemoryType::Normal { inner: Cacheability::NC, outer: Cacheability::NC }
            }
            (Self::WriteBack, MemoryType::Device(_)) => {
                MemoryType::Normal { inner: Cacheability::WB, outer: Cacheability::WB }
            }
            (Self::WriteBack, MemoryType::Normal { inner, outer }) => {
                let force = |level: Cacheability| {
                    if level.is_cacheable() {
                        Cacheability { policy: Policy::WriteBack, hints: level.hints }
                    } else {
                        Cacheability::WB
                    }
                };
                MemoryType::Normal { inner: force(inner), outer: force(outer) }
            }
        }
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

/// Attributes of a stage-2 leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stage2Attributes {
    /// Memory type.
    pub memory: Stage2Memory,
    /// Shareability.
    pub shareability: Shareability,
}

impl Stage2Attributes {
    /// Whether the page is Device memory: such a page may not hold tables under STE.S2PTW.
    #[inline]
    pub fn is_device(&self) -> bool {
        matches!(
            self.memory,
            Stage2Memory::Combine(Stage2Type::Device(_)) | Stage2Memory::Force(ForcedType::Device(_))
        )
    }
}

/// Overrides of incoming attributes by an STE or by GBPA (IHI 0070 §13.1.2). A field the part does
/// not implement (IDR1.ATTR_TYPES_OVR) is `None`, which means "use incoming".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overrides {
    /// MTCFG=1: MemAttr.
    pub memory: Option<MemoryType>,
    /// SHCFG other than "incoming".
    pub shareability: Option<Shareability>,
    /// ALLOCCFG=0b1RWT.
    pub hints: Option<Hints>,
}

impl Overrides {
    /// Overrides from the raw fields MTCFG, MemAttr, SHCFG and ALLOCCFG.
    pub fn from_fields(mtcfg: bool, memattr: u64, shcfg: u64, alloccfg: u64) -> Self {
        Self {
            memory: mtcfg.then(|| MemoryType::from_memattr(memattr)),
            shareability: (shcfg != 1).then(|| Shareability::from_bits(shcfg)),
            hints: (alloccfg & 8 != 0).then_some(Hints {
                read_allocate: alloccfg & 4 != 0,
                write_allocate: alloccfg & 2 != 0,
                transient: alloccfg & 1 != 0,
            }),
        }
    }

    /// The attributes a transaction has after the override.
    #[inline]
    pub fn apply(&self, input: Attributes) -> Attributes {
        let mut memory = match self.memory {
            None => input.memory,
            Some(memory) => keep_hints(memory, input.memory),
        };
        if let (Some(hints), MemoryType::Normal { inner, outer }) = (self.hints, &mut memory) {
            inner.hints = hints;
            outer.hints = hints;
        }
        let shareability = self.shareability.unwrap_or(input.shareability);
        Attributes { memory, shareability }
    }
}

/// A new type keeps the incoming hints of levels that were cacheable before.
#[inline]
fn keep_hints(new: MemoryType, old: MemoryType) -> MemoryType {
    match (new, old) {
        (
            MemoryType::Normal { inner, outer },
            MemoryType::Normal { inner: old_inner, outer: old_outer },
        ) => {
            let keep = |level: Cacheability, old: Cacheability| {
                if old.is_cacheable() {
                    Cacheability { policy: level.policy, hints: old.hints }
                } else {
                    level
                }
            };
            MemoryType::Normal { inner: keep(inner, old_inner), outer: keep(outer, old_outer) }
        }
        _ => new,
    }
}
