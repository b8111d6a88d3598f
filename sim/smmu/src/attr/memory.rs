//! Memory types: Device kinds and, for Normal memory, the cacheability of each level.

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
    pub(super) const fn from_bits(bits: u64) -> Self {
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
    pub(super) const fn from_memattr(bits: u64) -> Self {
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
    pub(super) const fn allocating(policy: Policy) -> Self {
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
        let hints = Self::hints(nibble & 2 != 0, nibble & 1 != 0, nibble & 0b1000 == 0);
        Self(policy as u8 | hints.0)
    }

    /// As one nibble of a MAIR attribute. A policy that neither allocates on reads nor on writes is
    /// never transient, as [`Self::consistent`] leaves it.
    const fn to_mair_nibble(self) -> u8 {
        let policy = match self.0 & Self::POLICY {
            0 => return 0b0100,
            wt if wt == Policy::WriteThrough as u8 => 0b0000,
            _ => 0b0100,
        };
        let transient = if self.0 & Self::TRANSIENT != 0 {
            0
        } else {
            0b1000
        };
        let read = if self.0 & Self::READ_ALLOCATE != 0 {
            2
        } else {
            0
        };
        let write = if self.0 & Self::WRITE_ALLOCATE != 0 {
            1
        } else {
            0
        };
        transient | policy | read | write
    }

    /// Allocation hints alone, for [`Self::with_hints_of`].
    pub(super) const fn hints(read: bool, write: bool, transient: bool) -> Self {
        let mut hints = 0;
        if read {
            hints |= Self::READ_ALLOCATE;
        }
        if write {
            hints |= Self::WRITE_ALLOCATE;
        }
        if transient {
            hints |= Self::TRANSIENT;
        }
        Self(hints)
    }

    #[inline]
    pub(super) const fn is_cacheable(self) -> bool {
        self.0 & Self::POLICY != 0
    }

    /// The policy of `self` with the hints of `other`.
    #[inline]
    pub(super) const fn with_hints_of(self, other: Self) -> Self {
        Self(self.0 & Self::POLICY | other.0 & !Self::POLICY)
    }

    /// The lesser policy of two, with the hints of `self`.
    #[inline]
    pub(super) fn limit(self, policy: Policy) -> Self {
        Self((self.0 & Self::POLICY).min(policy as u8) | self.0 & !Self::POLICY)
    }

    /// Hints met by those of the input, if both are cacheable: no-allocate beats allocate,
    /// transient beats non-transient.
    #[inline]
    pub(super) const fn meet_hints(self, input: Self) -> Self {
        if self.is_cacheable() && input.is_cacheable() {
            let allocate = self.0 & input.0 & Self::ALLOCATE;
            let transient = (self.0 | input.0) & Self::TRANSIENT;
            Self(self.0 & Self::POLICY | allocate | transient)
        } else {
            self
        }
    }

    /// Hints that mean nothing are cleared (IHI 0070 §13.1.7).
    pub(super) const fn consistent(self) -> Self {
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

/// What a [`MemoryType`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemoryKind {
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

/// Memory type. The cacheability of Normal memory in two bytes, inner lowest; Device memory is
/// Non-cacheable in both, with its kind beside it. So a type is one number: combining and
/// comparing types are a few bit operations, which counts in every walk.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct MemoryType(u16);

impl MemoryType {
    const DEVICE: u16 = 1 << 15;
    const DEVICE_KIND: u16 = 13;
    const CACHED: u16 = (Cacheability::POLICY as u16) << 8 | Cacheability::POLICY as u16;

    /// Normal, inner and outer write-back, allocating on reads and writes.
    pub const WRITE_BACK: Self = Self::normal(Cacheability::WRITE_BACK, Cacheability::WRITE_BACK);
    /// Normal Non-cacheable.
    pub const NON_CACHEABLE: Self =
        Self::normal(Cacheability::NON_CACHEABLE, Cacheability::NON_CACHEABLE);

    /// Device memory.
    #[inline]
    pub const fn device(kind: Device) -> Self {
        Self(Self::DEVICE | (kind as u16) << Self::DEVICE_KIND)
    }

    /// Normal memory.
    #[inline]
    pub const fn normal(inner: Cacheability, outer: Cacheability) -> Self {
        Self((outer.0 as u16) << 8 | inner.0 as u16)
    }

    /// Device or Normal, with what belongs to it.
    #[inline]
    pub const fn kind(self) -> MemoryKind {
        if self.is_device() {
            MemoryKind::Device(Device::from_bits((self.0 >> Self::DEVICE_KIND & 3) as u64))
        } else {
            MemoryKind::Normal {
                inner: Cacheability(self.0 as u8),
                outer: Cacheability((self.0 >> 8) as u8),
            }
        }
    }

    /// Whether this is Device memory.
    #[inline]
    pub const fn is_device(self) -> bool {
        self.0 & Self::DEVICE != 0
    }

    /// Whether some level may cache this memory.
    #[inline]
    pub const fn is_cacheable(self) -> bool {
        self.0 & Self::CACHED != 0
    }

    /// One byte of CD.MAIR0/MAIR1. Encodings the PE gives to tagged memory and XS are reserved in
    /// an SMMU: the inner half then acts as write-through transient (IHI 0070 §5.4).
    #[inline]
    pub fn from_mair(byte: u8) -> Self {
        MAIR[usize::from(byte)]
    }

    /// The MAIR attribute that means this type: the inverse of [`Self::from_mair`] for types whose
    /// hints are consistent.
    pub fn to_mair(self) -> u8 {
        match self.kind() {
            MemoryKind::Device(device) => (device as u8) << 2,
            MemoryKind::Normal { inner, outer } => {
                outer.to_mair_nibble() << 4 | inner.to_mair_nibble()
            }
        }
    }

    const fn decode_mair(byte: u8) -> Self {
        let (outer, inner) = (byte >> 4, byte & 0xf);
        if outer == 0 {
            return Self::device(Device::from_bits((inner >> 2) as u64));
        }
        // Inner 0b0000 under a Normal outer nibble is reserved: write-through transient, allocating.
        let inner = if inner == 0 { 0b0011 } else { inner };
        Self::normal(
            Cacheability::from_mair_nibble(inner),
            Cacheability::from_mair_nibble(outer),
        )
    }

    /// Both levels of Normal memory changed by `change`; Device memory as it is.
    #[inline]
    pub(super) fn map(self, change: impl Fn(Cacheability) -> Cacheability) -> Self {
        match self.kind() {
            MemoryKind::Device(_) => self,
            MemoryKind::Normal { inner, outer } => Self::normal(change(inner), change(outer)),
        }
    }

    /// Both levels of Normal memory changed by `change`, which looks at the same level of `other`;
    /// as it is if one of the two is Device memory.
    #[inline]
    pub(super) fn map_with(
        self,
        other: Self,
        change: impl Fn(Cacheability, Cacheability) -> Cacheability,
    ) -> Self {
        match (self.kind(), other.kind()) {
            (
                MemoryKind::Normal { inner, outer },
                MemoryKind::Normal {
                    inner: other_inner,
                    outer: other_outer,
                },
            ) => Self::normal(change(inner, other_inner), change(outer, other_outer)),
            _ => self,
        }
    }
}

impl core::fmt::Debug for MemoryType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.kind().fmt(f)
    }
}

/// The memory type of every MAIR attribute.
const MAIR: [MemoryType; 256] = {
    let mut table = [MemoryType::NON_CACHEABLE; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = MemoryType::decode_mair(byte as u8);
        byte += 1;
    }
    table
};
