//! Structures of the 2020/21 nested-stage series that user space hands down through the core
//! (`include/uapi/linux/iommu.h` of the series), in host form. Bytes are parsed by the core.

/// What a guest's stage 1 should be (`IOMMU_PASID_CONFIG_*`). Open: what the core does not check
/// reaches the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PasidConfig(pub u8);

impl PasidConfig {
    /// Stage 1 translates through the guest's context descriptors.
    pub const TRANSLATE: Self = Self(1);
    /// Stage 1 is bypassed, stage 2 translates.
    pub const BYPASS: Self = Self(2);
    /// Every transaction is aborted.
    pub const ABORT: Self = Self(3);
}

/// `struct iommu_pasid_table_config`, without its sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasidTableConfig {
    /// Version of the structure; only 1 is known.
    pub version: u32,
    /// `IOMMU_PASID_FORMAT_*`; 1 is SMMUv3.
    pub format: u32,
    /// Guest physical address of the context descriptors (S1ContextPtr).
    pub base_ptr: u64,
    /// log2 of the number of context descriptors.
    pub pasid_bits: u8,
    /// What to do.
    pub config: PasidConfig,
    /// Version of the SMMUv3 part; only 1 is known.
    pub smmuv3_version: u32,
    /// S1Fmt.
    pub s1fmt: u8,
    /// S1DSS.
    pub s1dss: u8,
}

impl PasidTableConfig {
    /// Stage 1 by the one context descriptor at this guest physical address.
    pub const fn translate(base_ptr: u64) -> Self {
        Self::of(PasidConfig::TRANSLATE, base_ptr)
    }

    /// Stage 1 is bypassed.
    pub const fn bypass() -> Self {
        Self::of(PasidConfig::BYPASS, 0)
    }

    /// Every transaction is aborted.
    pub const fn abort() -> Self {
        Self::of(PasidConfig::ABORT, 0)
    }

    const fn of(config: PasidConfig, base_ptr: u64) -> Self {
        Self {
            version: 1,
            format: PASID_FORMAT_SMMUV3,
            base_ptr,
            pasid_bits: 0,
            config,
            smmuv3_version: 1,
            s1fmt: 0,
            s1dss: 0,
        }
    }
}

/// `IOMMU_PASID_FORMAT_SMMUV3`.
pub const PASID_FORMAT_SMMUV3: u32 = 1;

/// How much a guest invalidates (`IOMMU_INV_GRANU_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidateScope {
    /// Everything of the domain.
    Domain,
    /// One address space.
    Pasid {
        /// `IOMMU_INV_PASID_FLAGS_*`: 1 pasid valid, 2 archid valid.
        flags: u32,
        /// ASID.
        archid: u32,
        /// Substream.
        pasid: u64,
    },
    /// Addresses in one address space.
    Addr {
        /// `IOMMU_INV_ADDR_FLAGS_*`: 1 pasid valid, 2 archid valid, 4 leaf.
        flags: u32,
        /// ASID.
        archid: u32,
        /// Substream.
        pasid: u64,
        /// First address.
        addr: u64,
        /// Bytes of one entry.
        granule_size: u64,
        /// Entries.
        nb_granules: u64,
    },
}

/// `struct iommu_cache_invalidate_info`, without its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheInvalidateInfo {
    /// `IOMMU_CACHE_INV_TYPE_*`, a set: 1 IOTLB, 2 device IOTLB, 4 PASID cache.
    pub cache: u8,
    /// How much.
    pub scope: InvalidateScope,
}
