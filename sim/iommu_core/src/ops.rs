//! The boundary between core and driver: what a driver must do ([`IommuOps`], Linux' `struct
//! iommu_ops` and `iommu_domain_ops`) and the values that cross.

use std::fmt::Debug;
use std::ops::{BitOr, RangeInclusive};

use crate::uapi::{CacheInvalidateInfo, PasidTableConfig};
use crate::{Control, DeviceId, DomainId, Errno, Iova, Paddr};

/// What a domain is for (`IOMMU_DOMAIN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DomainKind {
    /// Nothing gets through (`IOMMU_DOMAIN_BLOCKED`). A driver without one refuses the
    /// allocation, and the core uses an empty [`Unmanaged`](Self::Unmanaged) domain instead.
    Blocked,
    /// Addresses pass unchanged (`IOMMU_DOMAIN_IDENTITY`).
    Identity,
    /// Mappings are the owner's business: VFIO (`IOMMU_DOMAIN_UNMANAGED`).
    Unmanaged,
    /// A guest's stage 1 over the stage 2 of a parent, which has the mappings
    /// (`IOMMU_DOMAIN_NESTED`).
    Nested,
    /// Used by the DMA API, invalidated at each unmap (`IOMMU_DOMAIN_DMA`).
    Dma,
    /// Used by the DMA API, invalidated in batches (`IOMMU_DOMAIN_DMA_FQ`).
    DmaFq,
}

/// What a mapping allows (`IOMMU_READ` and its neighbours), a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Prot(pub u32);

impl Prot {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The device may read.
    pub const READ: Self = Self(1);
    /// The device may write.
    pub const WRITE: Self = Self(1 << 1);
    /// Accesses snoop the caches.
    pub const CACHE: Self = Self(1 << 2);
    /// No instruction fetch.
    pub const NOEXEC: Self = Self(1 << 3);
    /// Device memory, as for MSI doorbells.
    pub const MMIO: Self = Self(1 << 4);
    /// Privileged only.
    pub const PRIV: Self = Self(1 << 5);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Prot {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Why a region of device addresses is special (`enum iommu_resv_type`), in the order in which
/// regions with the same start are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResvType {
    /// Must be mapped one to one at all times.
    Direct,
    /// Must be mapped one to one until a driver takes over; VFIO may ignore it.
    DirectRelaxable,
    /// Never translated; must not be used.
    Reserved,
    /// Hardware routes MSIs there untranslated.
    Msi,
    /// Where software maps MSI doorbells.
    SwMsi,
}

/// A region of device addresses that is not free to use (`struct iommu_resv_region`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResvRegion {
    /// First address.
    pub start: Iova,
    /// Bytes, not 0.
    pub length: u64,
    /// Why.
    pub kind: ResvType,
}

impl ResvRegion {
    /// Last address, inclusive.
    pub fn end(&self) -> Iova {
        Iova(self.start.0 + (self.length - 1))
    }
}

/// What [`IommuOps::capable`] is asked (`enum iommu_cap`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Mappings with [`Prot::CACHE`] are coherent for this device.
    CacheCoherency,
    /// All DMA of this device can be made coherent, whatever it asks for (6.13 and later).
    EnforceCacheCoherency,
    /// The IOMMU itself remaps interrupts. Not so on Arm: there the interrupt controller isolates.
    InterruptRemapping,
    /// [`Prot::NOEXEC`] works.
    NoExec,
    /// Unmapped entries may be invalidated later, in batches.
    DeferredFlush,
}

/// Translation entries removed from tables but perhaps still cached (`struct iommu_iotlb_gather`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gather {
    /// What is gathered: first and last byte; `None` if nothing is.
    range: Option<(u64, u64)>,
    /// Size of the entries gathered, in bytes; 0 if nothing is.
    pgsize: u64,
}

impl Gather {
    /// Adds the entry of `size` bytes at `iova` (`iommu_iotlb_gather_add_page()`).
    ///
    /// If it has another size or does not adjoin, what was gathered so far is returned and must be
    /// given to [`IommuOps::iotlb_sync`] at once.
    #[inline]
    #[must_use = "what is returned must be synchronised"]
    pub fn add_page(&mut self, iova: Iova, size: u64) -> Option<Self> {
        self.add_range(iova, size, size)
    }

    /// Adds `count` bytes' worth of entries of `pgsize` bytes each from `iova`
    /// (`iommu_iotlb_gather_add_range()` with the test of `iommu_iotlb_gather_is_disjoint()`).
    #[inline]
    #[must_use = "what is returned must be synchronised"]
    pub fn add_range(&mut self, iova: Iova, size: u64, pgsize: u64) -> Option<Self> {
        let (start, end) = (iova.0, iova.0.wrapping_add(size.wrapping_sub(1)));
        let Some((first, last)) = self.range else {
            (self.range, self.pgsize) = (Some((start, end)), pgsize);
            return None;
        };
        let adjoins = end.saturating_add(1) >= first && start <= last.saturating_add(1);
        if adjoins && self.pgsize == pgsize {
            self.range = Some((first.min(start), last.max(end)));
            return None;
        }
        let before = *self;
        (self.range, self.pgsize) = (Some((start, end)), pgsize);
        Some(before)
    }

    /// First and last byte gathered.
    pub fn range(&self) -> Option<RangeInclusive<u64>> {
        self.range.map(|(start, end)| start..=end)
    }

    /// Size of each entry gathered, in bytes; 0 if nothing is.
    pub fn pgsize(&self) -> u64 {
        self.pgsize
    }

    /// Whether nothing is gathered.
    pub fn is_empty(&self) -> bool {
        self.range.is_none()
    }
}

/// A fault a driver reports for a device (`struct iommu_fault`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFault {
    /// The transaction has ended (`IOMMU_FAULT_DMA_UNRECOV`).
    Unrecoverable {
        /// `IOMMU_FAULT_REASON_*`.
        reason: u32,
        /// `IOMMU_FAULT_UNRECOV_*_VALID`: which of the following mean something.
        flags: u32,
        /// Substream.
        pasid: u32,
        /// `IOMMU_FAULT_PERM_*`.
        perm: u32,
        /// Address the device used.
        addr: u64,
        /// Address the IOMMU was fetching.
        fetch_addr: u64,
    },
    /// The transaction waits for an answer (`IOMMU_FAULT_PAGE_REQ`).
    PageRequest {
        /// `IOMMU_FAULT_PAGE_REQUEST_*`.
        flags: u32,
        /// Substream.
        pasid: u32,
        /// Group of requests.
        grpid: u32,
        /// `IOMMU_FAULT_PERM_*`.
        perm: u32,
        /// Address the device used.
        addr: u64,
    },
}

/// The answer to a [`DeviceFault::PageRequest`] (`struct iommu_page_response`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageResponse {
    /// Substream.
    pub pasid: u32,
    /// Group of requests.
    pub grpid: u32,
    /// `IOMMU_PAGE_RESP_*`: 0 success, 1 invalid, 2 failure.
    pub code: u32,
}

/// Leaf entries [`IommuOps::leaves`] gives at once, if the driver has no better number.
const LEAVES: usize = 512;

/// What an IOMMU driver does for the core.
///
/// The core names domains and devices; a driver keeps what it needs about each under that name.
/// Everything a domain or device was given is the driver's to free when the core says so.
///
/// A driver calls `control().step(..)` before each of its own fallible steps and notes its
/// calls in `control().journal`; the core does so for its own.
pub trait IommuOps: Clone + PartialEq + Debug {
    /// What firmware says about a device (`struct iommu_fwspec` and what hangs on it): which
    /// IOMMU, which IDs, reserved regions. Opaque to the core.
    type Firmware: Clone + PartialEq + Debug;

    /// Fault plan, journal and semantics of the machine.
    fn control(&self) -> &Control;

    /// Fault plan, journal and semantics of the machine.
    fn control_mut(&mut self) -> &mut Control;

    /// A device appears (`probe_device`). It is attached to nothing yet.
    ///
    /// # Errors
    /// ENODEV: not behind this IOMMU. Others refuse the device; nothing is left of it then.
    fn probe_device(&mut self, device: DeviceId, firmware: &Self::Firmware) -> Result<(), Errno>;

    /// A device goes (`release_device`); detach it first if it is attached.
    fn release_device(&mut self, device: DeviceId);

    /// Makes `domain`. Kernels before 6.7 pass no device and know the IOMMU only at the first
    /// attach; later ones pass the device it is for.
    ///
    /// # Errors
    /// EINVAL or EOPNOTSUPP: no such kind. ENOMEM.
    fn domain_alloc(
        &mut self,
        domain: DomainId,
        kind: DomainKind,
        device: Option<DeviceId>,
    ) -> Result<(), Errno>;

    /// Makes `domain`: a guest's stage 1, none at first, over the stage 2 of `parent`, whose tables
    /// and tag its devices share (`domain_alloc_nested`).
    ///
    /// # Errors
    /// EOPNOTSUPP: the driver knows no such thing. EINVAL: `parent` is no stage 2 made for it.
    /// ENOMEM.
    fn domain_alloc_nested(&mut self, domain: DomainId, parent: DomainId) -> Result<(), Errno> {
        let _ = (domain, parent);
        Err(Errno::EOPNOTSUPP)
    }

    /// Frees `domain`, to which nothing is attached, with its tables and identifiers.
    fn domain_free(&mut self, domain: DomainId);

    /// Attaches `device` to `domain`; `old` is where it is now. Blocked and identity domains come
    /// this way as well. What is left of the old attachment on failure depends on the semantics.
    ///
    /// # Errors
    /// EINVAL (ENXIO before 6.2): the domain does not fit the device.
    fn attach_dev(
        &mut self,
        domain: DomainId,
        device: DeviceId,
        old: Option<DomainId>,
    ) -> Result<(), Errno>;

    /// Detaches `device` from `domain`, to nothing (5.10 only, for groups without default domain).
    fn detach_dev(&mut self, domain: DomainId, device: DeviceId);

    /// Maps `pgcount` pages of `pgsize` bytes each. Adds to `mapped` the bytes that are mapped,
    /// also on failure: the caller unmaps them.
    ///
    /// # Errors
    /// ERANGE: beyond the input or output size. EEXIST. EINVAL: size. ENOMEM.
    #[expect(clippy::too_many_arguments, reason = "the kernel's own signature")]
    fn map_pages(
        &mut self,
        domain: DomainId,
        iova: Iova,
        paddr: Paddr,
        pgsize: u64,
        pgcount: u64,
        prot: Prot,
        mapped: &mut u64,
    ) -> Result<(), Errno>;

    /// Unmaps up to `pgcount` entries of `pgsize` bytes and returns the bytes removed: less at a
    /// hole, more if a larger block went whole. Stale translations are added to `gather`.
    fn unmap_pages(
        &mut self,
        domain: DomainId,
        iova: Iova,
        pgsize: u64,
        pgcount: u64,
        gather: &mut Gather,
    ) -> u64;

    /// Invalidates what was gathered and waits. An empty gather costs nothing.
    fn iotlb_sync(&mut self, domain: DomainId, gather: &Gather);

    /// Invalidates everything of `domain` and waits.
    fn flush_iotlb_all(&mut self, domain: DomainId);

    /// Where `iova` leads by the tables of `domain`; `None` if nowhere.
    fn iova_to_phys(&self, domain: DomainId, iova: Iova) -> Option<Paddr>;

    /// The mapping around `iova`: the physical address of `iova` and how many bytes from there on
    /// follow contiguously in the same leaf entry. One walk where [`iova_to_phys`] would need one
    /// for each page.
    ///
    /// [`iova_to_phys`]: IommuOps::iova_to_phys
    fn leaf(&self, domain: DomainId, iova: Iova) -> Option<(Paddr, u64)>;

    /// The leaf entries from `iova` on, in order: where each leads and how many bytes of it lie
    /// within `size`; up to the first hole, and as many as one look into the tables gives. Empty
    /// only if nothing is mapped at `iova`.
    fn leaves(&self, domain: DomainId, iova: Iova, size: u64, leaves: &mut Vec<(Paddr, u64)>) {
        let mut done = 0;
        while done < size && leaves.len() < LEAVES {
            let Some((paddr, length)) = self.leaf(domain, iova.add(done)) else {
                return;
            };
            let length = length.min(size - done);
            leaves.push((paddr, length));
            done += length;
        }
    }

    /// Sizes a leaf of `domain` may have, in bytes, one bit each. Before the first attach of an
    /// unfinalised domain: those any of the driver's IOMMUs offers.
    fn pgsize_bitmap(&self, domain: DomainId) -> u64;

    /// Addresses `domain` can translate (`domain->geometry`); all before it is finalised.
    fn aperture(&self, domain: DomainId) -> RangeInclusive<u64>;

    /// Regions not free to use for this device, in any order.
    fn resv_regions(&self, device: DeviceId) -> Vec<ResvRegion>;

    /// Whether the IOMMU of `device` has a capability.
    fn capable(&self, device: DeviceId, capability: Capability) -> bool;

    /// Asks that all of `domain` be coherent whatever devices say; whether it now is.
    fn enforce_cache_coherency(&mut self, domain: DomainId) -> bool;

    /// Makes an unfinalised `domain` a stage 2 under somebody else's stage 1.
    ///
    /// # Errors
    /// EPERM: finalised already. EINVAL: wrong kind. ENODEV: unknown to the driver.
    fn enable_nesting(&mut self, domain: DomainId) -> Result<(), Errno>;

    /// Whether [`enable_nesting`](Self::enable_nesting) was done (`DOMAIN_ATTR_NESTING`).
    ///
    /// # Errors
    /// ENODEV: the driver does not know the attribute.
    fn is_nesting(&self, domain: DomainId) -> Result<bool, Errno>;

    /// Installs a guest's stage 1 below every device of `domain` (the series' `attach_pasid_table`).
    /// The core has checked sizes and versions of the outer structure as the semantics says.
    ///
    /// # Errors
    /// EINVAL: format, version, stage or configuration. ENOMEM.
    fn attach_pasid_table(
        &mut self,
        domain: DomainId,
        config: &PasidTableConfig,
    ) -> Result<(), Errno>;

    /// Undoes [`attach_pasid_table`](Self::attach_pasid_table); what "undone" is, the semantics says.
    fn detach_pasid_table(&mut self, domain: DomainId);

    /// Guest invalidation (the series' `cache_invalidate`).
    ///
    /// # Errors
    /// EINVAL, ENOENT: not supported in this form.
    fn cache_invalidate(
        &mut self,
        domain: DomainId,
        device: DeviceId,
        info: &CacheInvalidateInfo,
    ) -> Result<(), Errno>;

    /// Runs the driver's event threads: consumes what hardware has reported and hands each fault
    /// that concerns a device to `report`, whose error the driver logs.
    fn handle_events<F>(&mut self, report: F)
    where
        F: FnMut(DeviceId, &DeviceFault) -> Result<(), Errno>;

    /// Answers a page request.
    ///
    /// # Errors
    /// EINVAL: nothing waits for it.
    fn page_response(&mut self, device: DeviceId, response: &PageResponse) -> Result<(), Errno>;
}

#[cfg(test)]
mod tests {
    use super::Gather;
    use crate::Iova;

    #[test]
    fn gathering_flushes_at_another_size_or_a_gap() {
        let mut gather = Gather::default();
        assert!(gather.is_empty());
        assert_eq!(gather.add_page(Iova(0x1000), 0x1000), None);
        assert_eq!(gather.add_page(Iova(0x2000), 0x1000), None);
        assert_eq!(gather.add_page(Iova(0), 0x1000), None);
        assert_eq!(gather.range(), Some(0..=0x2fff));
        let before = gather.add_page(Iova(0x4000), 0x1000).unwrap();
        assert_eq!(before.range(), Some(0..=0x2fff));
        let before = gather.add_page(Iova(0x5000), 0x20_0000).unwrap();
        assert_eq!(before.range(), Some(0x4000..=0x4fff));
        assert_eq!(gather.pgsize(), 0x20_0000);
    }
}
