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

/// Cacheability of one level of Normal memory: a policy and allocation hints, which are all clear
/// for Non-cacheable memory. One byte, so that combining attributes is a few bit operations.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Cacheability(u8);

impl Cacheability {
    const POLICY: u8 = 0b11;
    const READ_ALLOCATE: u8 = 1 << 2;
    const WRITE_ALLOCATE: u8 = 1 << 3;
    const ALLOCATE: u8 = Self::READ_ALLOCATE | Self::WRITE_ALLOCATE;
    const TRANSIENT: u8 = 1 << 4;

    /// Non-cacheable.
    pub const NON_CACHEABLE: Self = Self(Policy::NonCacheable as u8);
    /// Write-back, allocating on reads and writes, not transient.
    pub const WRITE_BACK: Self = Self(Policy::WriteBack as u8 | Self::ALLOCATE);

    /// Policy.
    #[inline]
    pub const fn policy(self) -> Policy {
        match self.0 & Self::POLICY {
            0 => Policy::NonCacheable,
            1 => Policy::WriteThrough,
            _ => Policy::WriteBack,
        }
    }

    /// Whether reads allocate.
    #[inline]
    pub const fn read_allocate(self) -> bool {
        self.0 & Self::READ_ALLOCATE != 0
    }

    /// Whether writes allocate.
    #[inline]
    pub const fn write_allocate(self) -> bool {
        self.0 & Self::WRITE_ALLOCATE != 0
    }

    /// Whether the data are unlikely to be used again.
    #[inline]
    pub const fn is_transient(self) -> bool {
        self.0 & Self::TRANSIENT != 0
    }

    #[inline]
    const fn allocating(policy: Policy) -> Self {
        Self(policy as u8 | Self::ALLOCATE)
    }

    /// One nibble of a MAIR attribute (DDI 0487, MAIR_ELx): 0b00RW and 0b01RW are transient.
    const fn from_mair_nibble(nibble: u8) -> Self {
        if nibble == 0b0100 {
            return Self::NON_CACHEABLE;
        }
        let policy = if nibble & 0b0100 == 0 {
            Policy::WriteThrough
        } else {
            Policy::WriteBack
        };
        let read = if nibble & 2 != 0 {
            Self::READ_ALLOCATE
        } else {
            0
        };
        let write = if nibble & 1 != 0 {
            Self::WRITE_ALLOCATE
        } else {
            0
        };
        let transient = if nibble & 0b1000 == 0 {
            Self::TRANSIENT
        } else {
            0
        };
        Self(policy as u8 | read | write | transient)
    }

    #[inline]
    const fn is_cacheable(self) -> bool {
        self.0 & Self::POLICY != 0
    }

    /// The policy of `self` with the hints of `other`.
    #[inline]
    const fn with_hints_of(self, other: Self) -> Self {
        Self(self.0 & Self::POLICY | other.0 & !Self::POLICY)
    }

    /// The lesser policy of two, with the hints of `self`.
    #[inline]
    fn limit(self, policy: Policy) -> Self {
        Self((self.0 & Self::POLICY).min(policy as u8) | self.0 & !Self::POLICY)
    }

    /// Hints met by those of the input, if both are cacheable: no-allocate beats allocate,
    /// transient beats non-transient.
    #[inline]
    const fn meet_hints(self, input: Self) -> Self {
        if self.is_cacheable() && input.is_cacheable() {
            let allocate = self.0 & input.0 & Self::ALLOCATE;
            let transient = (self.0 | input.0) & Self::TRANSIENT;
            Self(self.0 & Self::POLICY | allocate | transient)
        } else {
            self
        }
    }

    /// Hints that mean nothing are cleared (IHI 0070 §13.1.7).
    #[inline]
    fn consistent(self) -> Self {
        CONSISTENT[usize::from(self.0 & 0x1f)]
    }

    const fn without_vain_hints(self) -> Self {
        if !self.is_cacheable() {
            Self::NON_CACHEABLE
        } else if self.0 & Self::ALLOCATE == 0 {
            Self(self.0 & Self::POLICY)
        } else {
            self
        }
    }
}

impl core::fmt::Debug for Cacheability {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", self.policy())?;
        for (set, name) in [
            (self.read_allocate(), "RA"),
            (self.write_allocate(), "WA"),
            (self.is_transient(), "transient"),
        ] {
            if set {
                write!(f, "+{name}")?;
            }
        }
        Ok(())
    }
}

/// Every cacheability without the hints that mean nothing.
const CONSISTENT: [Cacheability; 32] = {
    let mut table = [Cacheability::NON_CACHEABLE; 32];
    let mut bits = 0;
    while bits < 32 {
        table[bits as usize] = Cacheability(bits).without_vain_hints();
        bits += 1;
    }
    table
};

/// Cacheability for each nibble of a MAIR attribute.
const MAIR_NIBBLES: [Cacheability; 16] = {
    let mut table = [Cacheability::NON_CACHEABLE; 16];
    let mut nibble = 0;
    while nibble < 16 {
        table[nibble as usize] = Cacheability::from_mair_nibble(nibble);
        nibble += 1;
    }
    // Inner 0b0000 under a Normal outer nibble is reserved: write-through transient, allocating.
    table[0] = Cacheability::from_mair_nibble(0b0011);
    table
};

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
        Self::Normal {
            inner: MAIR_NIBBLES[inner as usize],
            outer: MAIR_NIBBLES[outer as usize],
        }
    }

    /// STE.MemAttr and GBPA.MemAttr, in the stage-2 encoding; hints are for the caller to supply.
    #[inline]
    pub fn from_memattr(memattr: u64) -> Self {
        let level = |bits| Cacheability::allocating(Policy::from_memattr(bits));
        match Stage2Type::from_memattr(memattr, NoTagAccess::Absent) {
            Stage2Type::Device(device) => Self::Device(device),
            Stage2Type::Normal { .. } => Self::Normal {
                inner: level(memattr),
                outer: level(memattr >> 2),
            },
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
        memory: MemoryType::Normal {
            inner: Cacheability::WRITE_BACK,
            outer: Cacheability::WRITE_BACK,
        },
        shareability: Shareability::NonShareable,
    };

    /// The last step: hints that mean nothing are dropped, and Device and fully Non-cacheable
    /// memory is Outer Shareable (IHI 0070 §13.1.7).
    #[inline]
    #[must_use]
    pub fn consistent(self) -> Self {
        let memory = match self.memory {
            MemoryType::Device(_) => self.memory,
            MemoryType::Normal { inner, outer } => MemoryType::Normal {
                inner: inner.consistent(),
                outer: outer.consistent(),
            },
        };
        let cached = match memory {
            MemoryType::Device(_) => false,
            MemoryType::Normal { inner, outer } => inner.is_cacheable() || outer.is_cacheable(),
        };
        let shareability = if cached {
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
        if input.memory == Self::DEFAULT.memory {
            return self;
        }
        let MemoryType::Normal { inner, outer } = self.memory else {
            return self;
        };
        let MemoryType::Normal {
            inner: input_inner,
            outer: input_outer,
        } = input.memory
        else {
            return self;
        };
        let memory = MemoryType::Normal {
            inner: inner.meet_hints(input_inner),
            outer: outer.meet_hints(input_outer),
        };
        Self {
            memory,
            shareability: self.shareability,
        }
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
        Self {
            memory,
            shareability: self.shareability.combine(stage2.shareability),
        }
    }
}

#[inline]
fn combine_types(stage1: MemoryType, stage2: Stage2Type) -> MemoryType {
    match (stage1, stage2) {
        (MemoryType::Device(a), Stage2Type::Device(b)) => MemoryType::Device(a.min(b)),
        (MemoryType::Device(a), Stage2Type::Normal { .. }) => MemoryType::Device(a),
        (MemoryType::Normal { .. }, Stage2Type::Device(b)) => MemoryType::Device(b),
        (
            MemoryType::Normal { inner, outer },
            Stage2Type::Normal {
                inner: i2,
                outer: o2,
            },
        ) => MemoryType::Normal {
            inner: inner.limit(i2),
            outer: outer.limit(o2),
        },
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
    /// MemAttr\[3:0\] of a stage-2 descriptor without S2FWB. Reserved values act as Device-nGnRnE.
    #[inline]
    pub fn from_memattr(memattr: u64, tags: NoTagAccess) -> Self {
        match memattr & 0xf {
            bits @ 0..4 => Self::Device(Device::from_bits(bits)),
            4 if tags == NoTagAccess::Present => Self::Normal {
                inner: Policy::WriteBack,
                outer: Policy::WriteBack,
            },
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
        match (self, stage1) {
            (Self::Device(forced), MemoryType::Device(device)) => {
                MemoryType::Device(forced.min(device))
            }
            (Self::Device(forced), MemoryType::Normal { .. }) => MemoryType::Device(forced),
            (Self::NonCacheable | Self::Stage1, MemoryType::Device(_))
            | (Self::Stage1, MemoryType::Normal { .. }) => stage1,
            (Self::NonCacheable, MemoryType::Normal { .. }) => MemoryType::Normal {
                inner: Cacheability::NON_CACHEABLE,
                outer: Cacheability::NON_CACHEABLE,
            },
            (Self::WriteBack, MemoryType::Device(_)) => MemoryType::Normal {
                inner: Cacheability::WRITE_BACK,
                outer: Cacheability::WRITE_BACK,
            },
            (Self::WriteBack, MemoryType::Normal { inner, outer }) => {
                let force = |level: Cacheability| {
                    if level.is_cacheable() {
                        Cacheability::WRITE_BACK.with_hints_of(level)
                    } else {
                        Cacheability::WRITE_BACK
                    }
                };
                MemoryType::Normal {
                    inner: force(inner),
                    outer: force(outer),
                }
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
            Stage2Memory::Combine(Stage2Type::Device(_))
                | Stage2Memory::Force(ForcedType::Device(_))
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
            memory: mtcfg.then(|| MemoryType::from_memattr(memattr)),
            shareability: (shcfg != 1).then(|| Shareability::from_bits(shcfg)),
            hints: (alloccfg & 8 != 0).then(|| {
                let transient = if alloccfg & 1 != 0 {
                    Cacheability::TRANSIENT
                } else {
                    0
                };
                let read = if alloccfg & 4 != 0 {
                    Cacheability::READ_ALLOCATE
                } else {
                    0
                };
                let write = if alloccfg & 2 != 0 {
                    Cacheability::WRITE_ALLOCATE
                } else {
                    0
                };
                Cacheability(read | write | transient)
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
            Some(memory) => keep_hints(memory, input.memory),
        };
        let mut shareability = input.shareability;
        // ALLOCCFG and SHCFG have no effect on Device and Non-cacheable memory.
        if let MemoryType::Normal { inner, outer } = &mut memory {
            if let Some(hints) = self.hints {
                for level in [&mut *inner, &mut *outer] {
                    if level.is_cacheable() {
                        *level = level.with_hints_of(hints);
                    }
                }
            }
            if inner.is_cacheable() || outer.is_cacheable() {
                shareability = self.shareability.unwrap_or(shareability);
            }
        }
        Attributes {
            memory,
            shareability,
        }
    }
}

/// A new type keeps the incoming hints of levels that were cacheable before.
#[inline]
fn keep_hints(new: MemoryType, old: MemoryType) -> MemoryType {
    match (new, old) {
        (
            MemoryType::Normal { inner, outer },
            MemoryType::Normal {
                inner: old_inner,
                outer: old_outer,
            },
        ) => {
            let keep = |level: Cacheability, old: Cacheability| {
                if old.is_cacheable() {
                    level.with_hints_of(old)
                } else {
                    level
                }
            };
            MemoryType::Normal {
                inner: keep(inner, old_inner),
                outer: keep(outer, old_outer),
            }
        }
        _ => new,
    }
}
